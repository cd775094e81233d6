"""deqsci: video snapshot compressive imaging by deep equilibrium models."""


def __getattr__(name: str) -> str:
    """`__version__`, looked up when it is asked for: what finds it is slow to import."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("deqsci")
    except PackageNotFoundError:  # a bare checkout on the path, not installed
        return "0+unknown"
