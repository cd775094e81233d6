"""deqsci: video snapshot compressive imaging by deep equilibrium models.

The names of `__all__` are the public API. Each is imported when it is first used, because PyTorch
is slow to import and the command line's help does not need it.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deqsci_cli.equilibrium.settings import EquilibriumSettings
    from deqsci_cli.equilibrium.solvers import anderson, picard
    from deqsci_cli.io import load_capture
    from deqsci_cli.physics.noise import SensorNoise
    from deqsci_cli.physics.sensing import SensingOperator
    from deqsci_cli.physics.simulation import simulate
    from deqsci_cli.reconstructor import ReconstructionResult, Reconstructor, reconstruct
    from deqsci_cli.report.metrics import psnr, ssim
    from deqsci_cli.zoo import load as load_model

    __version__: str
else:  # hidden from type checkers: with it every misspelt name would have a type

    def __getattr__(name: str) -> object:
        """A public name, imported when it is first asked for."""
        if name == "__version__":
            value = _version()
        elif name in _HOMES:
            from importlib import import_module

            module, _, own_name = _HOMES[name].partition(":")
            value = getattr(import_module(f"{__name__}.{module}"), own_name or name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value


#: the module in which each public name is defined, with its name there if that is another
_HOMES = {
    "EquilibriumSettings": "equilibrium.settings",
    "ReconstructionResult": "reconstructor",
    "Reconstructor": "reconstructor",
    "SensingOperator": "physics.sensing",
    "SensorNoise": "physics.noise",
    "anderson": "equilibrium.solvers",
    "load_capture": "io",
    "load_model": "zoo:load",
    "picard": "equilibrium.solvers",
    "psnr": "report.metrics",
    "reconstruct": "reconstructor",
    "simulate": "physics.simulation",
    "ssim": "report.metrics",
}

__all__ = [
    "EquilibriumSettings",
    "ReconstructionResult",
    "Reconstructor",
    "SensingOperator",
    "SensorNoise",
    "__version__",
    "anderson",
    "load_capture",
    "load_model",
    "picard",
    "psnr",
    "reconstruct",
    "simulate",
    "ssim",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("deqsci")
    except PackageNotFoundError:  # a bare checkout on the path, not installed
        return "0+unknown"
