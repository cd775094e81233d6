"""Sizes from nothing to more than there is: refused before allocation, or reconstructed rightly."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import h5py
import imageio.v3 as iio
import numpy as np
import pytest
import scipy.io
import tifffile

from deqsci_cli.errors import InputError
from deqsci_cli.io import load_capture

GB = 10**9


def hdf5(path: Path, shape: tuple[int, ...], dtype: str = "f4", **options) -> Path:
    """An HDF5 file of a few kB that declares this shape."""
    with h5py.File(path, "w") as file:
        file["mask"] = np.ones((2, 3, 5), np.uint8)
        file.create_dataset("meas", shape, dtype, **options)
    return path


def tiff(path: Path, width: int, height: int, pages: int, big: bool) -> Path:
    """A TIFF whose pages all share one short strip."""
    size, form = (20, "<HHQQ") if big else (12, "<HHII")
    entries = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 8), (262, 3, 1)]
    entries += [(273, 4, 8), (277, 3, 1), (278, 4, height), (279, 4, 16)]
    offset, count, link = (16, "<Q", "<Q") if big else (8, "<H", "<I")
    head = b"II+\0\x08\0\0\0" + struct.pack("<Q", offset) if big else b"II*\0\x08\0\0\0"
    page = struct.calcsize(count) + size * len(entries) + struct.calcsize(link)
    body = b""
    for number in range(pages):
        after = 0 if number == pages - 1 else offset + page * (number + 1)
        body += struct.pack(count, len(entries))
        body += b"".join(struct.pack(form, tag, kind, 1, value) for tag, kind, value in entries)
        body += struct.pack(link, after)
    path.write_bytes(head + body)
    return path


def mat(path: Path, shape: tuple[int, ...], unpacked: int) -> Path:
    """A compressed MATLAB file whose variable has this shape, and so many zeros."""

    def element(kind, data):
        return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)

    claimed = min(int(np.prod([float(n) for n in shape])), 2**32 - 8)
    body = element(6, struct.pack("<II", 9, 0))
    body += element(5, struct.pack(f"<{len(shape)}I", *(n % 2**32 for n in shape)))
    body += element(1, b"meas") + struct.pack("<II", 2, claimed)
    packer = zlib.compressobj(9)
    data = packer.compress(struct.pack("<II", 14, (len(body) + claimed) % 2**32) + body)
    for _ in range(unpacked // 10**7):
        data += packer.compress(bytes(10**7))
    data += packer.flush()
    head = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    path.write_bytes(head + struct.pack("<II", 15, len(data)) + data)
    return path


LENGTHS = (2**31 - 1, 2**31, 2**32, 2**40, 2**62)
CLAIMS = {
    f"h5 of {n} x {m}": lambda p, n=n, m=m: hdf5(p / "a.h5", (n, m), chunks=(1, min(m, 1000)))
    for n in LENGTHS
    for m in (1, 1009)
    if n * m < 2**63
} | {
    "h5 of 320 GB in 2 kB": lambda p: hdf5(p / "a.h5", (8, 10**5, 10**5), "f4"),
    "h5 of 10^15": lambda p: hdf5(p / "a.h5", (10**5, 10**5, 10**5), "u1", chunks=(1, 100, 100)),
    "h5 fill value": lambda p: hdf5(p / "a.h5", (10**5, 10**5), "f8", fillvalue=1),
    "h5 bomb": lambda p: hdf5(p / "a.h5", (10**5, 10**5), "u1", chunks=(10**4, 10**4),
                              compression="gzip"),
    "tif of 2^32 pixels": lambda p: tiff(p / "a.tif", 2**16, 2**16, 1, False),
    "tif of 2^62 pixels": lambda p: tiff(p / "a.tif", 2**31 - 1, 2**31 - 1, 1, False),
    "tif bomb of pages": lambda p: tiff(p / "a.tif", 20000, 20000, 12, False),
    "BigTIFF": lambda p: tiff(p / "a.tif", 2**31, 2**31, 3, True),
    "mat of 2^32": lambda p: mat(p / "a.mat", (2**16, 2**16), 0),
    "mat of 2^62": lambda p: mat(p / "a.mat", (2**31 - 1, 2**31 - 1), 0),
    "mat of 10^15": lambda p: mat(p / "a.mat", (10**5, 10**5, 10**5), 0),
    "mat of negative lengths": lambda p: mat(p / "a.mat", (2**31, 2**31), 0),
    "mat bomb": lambda p: mat(p / "a.mat", (75000, 75000), 2 * 10**8),
    "mat bomb that is shorter than its claim": lambda p: mat(p / "a.mat", (10**4, 10**4), 10**7),
}  # fmt: skip


def test_claims_are_refused_before_they_take_memory(commands, tmp_path):
    files = []
    for number, make in enumerate(CLAIMS.values()):
        (tmp_path / str(number)).mkdir()
        files.append(make(tmp_path / str(number)))
    assert (
        tmp_path / str(list(CLAIMS).index("h5 of 320 GB in 2 kB")) / "a.h5"
    ).stat().st_size < 8000
    assert max(file.stat().st_size for file in files) < 500_000
    use = ("--model", "gap-tv", "-q", "-o", "never", "--overwrite")
    lines = [("reconstruct", file, "--mask", file, *use) for file in files]
    lines += [("inspect", file) for file in files]
    for name, result in zip([*CLAIMS, *CLAIMS], commands(lines), strict=True):
        refused = result.code == 3 or "not read as a capture" in result.err
        assert refused and "Traceback" not in result.err, (name, result)
        assert len(result.err.splitlines()) == 1, (name, result)
        assert result.mib < 300, (name, result.mib)
    assert not list((tmp_path / "never").glob("*.tif"))


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("kind", ["mat", "h5", "tif"])
def test_an_axis_of_length_0(tmp_path, number, kind):
    shape = tuple(0 if axis == number else length for axis, length in enumerate((4, 5, 6)))
    path = tmp_path / f"a.{kind}"
    arrays = {"meas": np.zeros((5, 6), "f4"), "mask": np.zeros(shape, "f4")}
    if kind == "mat":
        scipy.io.savemat(path, arrays)
    elif kind == "h5":
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array
    else:
        tifffile.imwrite(path, arrays["meas"], metadata={"name": "meas"})
        data = path.read_bytes()
        (offset,) = struct.unpack_from("<I", data, 4)
        lengths = {256: shape[2], 257: shape[1]} if number else {256: 0}
        for tag in range(struct.unpack_from("<H", data, offset)[0]):
            place = offset + 2 + 12 * tag
            code = struct.unpack_from("<H", data, place)[0]
            if code in lengths:
                data = data[: place + 8] + struct.pack("<I", lengths[code]) + data[place + 12 :]
        path.write_bytes(data)
    with pytest.raises(InputError):
        load_capture(path, mask=path)


SHAPES = [(1, 16, 18), (1, 1, 1), (2, 1, 1), (3, 7, 13), (5, 11, 17), (4, 1, 19), (4, 19, 1),
          (8, 31, 37), (2, 2, 3), (257, 8, 6), (300, 6, 5)]  # fmt: skip


@pytest.mark.parametrize("model", ["gap-tv", "pnp-cnn"])
def test_odd_sizes_are_reconstructed(commands, tmp_path, model):
    """The film, coded again by the mask, is the measurement; seen whole, it is the film itself."""
    rng = np.random.default_rng(0)
    coded = {}
    for t, h, w in SHAPES if model == "gap-tv" else SHAPES[:9]:
        y, x = np.mgrid[:h, :w]
        video = np.stack([0.5 + 0.3 * np.sin((x + y + n) / 5) for n in range(t)])
        mask = (rng.random((t, h, w)) < 0.5) if t > 1 else np.ones((t, h, w), bool)
        mask[0] |= ~mask.any(0)
        name = f"{t}x{h}x{w}"
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["meas"] = (video * mask).sum(0).astype(np.float32)
            file["mask"] = mask.astype(np.uint8)
            for each in file.values():
                each.attrs["axes"] = "THW"
        coded[name] = (video * mask).sum(0), mask
    lines = [
        ("reconstruct", tmp_path / f"{name}.h5", "-o", "o", "--format", "h5", "--preview", "gif",
         "--model", model, "--scale", "1", "--max-iter", "40", "--overwrite", "-q")
        for name in coded
    ]  # fmt: skip
    for (name, (meas, mask)), result in zip(coded.items(), commands(lines), strict=True):
        assert result.code == 0, (name, result)
        with h5py.File(tmp_path / "o" / f"{name}.h5") as file:
            film = file["video"][()]
        assert film.shape == mask.shape and np.isfinite(film).all(), name
        again = (film * mask).sum(0)
        assert np.linalg.norm(again - meas) < 0.05 * np.linalg.norm(meas), name
        assert iio.imread(tmp_path / "o" / f"{name}.gif", index=0).shape[:2] == mask.shape[1:], name
        if len(mask) == 1:
            np.testing.assert_allclose(film[0], meas, atol=0.05, err_msg=name)
