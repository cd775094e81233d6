"""What a file is, told by its first bytes and never by its name."""

from __future__ import annotations

from io import BufferedReader
from pathlib import Path
from typing import Literal

from deqsci_cli.io.read_errors import input_errors, require_file

Kind = Literal["mat", "hdf5", "tiff", "other"]

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
# The HDF5 specification allows the signature at 0, 512, 1024, …; MATLAB v7.3 uses 512.
HDF5_OFFSETS = (0, 512, 1024, 2048)
TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def sniff(path: str | Path) -> Kind:
    """Tell `mat` (MATLAB 5.0), `hdf5` (v7.3 among them), `tiff` or `other`.

    Raises:
        InputError: if there is no such file or it may not be read.
    """
    file = require_file(path)
    with input_errors(file, "file"), file.open("rb") as stream:
        return sniff_stream(stream, file)


def sniff_stream(stream: BufferedReader, path: Path) -> Kind:
    """As `sniff`, of an open file."""
    with input_errors(path, "file"):
        stream.seek(0)
        head = stream.read(HDF5_OFFSETS[-1] + len(HDF5_SIGNATURE))
    if any(head[offset : offset + 8] == HDF5_SIGNATURE for offset in HDF5_OFFSETS):
        return "hdf5"
    if head[:4] in TIFF_MAGICS:
        return "tiff"
    if head[124:128] in (b"\x00\x01IM", b"\x01\x00MI"):
        return "mat"
    return "other"
