"""What decides a film. This is the one list of it: `--resume` keeps a film whose list is the same.

Not on it, since they do not change a film: where files lie and what they are called, pages and
previews (`Job.looks` is the list of what decides these), the number of threads, workers and (but
for recordings) batches. Tiles are not on it either, nor the device: their rounding differs by less
than the tolerance of the solver.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from deqsci_cli import __version__
from deqsci_cli.engine.batch.config import ReconstructConfig
from deqsci_cli.engine.batch.job import Job
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.io.file_version import FileVersion
from deqsci_cli.io.provenance import plain
from deqsci_cli.zoo import Stored

if TYPE_CHECKING:
    from deqsci_cli.engine.roi import Roi


def origin_of_run(
    model: Stored, settings: EquilibriumSettings, config: ReconstructConfig, roi: Roi | None
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
            "sequence": config.sequence,
        },
    }
    return dict(plain(table))


def _decisive(settings: EquilibriumSettings) -> dict[str, Any]:
    return {name: value for name, value in asdict(settings).items() if name != "tile"}


def origin_of_film(
    run: dict[str, Any],
    job: Job,
    captures: Sequence[FileVersion],
    beside: Mapping[str, FileVersion],
) -> dict[str, Any]:
    """What decides one film: the run's list, and the content of the files it is made from.

    Args:
        run: from `origin_of_run`.
        job: the measurement, or the recording.
        captures: its files with measurements.
        beside: the files that they are read with, by what they are for.

    Returns:
        The list. Of a recording `measurement` and `input` are lists, an entry for each file, and
        `window` tells how many measurements are solved together: a border between two windows is
        not seen, but it is not the very same film without it.
    """
    found = {
        **run,
        "measurement": measured(job),
        "input": content_of(job, [version.sha256 for version in captures]),
        "beside": {role: version.sha256 for role, version in beside.items()},
    }
    return found | {"window": job.window} if job.recording else found


def measured(job: Job) -> int | list[list[int]]:
    """Which measurements a film is of; of a recording, those of each file."""
    return [list(s.indices) for s in job.recording] if job.recording else job.index


def content_of(job: Job, hashes: Sequence[str | None]) -> str | list[str | None] | None:
    """What a film is made from, by the hashes of the job's files."""
    return list(hashes) if job.recording else hashes[0]
