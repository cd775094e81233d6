"""A file is opened once: to tell its format, list and read its arrays, and hash its bytes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deqsci_cli.errors import InputError
from deqsci_cli.io.container import Container
from deqsci_cli.io.file_version import stamp_of
from deqsci_cli.io.formats import sniff_stream
from deqsci_cli.io.read_errors import input_errors, require_file


@contextmanager
def open_container(path: str | Path) -> Iterator[Container]:
    """Describe a .mat (v5, v7.3), HDF5 or TIFF file, whichever its first bytes say it is.

    The arrays can be read as long as the block goes on.

    Raises:
        InputError: for a missing, damaged or foreign file.
    """
    file = require_file(path)
    with input_errors(file, "file"):
        stream = file.open("rb")
    with stream:
        stamp = stamp_of(stream, file)
        form = sniff_stream(stream, file)
        if form is None:
            raise InputError(
                "this is none of the array formats read here (MATLAB 5.0 or 7.3, HDF5, TIFF), "
                "whatever its name says",
                path=path,
                hint="of a video, deqsci simulate makes a capture; else save it as one of these",
            )
        yield form.describe(stream, stamp)
