"""deqsci: video snapshot compressive imaging by deep equilibrium models."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("deqsci")
except PackageNotFoundError:  # a bare checkout on the path, not installed
    __version__ = "0+unknown"
