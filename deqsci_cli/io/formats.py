"""The array formats: what a file is, told by its first bytes and never by its name."""

from __future__ import annotations

from io import BufferedReader
from pathlib import Path

from deqsci_cli.errors import UsageError
from deqsci_cli.io import hdf5, mat, tiff
from deqsci_cli.io.format import Format
from deqsci_cli.io.read_errors import input_errors, require_file

#: every format of this kind; what is added here can be read, written and inspected
FORMATS = (mat.FORMAT, hdf5.FORMAT, tiff.FORMAT)
#: the endings under which they are written
SUFFIXES = tuple(suffix for each in FORMATS for suffix in each.suffixes)
#: so many of a file's first bytes tell its format
HEAD_BYTES = 4096


def sniff(path: str | Path) -> Format | None:
    """The array format of a file; None for any other file.

    Raises:
        InputError: if there is no such file or it may not be read.
    """
    file = require_file(path)
    with input_errors(file, "file"), file.open("rb") as stream:
        return sniff_stream(stream, file)


def sniff_stream(stream: BufferedReader, path: Path) -> Format | None:
    """As `sniff`, of an open file."""
    with input_errors(path, "file"):
        stream.seek(0)
        head = stream.read(HEAD_BYTES)
    return next((each for each in FORMATS if each.sniff(head)), None)


def format_for(path: Path) -> Format:
    """The format that a file of this name is written in.

    Raises:
        UsageError: its ending is of none.
    """
    suffix = checked_suffix(path, SUFFIXES)
    return next(each for each in FORMATS if suffix in each.suffixes)


def checked_suffix(path: Path, allowed: tuple[str, ...]) -> str:
    """The ending of `path` in small letters.

    Raises:
        UsageError: it is not one of `allowed`.
    """
    suffix = path.suffix.lower()
    if suffix not in allowed:
        raise UsageError(
            f"{suffix or 'no ending'} is no format that can be written here",
            path=path,
            hint=f"use one of {', '.join(allowed)}",
        )
    return suffix
