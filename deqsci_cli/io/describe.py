"""What is in a file, for `deqsci inspect`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from deqsci_cli.errors import InputError
from deqsci_cli.io.camera import IMPERFECTIONS
from deqsci_cli.io.container import Container, Entry
from deqsci_cli.io.opening import open_container


@dataclass(frozen=True)
class ArraySummary:
    """One array: shape and axes as stored; the statistics are None where it was not read."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    axes: str | None
    minimum: float | None
    maximum: float | None
    mean: float | None
    note: str | None


@dataclass(frozen=True)
class FileSummary:
    """A file: its format by header, its arrays, and what it records about itself."""

    path: Path
    format: str
    arrays: tuple[ArraySummary, ...]
    scale: float | None
    provenance: dict[str, Any] | None = field(default=None)

    @property
    def imperfections(self) -> tuple[str, ...]:
        """Of a capture that a camera's file simulated: what this camera did, by its keys."""
        record = self.provenance or {}
        config = record.get("config") if record.get("command") == "simulate" else None
        camera = config.get("camera") if isinstance(config, dict) else None
        if not isinstance(camera, dict):
            return ()
        return tuple(
            key for key in IMPERFECTIONS if camera.get(key, "none") not in ("auto", "none")
        )


def describe(path: str | Path) -> FileSummary:
    """Summarise a .mat, HDF5 or TIFF file, one array at a time, none over the byte budget.

    Raises:
        InputError: if the file is none of these, or damaged. An array that alone cannot be read
            is listed with a note instead.
    """
    with open_container(path) as container:
        return FileSummary(
            path=container.path,
            format=container.format,
            arrays=tuple(_summary(container, entry) for entry in container.entries.values()),
            scale=container.scale,
            provenance=container.provenance,
        )


def _summary(container: Container, entry: Entry) -> ArraySummary:
    try:
        array = container.read(entry.name)
    except InputError as error:
        reason = entry.problem or error.message
        return ArraySummary(
            entry.name, entry.shape, entry.dtype, entry.axes, None, None, None, reason
        )
    finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array
    bad = array.size - finite.size
    note = f"{bad} NaN or infinite" if bad else None
    low = high = mean = None
    if finite.size:
        low, high = float(finite.min()), float(finite.max())
        mean = float(finite.mean(dtype=np.float64))
    return ArraySummary(
        entry.name, entry.shape, str(array.dtype), entry.axes, low, high, mean, note
    )
