"""What a file format is to the rest: how it is told, read and written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np

from deqsci_cli.io.container import Container
from deqsci_cli.io.file_version import FileStamp

Write = Callable[[Path, Mapping[str, np.ndarray], Mapping[str, Any]], None]
WriteParts = Callable[[Path, Iterable[np.ndarray], tuple[int, int, int], Mapping[str, Any]], None]


@dataclass(frozen=True)
class Format:
    """One file format; its module makes it, and `formats.FORMATS` lists it.

    Attributes:
        suffixes: file names that it is written under; the first is the usual one.
        sniff: whether the first bytes of a file, `formats.HEAD_BYTES` of them, are of this format.
        describe: the arrays of an open file, and how each is read (`Container.read`).
        write: stacks `(T, H, W)` by name, and numbers and texts that are recorded beside them.
        write_film: the same for the one stack of a film; None where `write` serves.
        write_parts: a film of a known shape `(T, H, W)` that comes part by part, `(k, H, W)` each;
            None where it has to be held whole.
    """

    suffixes: tuple[str, ...]
    sniff: Callable[[bytes], bool]
    describe: Callable[[BufferedReader, FileStamp], Container]
    write: Write
    write_film: Write | None = None
    write_parts: WriteParts | None = None
