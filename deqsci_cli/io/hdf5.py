"""HDF5 files, MATLAB v7.3 among them; nothing that points outside the file is followed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from deqsci_cli.errors import InputError
from deqsci_cli.io.container import RECORDS, Container, Entry
from deqsci_cli.io.file_version import FileStamp
from deqsci_cli.io.format import Format
from deqsci_cli.io.limits import check_budget
from deqsci_cli.io.read_errors import input_errors

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
# The HDF5 specification allows the signature at 0, 512, 1024, …; MATLAB v7.3 uses 512.
_OFFSETS = (0, 512, 1024, 2048)
_MOST_OBJECTS = 2000
_DEEPEST = 8
_LONGEST_ATTRIBUTE = 16 * 1024**2
_TEXT = "text"
# The axes of what has several arms, in files of our own.
_ARMS = {"meas": "NKHW", "mask": "KTHW"}
# MATLAB's classes, which may differ from how they are stored: logical is kept as uint8.
_NUMERIC_CLASSES = {"double": "float64", "single": "float32", "logical": "bool"} | {
    name: name for sign in ("", "u") for bits in (8, 16, 32, 64) if (name := f"{sign}int{bits}")
}


def describe_hdf5(stream: BufferedReader, stamp: FileStamp) -> Container:
    """Describe an HDF5 file; v7.3 arrays are told (and read) in MATLAB's order (H, W[, T]).

    Raises:
        InputError: for a damaged file.
    """
    path = stamp.path
    with input_errors(path, "HDF5 file"), h5py.File(stream, "r") as file:
        matlab = file.userblock_size >= 512 and _is_matlab(stream)
        found = {entry.name: entry for entry in _walk(file, "", 0, matlab, [0], path)}
        attributes: dict[str, Any] = {}
        for name in RECORDS:
            # MATLAB has no attributes, and other programs may not use them.
            record = _attribute if name in file.attrs or name not in found else _variable
            if (value := record(file, name)) is not None:
                attributes[name] = value
                found.pop(name, None)
        if "camera" in file.attrs or "camera" in found:
            attributes.setdefault("camera", "")
    entries = {key: entry for key, entry in found.items() if entry.problem != _TEXT}
    name = "MATLAB 7.3 (HDF5)" if matlab else "HDF5"
    return Container(
        stream, stamp, name, entries, lambda key: _load(stream, path, key, matlab), attributes
    )


def _is_matlab(stream: BufferedReader) -> bool:
    stream.seek(0)
    return stream.read(10) == b"MATLAB 7.3"


def _load(stream: BufferedReader, path: Path, key: str, matlab: bool) -> np.ndarray:
    with input_errors(path, "HDF5 file"), h5py.File(stream, "r") as file:
        dataset = file[key]
        if dataset.chunks:
            # One chunk is unpacked whole, however small the dataset.
            check_budget(
                dataset.chunks, dataset.dtype.itemsize, path=path, what=f"a chunk of {key!r}"
            )
        array = np.asarray(dataset[()]).astype(_dtype(dataset), copy=False)
        return array.T if matlab or "MATLAB_class" in dataset.attrs else array


def _walk(
    group: h5py.Group, prefix: str, depth: int, matlab: bool, count: list[int], path: Path
) -> Iterator[Entry]:
    for key in group:
        count[0] += 1
        if count[0] > _MOST_OBJECTS or depth > _DEEPEST:
            raise InputError(
                "the file holds too many or too deeply nested objects",
                path=path,
                hint="save the arrays alone, at the file's root",
            )
        name = prefix + key
        link = group.get(key, getlink=True)
        if not isinstance(link, h5py.HardLink):
            # Soft links may lead through external ones, so neither kind is followed.
            kind = "an external link" if isinstance(link, h5py.ExternalLink) else "a soft link"
            yield Entry(name, (), "object", problem=f"{kind} (never followed)")
            continue
        item = group[key]
        if isinstance(item, h5py.Group):
            if "MATLAB_sparse" in item.attrs:
                yield Entry(name, (), "object", problem="a sparse matrix")
            elif "MATLAB_class" in item.attrs:
                yield Entry(name, (), "object", problem="a struct or an object")
            elif key != "#refs#":  # where v7.3 keeps the insides of cells
                yield from _walk(item, name + "/", depth + 1, matlab, count, path)
        elif isinstance(item, h5py.Dataset):
            yield _entry(name, item, matlab)


def _entry(name: str, dataset: h5py.Dataset, matlab: bool) -> Entry:
    matlab = matlab or "MATLAB_class" in dataset.attrs
    shape = tuple(int(length) for length in dataset.shape or ())
    shape = shape[::-1] if matlab else shape
    problem = _problem(dataset)
    axes = {2: "HW", 3: "HWT"}.get(len(shape)) if matlab else _attribute(dataset, "axes")
    dtype = "object" if problem else _dtype(dataset).name
    axes = axes if isinstance(axes, str) else None
    return Entry(name, shape, dtype, axes, problem, assumed=matlab)


def _dtype(dataset: h5py.Dataset) -> np.dtype[Any]:
    """The type that the values have for whoever wrote them."""
    matlab_class = _attribute(dataset, "MATLAB_class")
    if isinstance(matlab_class, str) and matlab_class in _NUMERIC_CLASSES:
        meant = np.dtype(_NUMERIC_CLASSES[matlab_class])
        if meant.kind == "b" or np.can_cast(dataset.dtype, meant):
            return meant
    if dataset.id.get_type().get_class() == h5py.h5t.BITFIELD and dataset.dtype.itemsize == 1:
        return np.dtype(bool)  # as Julia and PyTables keep logical values
    dtype: np.dtype[Any] = dataset.dtype
    return dtype


def _problem(dataset: h5py.Dataset) -> str | None:
    if dataset.is_virtual:
        return "a virtual dataset (kept in other files, never followed)"
    if dataset.id.get_create_plist().get_external_count():
        return "kept in external storage (other files, never followed)"
    matlab_class = _attribute(dataset, "MATLAB_class")
    if matlab_class == "cell":
        return "a cell array"
    if matlab_class == "char" or h5py.check_string_dtype(dataset.dtype):
        return _TEXT
    if isinstance(matlab_class, str) and matlab_class not in _NUMERIC_CLASSES:
        return f"of the MATLAB class {matlab_class}"
    if dataset.dtype.names is not None and set(dataset.dtype.names) <= {"real", "imag"}:
        return "an array of complex numbers"
    if dataset.dtype.kind == "c":
        return "an array of complex numbers"
    if dataset.dtype.kind not in "fiub":
        return f"of type {dataset.dtype}"
    if dataset.attrs.get("MATLAB_empty"):
        return "empty"
    return None


def _attribute(item: h5py.File | h5py.Dataset, name: str) -> str | float | None:
    if name not in item.attrs:
        return None
    if item.attrs.get_id(name).get_storage_size() > _LONGEST_ATTRIBUTE:
        return None
    value: Any = item.attrs[name]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, str):
        return value
    return float(value) if isinstance(value, (int, float, np.number)) else None


def _variable(file: h5py.File, name: str) -> str | float | None:
    """A text or a number that is kept as a variable, as MATLAB keeps it."""
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.attrs.get("MATLAB_empty"):
        return None
    if (dataset.size or 0) * dataset.dtype.itemsize > _LONGEST_ATTRIBUTE:
        return None
    if _attribute(dataset, "MATLAB_class") == "char" and dataset.dtype.kind == "u":
        codes = np.asarray(dataset[()]).ravel().astype("<u2")  # MATLAB's letters are UTF-16
        return codes.tobytes().decode("utf-16-le", "replace")
    if h5py.check_string_dtype(dataset.dtype) and dataset.size == 1:
        return str(np.ravel(dataset.asstr("utf-8", "replace")[()])[0])
    if _problem(dataset) is None and dataset.size == 1:
        return float(np.asarray(dataset[()]).flat[0])
    return None


def write_hdf5(path: Path, stacks: Mapping[str, np.ndarray], attributes: Mapping[str, Any]) -> None:
    """Write stacks (…, T, H, W) gzipped, each with its axes, and `attributes` on the root.

    The file is made in memory first: HDF5 crashes the interpreter when a disk fills up under it.
    """
    memory = BytesIO()
    # From format 1.8 on an attribute may exceed 64 KB, as the provenance of many inputs does.
    with h5py.File(memory, "w", libver=("v108", "v110")) as file:
        for name, stack in stacks.items():
            dataset = file.create_dataset(
                name, data=stack, chunks=(1, *stack.shape[1:]), compression="gzip", shuffle=True
            )
            dataset.attrs["axes"] = "THW" if stack.ndim == 3 else _ARMS[name]
        for name, value in attributes.items():
            file.attrs[name] = value
    path.write_bytes(memory.getbuffer())


def write_film_parts(
    path: Path,
    parts: Iterable[np.ndarray],
    shape: tuple[int, ...],
    attributes: Mapping[str, Any],
) -> None:
    """Write a film (T, H, W) of float32 as `write_hdf5` does; one part at a time is held.

    The packed file is held as well, until it is written.
    """
    memory = BytesIO()
    with h5py.File(memory, "w", libver=("v108", "v110")) as file:
        video = file.create_dataset(
            "video", shape, "f4", chunks=(1, *shape[1:]), compression="gzip", shuffle=True
        )
        video.attrs["axes"] = "THW"
        start = 0
        for part in parts:
            video[start : start + len(part)] = part
            start += len(part)
        for name, value in attributes.items():
            file.attrs[name] = value
    path.write_bytes(memory.getbuffer())


FORMAT = Format(
    suffixes=(".h5", ".hdf5"),
    sniff=lambda head: any(head[at : at + len(_SIGNATURE)] == _SIGNATURE for at in _OFFSETS),
    describe=describe_hdf5,
    write=write_hdf5,
    write_parts=write_film_parts,
)
