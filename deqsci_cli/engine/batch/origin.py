"""What decides a film. This is the one list of it: `--resume` keeps a film whose list is the same.

Not on it, since they do not change a film: where files lie and what they are called, previews and
pages, the number of threads, workers and batches. Tiles are not on it either, nor the device: their
rounding differs by less than the tolerance of the solver.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from deqsci_cli import __version__
from deqsci_cli.engine.batch.config import ReconstructConfig
from deqsci_cli.engine.roi import Roi
from deqsci_cli.equilibrium.model import EquilibriumSettings
from deqsci_cli.io.file_version import FileVersion
from deqsci_cli.io.provenance import plain
from deqsci_cli.zoo import Model


def origin_of_run(
    model: Model, settings: EquilibriumSettings, config: ReconstructConfig, roi: Roi | None
) -> dict[str, Any]:
    """What decides all films of a run, as plain values.

    Returns:
        `deqsci` (the version), `model` (the hash of its architecture, options and weights), and
        `config`: the settings of the solver, regions, how captures are read, precision, seed, film
        format.
    """
    table = {
        "deqsci": __version__,
        "model": model.fingerprint,
        "config": {
            "equilibrium": _decisive(settings),
            "roi": None if roi is None else asdict(roi),
            "read_options": config.read_options.decisive(),
            "dtype": config.dtype,
            "seed": config.seed,
            "format": config.format,
        },
    }
    return dict(plain(table))


def _decisive(settings: EquilibriumSettings) -> dict[str, Any]:
    return {name: value for name, value in asdict(settings).items() if name != "tile"}


def origin_of_film(
    run: dict[str, Any],
    measurement: int,
    capture: FileVersion,
    beside: Mapping[str, FileVersion],
) -> dict[str, Any]:
    """What decides one film: the run's list, and the content of the files it is made from.

    Args:
        run: from `origin_of_run`.
        measurement: which of the capture's.
        capture: the file with the measurement.
        beside: the files that it is read with, by what they are for.
    """
    return {
        **run,
        "measurement": measurement,
        "input": capture.sha256,
        "beside": {role: version.sha256 for role, version in beside.items()},
    }
