"""MATLAB 5.0 files: headers scanned here, so that sizes are known first; data through scipy."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator, Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np

from deqsci_cli.errors import InputError, UsageError
from deqsci_cli.io.container import RECORDS, Container, Entry
from deqsci_cli.io.file_version import FileStamp
from deqsci_cli.io.format import Format
from deqsci_cli.io.limits import check_budget
from deqsci_cli.io.read_errors import input_errors

_MATRIX, _COMPRESSED = 14, 15
# Long enough for flags, dimensions and name of any sound variable.
_HEADER_BYTES = 2048
# Storage types of the format and array classes, by the numbers of the MAT-file specification.
# The storage may be narrower than the class: MATLAB writes whole doubles as bytes, for example.
_STORAGE = {
    1: "int8",
    2: "uint8",
    3: "int16",
    4: "uint16",
    5: "int32",
    6: "uint32",
    7: "float32",
    9: "float64",
    12: "int64",
    13: "uint64",
}
_NUMERIC = {
    6: "float64",
    7: "float32",
    8: "int8",
    9: "uint8",
    10: "int16",
    11: "uint16",
    12: "int32",
    13: "uint32",
    14: "int64",
    15: "uint64",
}
_CLASSES = {
    1: "a cell array",
    2: "a struct",
    3: "an object",
    4: "text",
    5: "a sparse matrix",
    16: "a function",
    17: "an object",
}
_TEXT = _CLASSES[4]
_COMPLEX, _LOGICAL = 0x0800, 0x0200
# A text longer than this is no provenance of ours.
_LONGEST_TEXT = 16 * 1024**2
_AGAIN = "copy or export the file again"


def describe_mat(stream: BufferedReader, stamp: FileStamp) -> Container:
    """Describe a MATLAB 5.0 file from its headers; arrays keep shape (H, W[, T]) and class.

    Raises:
        InputError: for a damaged file, or headers that contradict the data's length.
    """
    path = stamp.path
    with input_errors(path, "MATLAB 5.0 file"):
        stream.seek(0)
        entries: dict[str, Entry] = {}
        for entry in _scan(stream, stamp):
            entries.setdefault(entry.name, entry)
    attributes: dict[str, Any] = {}
    for name in RECORDS:
        if name in entries and (value := _attribute(stream, path, entries[name])) is not None:
            attributes[name] = value
            del entries[name]
    if "camera" in entries:
        attributes["camera"] = ""
    # Text next to the arrays is no candidate for anything; what else is odd stays listed.
    entries = {key: entry for key, entry in entries.items() if entry.problem != _TEXT}
    return Container(
        stream, stamp, "MATLAB 5.0", entries, lambda key: _load(stream, path, key), attributes
    )


def _load(stream: BufferedReader, path: Path, key: str) -> Any:
    with input_errors(path, "MATLAB 5.0 file"):
        import scipy.io  # slow to import

        stream.seek(0)
        return scipy.io.loadmat(stream, variable_names=[key], mat_dtype=True)[key]


def _attribute(stream: BufferedReader, path: Path, entry: Entry) -> str | float | None:
    size = math.prod(entry.shape)
    if entry.problem == _TEXT and 0 < size <= _LONGEST_TEXT:
        value = _load(stream, path, entry.name)
        return str(value.flat[0]) if value.size == 1 else None
    if entry.problem is None and size == 1:
        return float(_load(stream, path, entry.name).flat[0])
    return None


def _scan(stream: BufferedReader, stamp: FileStamp) -> Iterator[Entry]:
    path, length = stamp.path, stamp.bytes
    order = "<" if stream.read(128)[126:128] == b"IM" else ">"
    position = 128
    while position < length:
        tag = stream.read(8)
        if len(tag) < 8:
            raise InputError("the MATLAB 5.0 file is cut off", path=path, hint=_AGAIN)
        kind, size = struct.unpack(order + "II", tag)
        if size == 0 or position + 8 + size > length:
            raise InputError(
                "the MATLAB 5.0 file is cut off or damaged: "
                f"a variable claims {size} bytes at position {position} of {length}",
                path=path,
                hint=_AGAIN,
            )
        head = stream.read(min(size, _HEADER_BYTES))
        if kind == _COMPRESSED:
            head = zlib.decompressobj().decompress(head, _HEADER_BYTES)
        elif kind == _MATRIX:
            head = tag + head
        else:
            raise InputError(
                f"an element of type {kind} is no MATLAB variable", path=path, hint=_AGAIN
            )
        entry = _parse(head, order, path)
        # A variable without a name is MATLAB's own workspace of functions.
        if entry.name:
            yield entry
        position += 8 + size
        stream.seek(position)


def _parse(head: bytes, order: str, path: Path) -> Entry:
    kind, _ = struct.unpack_from(order + "II", head, 0)
    if kind != _MATRIX:
        raise InputError(f"an element of type {kind} is no MATLAB variable", path=path, hint=_AGAIN)
    _, flags_data, position = _element(head, 8, order)
    (flags,) = struct.unpack_from(order + "I", flags_data)
    array_class = flags & 0xFF
    if array_class == 17:  # opaque objects have a name but no dimensions
        _, raw_name, _ = _element(head, position, order)
        return Entry(raw_name.decode("latin1"), (), "object", problem=_CLASSES[17])
    _, dimensions, position = _element(head, position, order)
    shape = struct.unpack(f"{order}{len(dimensions) // 4}i", dimensions)
    _, raw_name, position = _element(head, position, order)
    name = raw_name.decode("latin1")
    if array_class == 4:
        # Text is unpacked whole to see whether it is provenance; it must be as long as it says.
        _, size, _ = _tag(head, position, order)
        honest = 0 <= size <= 4 * math.prod(shape)
        return Entry(name, shape, "object", problem=_TEXT if honest else "damaged text")
    if array_class in _CLASSES:
        return Entry(name, shape, "object", problem=_CLASSES[array_class])
    check_budget(shape, 1, path=path, what=repr(name))
    storage, size, _ = _tag(head, position, order)
    if storage not in _STORAGE or array_class not in _NUMERIC:
        unknown = f"of an unknown type ({array_class}, {storage})"
        return Entry(name, shape, "object", problem=unknown)
    itemsize = np.dtype(_STORAGE[storage]).itemsize
    if size != math.prod(shape) * itemsize:
        raise InputError(
            f"{name!r} claims the shape {shape} but holds {size // itemsize} values",
            path=path,
            hint="the file is damaged; export it again",
        )
    # MATLAB's order: rows, columns, then time or number of the measurement.
    axes = {2: "HW", 3: "HWT"}.get(len(shape))
    problem = "an array of complex numbers" if flags & _COMPLEX else None
    dtype = "bool" if flags & _LOGICAL else _NUMERIC[array_class]
    return Entry(name, shape, dtype, axes, problem, assumed=True)


def _tag(head: bytes, position: int, order: str) -> tuple[int, int, int]:
    """Type, bytes and where the data begin; short data are packed into the tag itself."""
    kind, size = struct.unpack_from(order + "II", head, position)
    if kind >> 16:
        return kind & 0xFFFF, kind >> 16, position + 4
    return kind, size, position + 8


def _element(head: bytes, position: int, order: str) -> tuple[int, bytes, int]:
    kind, size, start = _tag(head, position, order)
    if start + size > len(head):
        raise ValueError("a variable's header is cut off or absurdly long")
    # Elements are padded to 8 bytes.
    following = position + 8 if start == position + 4 else start + -(-size // 8) * 8
    return kind, head[start : start + size], following


def write_mat(path: Path, stacks: Mapping[str, np.ndarray], attributes: Mapping[str, Any]) -> None:
    """Write stacks (…, T, H, W), in MATLAB's order (H, W, T, …), as a MATLAB 5.0 file.

    Args:
        path: the file.
        stacks: by name.
        attributes: numbers and texts, by name.

    Raises:
        UsageError: for an array past the format's 4 GB a variable.
    """
    import scipy.io  # slow to import

    arrays = {
        name: stack.transpose(-2, -1, *reversed(range(stack.ndim - 2)))
        for name, stack in stacks.items()
    }
    for name, array in arrays.items():
        if array.nbytes >= 2**32 - 2**16:
            raise UsageError(
                f"{name!r} is over the 4 GB that one MATLAB 5.0 variable can hold",
                hint="write .h5 or .tif instead",
            )
    scipy.io.savemat(path, {**arrays, **attributes}, do_compression=True)
    # SciPy puts the time into the header's text: equal content is to be equal bytes.
    with path.open("r+b") as file:
        file.write(b"MATLAB 5.0 MAT-file, written by deqsci".ljust(116))


FORMAT = Format(
    suffixes=(".mat",),
    sniff=lambda head: head[124:128] in (b"\x00\x01IM", b"\x01\x00MI"),
    describe=describe_mat,
    write=write_mat,
)
