"""Which version of a file was seen: cheap to compare (stamp), sure to tell apart (hash)."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

from deqsci_cli.errors import InputError
from deqsci_cli.io.read_errors import input_errors, require_file


@dataclass(frozen=True)
class FileStamp:
    """A file as its folder lists it; a file that is written to gets another stamp.

    Attributes:
        path: where it lies.
        bytes: its length.
        modified_ns: when it was last written to.
    """

    path: Path
    bytes: int
    modified_ns: int


@dataclass(frozen=True)
class FileVersion:
    """A file with exactly this content: its stamp, and the SHA-256 of its bytes."""

    stamp: FileStamp
    sha256: str

    def as_input(self) -> dict[str, Any]:
        """As provenance and reports list a file that was read: path, hash and size."""
        path, size = str(self.stamp.path), self.stamp.bytes
        return {"path": path, "sha256": self.sha256, "bytes": size}


def stamp_of(stream: BufferedReader, path: Path) -> FileStamp:
    """The stamp of an open file."""
    found = os.fstat(stream.fileno())
    return FileStamp(path, found.st_size, found.st_mtime_ns)


def version_of(stream: BufferedReader, before: FileStamp) -> FileVersion:
    """Hash an open file that was read since `before`.

    Raises:
        InputError: something wrote to it meanwhile.
    """
    stream.seek(0)
    digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if stamp_of(stream, before.path) != before:
        raise changed(before.path)
    return FileVersion(before, digest)


def changed(path: Path) -> InputError:
    """The error for a file that is not what it was when the run began."""
    return InputError(
        "the file has changed since this run began",
        path=path,
        hint="start again when nothing writes to it",
    )


def read_version(path: Path) -> FileVersion:
    """The version of a file, for which it is read whole.

    Raises:
        InputError: it cannot be read, or something writes to it.
    """
    file = require_file(path)
    with input_errors(path, "file"), file.open("rb") as stream:
        return version_of(stream, stamp_of(stream, path))
