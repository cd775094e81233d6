"""Inputs as recordings: which files make one, in which order, and the job of each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from deqsci_cli.engine.batch.config import ReconstructConfig
from deqsci_cli.engine.batch.job import Job, Stretch
from deqsci_cli.engine.batch.selection import Selection, check_consecutive, choose
from deqsci_cli.engine.batch.windows import window_size
from deqsci_cli.errors import InputError
from deqsci_cli.io import CaptureHeader
from deqsci_cli.io.paths import check_name


def recordings_of(inputs: Iterable[Path], folders: Sequence[Path]) -> dict[Path, list[Path]]:
    """The files of each recording, by its file or folder.

    Args:
        inputs: files.
        folders: those that lie directly in one of these are one recording, in natural order.
    """
    found: dict[Path, list[Path]] = {}
    for path in inputs:
        found.setdefault(path.parent if path.parent in folders else path, []).append(path)
    return {
        name: sorted(files, key=natural) if name in folders else files
        for name, files in found.items()
    }


def natural(path: Path) -> list[tuple[int, str]]:
    """A key that sorts names as people count: 2 before 10.

    >>> sorted([Path("y10.mat"), Path("y2.mat")], key=natural)[0].name
    'y2.mat'
    """
    parts = re.split(r"([0-9]+)", path.name)
    return [(int(part), "") if n % 2 else (0, part.casefold()) for n, part in enumerate(parts)] + [
        (0, path.name)
    ]


def recording_job(
    config: ReconstructConfig,
    source: Path,
    headers: Mapping[Path, CaptureHeader],
    name: str,
    selection: Selection,
) -> Job:
    """The job of one recording.

    Args:
        config: of the run.
        source: its file or folder.
        headers: of its files, in order.
        name: of its film.
        selection: which of its measurements, counted through all files.

    Raises:
        InputError: a file has another shape than the first, or records another white.
        UsageError: the measurements chosen do not follow one another.
    """
    first_path, first = next(iter(headers.items()))
    for path, header in headers.items():
        _check_alike(first_path, first, path, header)
    places = [(path, index) for path, h in headers.items() for index in range(h.count)]
    chosen = choose(selection, len(places))
    check_consecutive(chosen)
    output = config.out / f"{name}.{config.format}"
    check_name(output)
    stretches = tuple(
        Stretch(path, headers[path].stamp, tuple(index for _, index in group))
        for path, group in groupby((places[i] for i in chosen), key=lambda place: place[0])
    )
    return Job(
        input=source,
        stamp=stretches[0].stamp,
        index=stretches[0].indices[0],
        output=output,
        previews=tuple(config.out / f"{name}.{kind}" for kind in config.previews),
        look=config.look,
        shape=first.shape,
        recording=stretches,
        window=window_size(first.shape, config.batch_size),
    )


def _check_alike(first_path: Path, first: CaptureHeader, path: Path, header: CaptureHeader) -> None:
    """Refuse a file that cannot be of one recording with the first.

    Raises:
        InputError: it is not.
    """
    if header.shape != first.shape:
        frames, height, width = header.shape
        raise InputError(
            f"it has {frames} frames of {height} x {width} pixels a measurement; those of "
            f"{first_path.name} are {first.shape[0]} of {first.shape[1]} x {first.shape[2]}",
            path=path,
            hint="a recording has one camera; give the files of each in a run of its own",
        )
    if header.scale != first.scale:
        raise InputError(
            f"it records the scale {header.scale}, {first_path.name} records {first.scale}",
            path=path,
            hint="the measurements of a recording are stored in one unit; convert them",
        )
