"""The type that values have for whoever wrote them, however the file stores them."""

from __future__ import annotations

import struct
import zlib

import h5py
import numpy as np
import pytest
import scipy.io

from deqsci_cli.io import load_capture, read_film, read_mask
from deqsci_cli.io.opening import open_container

# By the MAT-file specification: class and storage numbers.
CLASSES = {"float64": 6, "float32": 7, "int8": 8, "uint8": 9, "int16": 10, "uint16": 11,
           "int32": 12, "uint32": 13, "int64": 14, "uint64": 15}  # fmt: skip
STORAGES = {"int8": 1, "uint8": 2, "int16": 3, "uint16": 4, "int32": 5, "uint32": 6,
            "float32": 7, "float64": 9}  # fmt: skip
LOGICAL = 0x0200


def element(kind: int, data: bytes) -> bytes:
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def variable(name: str, array: np.ndarray, array_class: str, storage: str) -> bytes:
    """As MATLAB 5.0 files have it; `array` is (H, W, T), and written column by column."""
    logical = array_class == "logical"
    flags = CLASSES["uint8" if logical else array_class] | LOGICAL * logical
    body = element(6, struct.pack("<II", flags, 0))
    body += element(5, struct.pack(f"<{array.ndim}i", *array.shape)) + element(1, name.encode())
    body += element(STORAGES[storage], array.astype(storage).tobytes(order="F"))
    return struct.pack("<II", 14, len(body)) + body


def write_v5(path, compressed=True, **variables):
    parts = [variable(name, *what) for name, what in variables.items()]
    if compressed:
        packed = [zlib.compress(part) for part in parts]
        parts = [struct.pack("<II", 15, len(part)) + part for part in packed]
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + b"".join(parts))
    return path


def write_v73(path, **variables):
    names = {"float64": "double", "float32": "single"}
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, (array, array_class, storage) in variables.items():
            dataset = file.create_dataset(name, data=array.astype(storage).T)
            called = names.get(array_class, array_class)
            dataset.attrs["MATLAB_class"] = np.bytes_(called)
            if called == "logical":
                dataset.attrs["MATLAB_int_decode"] = np.int32(1)
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    return path


@pytest.mark.parametrize("write", [write_v5, write_v73])
@pytest.mark.parametrize(
    ("array_class", "storage"),
    [("logical", "uint8"), ("float64", "uint8"), ("float64", "int16"), ("float64", "uint16"),
     ("float64", "float64"), ("float32", "uint8"), ("int32", "uint8"), ("uint16", "uint8"),
     ("uint8", "uint8"), ("int64", "int16")],
)  # fmt: skip
def test_the_class_counts_and_the_header_tells_it(
    tmp_path, monkeypatch, write, array_class, storage
):
    meant = np.random.default_rng(0).integers(0, 2, (5, 7, 3))
    path = write(tmp_path / "a.mat", a=(meant, array_class, storage))
    dtype = "bool" if array_class == "logical" else array_class
    with open_container(path) as container:
        assert container.entries["a"].dtype == dtype
        read = container.read("a")
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, meant)


def test_headers_alone_are_read_for_the_class(tmp_path, monkeypatch):
    path = write_v5(tmp_path / "a.mat", a=(np.ones((5, 7, 3)), "logical", "uint8"))
    monkeypatch.setattr(scipy.io, "loadmat", None)
    with open_container(path) as container:
        assert container.entries["a"].dtype == "bool"


@pytest.mark.parametrize("compressed", [True, False])
def test_as_scipy_reads_matlabs_types(tmp_path, compressed):
    values = np.arange(105).reshape(5, 7, 3)
    path = write_v5(tmp_path / "a.mat", compressed, a=(values, "float64", "uint8"))
    oracle = scipy.io.loadmat(path, mat_dtype=True)["a"]
    with open_container(path) as container:
        read = container.read("a")
    assert read.dtype == oracle.dtype == np.float64
    np.testing.assert_array_equal(read, oracle)


@pytest.mark.parametrize("write", [write_v5, write_v73])
@pytest.mark.parametrize("kind", ["logical", "float64"])
def test_a_film_of_zeros_and_ones_has_white_at_one(tmp_path, write, kind):
    """As it has in an HDF5 file with the same arrays, whatever MATLAB stores it as."""
    rng = np.random.default_rng(0)
    mask, truth = rng.integers(0, 2, (9, 13, 4)), rng.integers(0, 2, (9, 13, 4))
    meas = (mask * truth).sum(2)
    variables = {
        "meas": (meas, "float64", "uint8"),
        "mask": (mask, "logical", "uint8"),
        "orig": (truth, kind, "uint8"),
    }
    path = write(tmp_path / "a.mat", **variables)
    capture = load_capture(path)
    assert capture.scale == 1
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["meas"], file["mask"] = meas, mask.transpose(2, 0, 1) > 0
        file["orig"] = truth.transpose(2, 0, 1).astype(bool if kind == "logical" else float)
    same = load_capture(tmp_path / "a.h5")
    assert same.scale == 1
    for name in ("measurements", "mask", "truth"):
        np.testing.assert_array_equal(getattr(capture, name), getattr(same, name))
    assert read_film(path, key="orig").scale == 1
    np.testing.assert_array_equal(read_mask(path), capture.mask)


def test_a_class_that_the_storage_does_not_fit_is_not_forced(tmp_path):
    fractions = np.random.default_rng(0).random((5, 7, 3))
    path = write_v73(tmp_path / "a.mat", a=(fractions, "uint8", "float64"))
    with open_container(path) as container:
        assert container.entries["a"].dtype == "float64"
        np.testing.assert_array_equal(container.read("a"), fractions)


def test_bits_of_other_hdf5_writers_are_logical(tmp_path):
    """Julia and PyTables store truth values as bit fields of 8 bits."""
    stored = np.random.default_rng(0).integers(0, 2, (3, 5, 7)).astype(np.uint8)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        space = h5py.h5s.create_simple(stored.shape)
        dataset = h5py.h5d.create(file.id, b"a", h5py.h5t.STD_B8LE, space)
        dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, stored, mtype=h5py.h5t.STD_B8LE)
    with open_container(tmp_path / "a.h5") as container:
        assert container.entries["a"].dtype == "bool"
        np.testing.assert_array_equal(container.read("a"), stored > 0)
