"""What the array formats have in common: named arrays whose shapes are known before reading."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from deqsci_cli.errors import InputError
from deqsci_cli.io.limits import check_budget


@dataclass(frozen=True)
class Entry:
    """One named array, as its header tells it.

    `axes` is a permutation of "THW" (its last two letters of interest for rank 2) where the
    format or the file fixes it, else None. `problem` says why the entry cannot be read.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    axes: str | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Container:
    """An opened description of a file: entries, attributes and how to read one entry.

    `attributes` holds what the file records about itself: `scale`, `provenance`.
    """

    path: Path
    format: str
    entries: dict[str, Entry]
    load: Callable[[str], np.ndarray] = field(repr=False)
    attributes: dict[str, Any] = field(default_factory=dict)

    def entry(self, key: str, option: str = "key") -> Entry:
        """The entry called `key`; InputError names the nearest one and lists what there is."""
        if key in self.entries:
            return self.entries[key]
        near = get_close_matches(key, self.entries, n=1)
        raise InputError(
            f"there is no array {key!r} in the file, which holds {self.listing()}",
            path=self.path,
            hint=f"did you mean --{option} {near[0]}?" if near else f"choose one with --{option}",
        )

    def read(self, key: str) -> np.ndarray:
        """The array of `key`, in the file's own axis order, real numbers of any type.

        Raises:
            InputError: for anything but a full array of real numbers, or one over the budget.
        """
        entry = self.entry(key)
        if entry.problem:
            raise InputError(
                f"{key!r} is {entry.problem}, not an array of real numbers",
                path=self.path,
                hint="save it as a plain numeric array",
            )
        if 0 in entry.shape or not entry.shape:
            raise InputError(
                f"{key!r} is empty or a scalar (shape {entry.shape})",
                path=self.path,
                hint="export the file again with its pictures",
            )
        # Everything becomes float32 in the end, hence at least 4 bytes.
        itemsize = max(4, np.dtype(entry.dtype).itemsize)
        check_budget(entry.shape, itemsize, path=self.path, what=repr(key))
        array = self.load(key)
        if array.shape != entry.shape or array.dtype.kind not in "fiub":
            raise InputError(
                f"{key!r} is not what its header says: shape {array.shape}, {array.dtype}",
                path=self.path,
                hint="the file is damaged; copy or export it again",
            )
        return array

    def listing(self) -> str:
        """The entries in words: `meas (256, 256), mask (256, 256, 8)`."""
        if not self.entries:
            return "no arrays at all"
        shown = [f"{entry.name} {entry.shape}" for entry in list(self.entries.values())[:12]]
        return ", ".join(shown) + (", …" if len(self.entries) > 12 else "")

    @property
    def scale(self) -> float | None:
        """The intensity scale that the file records, None if it records none that makes sense.

        Only beside a provenance: a foreign file's `scale` may mean anything.
        """
        if self.provenance is None:
            return None
        try:
            value = float(self.attributes["scale"])
        except (KeyError, TypeError, ValueError):
            return None
        return value if np.isfinite(value) and value > 0 else None

    @property
    def provenance(self) -> dict[str, Any] | None:
        """The provenance that the file carries, None if it has none (or a foreign one)."""
        text = self.attributes.get("provenance")
        try:
            value = json.loads(text) if isinstance(text, str) else None
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None


def open_container(path: str | Path) -> Container:
    """Describe a .mat (v5, v7.3), HDF5 or TIFF file, whichever its first bytes say it is.

    Raises:
        InputError: for a missing, damaged or foreign file.
    """
    from deqsci_cli.io import hdf5, mat, tiff
    from deqsci_cli.io.sniff import sniff

    kind = sniff(path)
    if kind == "mat":
        return mat.describe_mat(Path(path))
    if kind == "hdf5":
        return hdf5.describe_hdf5(Path(path))
    if kind == "tiff":
        return tiff.describe_tiff(Path(path))
    raise InputError(
        "this is none of the array formats read here (MATLAB 5.0 or 7.3, HDF5, TIFF), "
        "whatever its name says",
        path=path,
        hint="of a video, deqsci simulate makes a capture; else save it again as one of these",
    )
