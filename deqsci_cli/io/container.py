"""What the array formats have in common: named arrays whose shapes are known before reading."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np

from deqsci_cli.errors import InputError
from deqsci_cli.io.axes import Stack
from deqsci_cli.io.file_version import FileStamp, FileVersion, version_of
from deqsci_cli.io.limits import check_budget
from deqsci_cli.io.read_errors import input_errors

#: what a file may record about itself beside its arrays
RECORDS = ("scale", "provenance", "camera")


@dataclass(frozen=True)
class Entry:
    """One named array, as its header tells it.

    `dtype` is the type that the values have for whoever wrote them, and when they are read; the
    file may store them in another. `axes` is a permutation of "THW" (its last two letters of
    interest for rank 2) where the format or the file fixes it, else None. `assumed` axes are the
    format's usual ones, which other programs may not have kept. `problem` says why the entry
    cannot be read.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    axes: str | None = None
    problem: str | None = None
    assumed: bool = False


@dataclass(frozen=True, eq=False)
class Container:
    """An opened file: its entries, and how to read one of them while the file is open.

    Attributes:
        stream: the open file.
        stamp: of the file, when it was opened.
        format: in words.
        entries: its arrays, by name.
        load: gives the array of a name, as long as the stream is open.
        attributes: what the file records about itself, of `RECORDS`. A `camera` that is there but
            cannot be read is empty.
    """

    stream: BufferedReader = field(repr=False)
    stamp: FileStamp
    format: str
    entries: dict[str, Entry]
    load: Callable[[str], np.ndarray] = field(repr=False)
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        return self.stamp.path

    def version(self) -> FileVersion:
        """The hash of what was opened.

        Raises:
            InputError: something wrote to the file since.
        """
        with input_errors(self.path, "file"):
            return version_of(self.stream, self.stamp)

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

    def check(self, key: str) -> Entry:
        """The entry of `key`, if by the header it can be read.

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
        return entry

    def read(self, key: str) -> np.ndarray:
        """The array of `key`, in the file's own axis order, real numbers of any type.

        Raises:
            InputError: as `check`, or the data are not what the header says.
        """
        entry = self.check(key)
        array = self.load(key)
        if array.shape != entry.shape or array.dtype.kind not in "fiub":
            raise InputError(
                f"{key!r} is not what its header says: shape {array.shape}, {array.dtype}",
                path=self.path,
                hint="the file is damaged; copy or export it again",
            )
        return array

    def stack(self, key: str, what: str, axes: str | None = None) -> Stack:
        """The array of `key` for `axes.resolve`, by its header alone.

        Args:
            what: its name in messages.
            axes: what the user says about it.
        """
        entry = self.entries[key]
        # Files of our own keep the order of their format.
        assumed = axes is None and entry.assumed and self.provenance is None
        return Stack(what, entry.shape, axes or entry.axes, assumed)

    def listing(self) -> str:
        """The entries in words: `meas (256, 256), mask (256, 256, 8)`; and their problems."""
        if not self.entries:
            return "no arrays at all"
        shown = [
            f"{entry.name} {entry.shape}" + (f", {entry.problem}" if entry.problem else "")
            for entry in list(self.entries.values())[:12]
        ]
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
