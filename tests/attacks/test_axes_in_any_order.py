"""Every order of axes, type and format: read rightly, or refused with the --axes that works."""

from __future__ import annotations

import re
from itertools import permutations, product

import h5py
import numpy as np
import pytest
import scipy.io
import tifffile

from deqsci_cli.errors import InputError
from deqsci_cli.io import load_capture, read_film, read_mask, read_video, write_capture

ORDERS = ["".join(order) for order in permutations("THW")]
TYPES = ("uint8", "uint16", "int32", "float32", "float64", "bool")
KINDS = ("mat", "v73", "h5", "tif")


def scene(t, h, w, n):
    """Measurements (N, H, W) and a mask (T, H, W) that no turning maps onto itself."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 200, (n, h, w)), rng.integers(0, 2, (t, h, w))


def turned(stack: np.ndarray, order: str) -> np.ndarray:
    return np.ascontiguousarray(stack.transpose(["THW".index(axis) for axis in order]))


def write(path, kind, meas, mask):
    return write_arrays(path, kind, {"meas": meas, "mask": mask})


def write_arrays(path, kind, arrays):
    """Arrays as they are: what an axis means is for the reader to find out."""
    if kind == "mat":
        scipy.io.savemat(path, arrays)
    elif kind == "tif":
        with tifffile.TiffWriter(path) as file:
            for name, array in arrays.items():
                file.write(array, photometric="minisblack", metadata={"name": name})
    else:
        with h5py.File(path, "w", userblock_size=512 if kind == "v73" else 0) as file:
            for name, array in arrays.items():
                file[name] = array.T if kind == "v73" else array
        if kind == "v73":
            with path.open("r+b") as stream:
                stream.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    return path


def load(path, axes=None):
    capture = load_capture(path, axes=axes, scale=1)
    return capture.measurements, capture.mask


def same(found, meant) -> bool:
    return all(np.array_equal(one, other) for one, other in zip(found, meant, strict=True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", TYPES)
def test_all_orders(tmp_path, kind, dtype):
    for number, (order, single) in enumerate(product(ORDERS, (True, False))):
        meas, mask = scene(3, 7, 11, 1 if single else 2)
        flat = [axis for axis in order if axis != "T"] == ["W", "H"]
        stored = turned(meas, order)
        if single:
            stored = meas[0].T if flat else meas[0]
        of_meas = "uint8" if dtype == "bool" else dtype
        path = tmp_path / f"{number}.{'mat' if kind == 'v73' else kind}"
        write(path, kind, stored.astype(of_meas), turned(mask, order).astype(dtype))
        case = (order, single, stored.shape)
        assert same(load(path, order), (meas, mask)), case
        try:
            found = load(path)
        except InputError as error:
            named = re.findall(r"--axes ([THW]{3})", str(error))
            assert order in named, (case, str(error))
        else:
            # The documented layouts; in which pictures keep the axes that they are stored with.
            assert order in ("THW", "HWT", "TWH", "WHT"), case
            as_meant = (meas.swapaxes(1, 2), mask.swapaxes(1, 2)) if flat else (meas, mask)
            assert same(found, as_meant), case


@pytest.mark.parametrize(
    ("t", "h", "w", "n"),
    [(4, 4, 9, 1), (4, 9, 4, 2), (9, 4, 4, 2), (5, 5, 5, 1), (5, 5, 5, 5), (3, 8, 8, 2),
     (3, 7, 9, 3), (1, 6, 8, 1), (8, 6, 6, 8)],
)  # fmt: skip
@pytest.mark.parametrize("order", ORDERS)
def test_equal_lengths_are_told_or_read_by_the_rule(tmp_path, t, h, w, n, order):
    """HDF5 leaves axes open; what is read must be one of the two layouts, with time shortest."""
    meas, mask = scene(t, h, w, n)
    stored, of_mask = turned(meas, order), turned(mask, order)
    path = write(tmp_path / "a.h5", "h5", stored, of_mask)
    assert same(load(path, order), (meas, mask))
    try:
        found = load(path)
    except InputError as error:
        named = re.findall(r"--axes ([THW]{3})", str(error))
        assert named, str(error)
        for axes in named:
            assert same(load(path, axes), (_as(stored, axes), _as(of_mask, axes)))
    else:
        shortest = min(of_mask.shape)
        fits = [a for a in ("THW", "HWT") if same(found, (_as(stored, a), _as(of_mask, a)))]
        assert len(fits) >= 1
        if stored.shape == of_mask.shape:  # then sizes alone decide nothing
            assert of_mask.shape[fits[0].index("T")] == shortest


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("t", "h", "w"), [(3, 7, 11), (4, 4, 9), (4, 9, 4), (5, 5, 5), (3, 8, 8), (1, 6, 8), (2, 2, 7)]
)
def test_lengths_that_coincide_are_read_rightly_or_told(tmp_path, kind, order, t, h, w):
    """No wrong film where the number of measurements, T, H and W are equal to one another."""
    flat = [axis for axis in order if axis != "T"] == ["W", "H"]
    for n in {0, 1, 2, t, h, w}:  # 0 for a measurement without an axis of its own
        meas, mask = scene(t, h, w, n or 1)
        stored = turned(meas, order)
        if n == 0:
            stored = meas[0].T if flat else meas[0]
        path = tmp_path / f"{n}.{'mat' if kind == 'v73' else kind}"
        write(path, kind, stored.astype(np.uint16), turned(mask, order).astype(np.uint8))
        try:
            found = load(path)
        except InputError as error:
            assert order in re.findall(r"--axes ([THW]{3})", str(error)), (n, str(error))
            assert same(load(path, order), (meas, mask)), n
        else:
            assert order in ("THW", "HWT", "TWH", "WHT"), n
            as_meant = (meas.swapaxes(1, 2), mask.swapaxes(1, 2)) if flat else (meas, mask)
            assert same(found, as_meant), n


@pytest.mark.parametrize("kind", ["mat", "v73"])
@pytest.mark.parametrize("truth", [False, True])
@pytest.mark.parametrize(
    ("t", "h", "w", "n"),
    [(8, 24, 24, 8), (8, 24, 24, 1), (8, 24, 32, 8), (8, 32, 24, 24), (8, 24, 24, 24),
     (1, 24, 32, 1), (24, 25, 32, 24), (20, 8, 8, 1), (20, 8, 9, 3)],
)  # fmt: skip
def test_what_matlab_writes_is_never_asked_about(tmp_path, kind, truth, t, h, w, n):
    meas, mask = scene(t, h, w, n)
    arrays = {"meas": turned(meas, "HWT"), "mask": turned(mask, "HWT")}
    if n == 1:
        arrays["meas"] = meas[0]
    path = write(tmp_path / "a.mat", kind, arrays["meas"].astype(float), arrays["mask"])
    assert same(load(path), (meas, mask))
    if truth:
        video = turned(np.random.default_rng(1).integers(0, 255, (n * t, h, w)), "HWT")
        scipy.io.savemat(tmp_path / "b.mat", arrays | {"orig": video.astype(np.uint8)})
        assert load_capture(tmp_path / "b.mat").truth.shape == (n * t, h, w)


def test_our_own_files_are_never_asked_about(tmp_path):
    for t, h, w, n in ((5, 5, 5, 5), (7, 3, 4, 7), (4, 9, 4, 1), (3, 8, 8, 3)):
        meas, mask = scene(t, h, w, n)
        for suffix in (".mat", ".h5", ".tif"):
            path = tmp_path / f"a{suffix}"
            write_capture(
                path, measurements=meas, mask=mask, scale=1, provenance={}, overwrite=True
            )
            assert same(load(path), (meas, mask))


@pytest.mark.parametrize("kind", ["mat", "v73"])
@pytest.mark.parametrize("reader", [read_film, read_mask, read_video])
def test_a_film_or_mask_alone(tmp_path, kind, reader):
    """Strips that would be pictures with the frames first are no pictures for sure."""
    film = np.random.default_rng(0).integers(0, 255, (16, 48, 60)).astype(np.uint8)
    frames = {read_film: lambda p: reader(p).frames}.get(reader, reader)
    path = write_arrays(tmp_path / "a.mat", kind, {"a": film})
    with pytest.raises(InputError, match=r"60 frames of 16 x 48 pixels.*16 frames of 48 x 60"):
        frames(path)
    if reader is read_film:
        assert read_film(path, axes="THW").frames.shape == (16, 48, 60)
    for many in (film, np.concatenate([film] * 5)):
        path = write_arrays(tmp_path / "b.mat", kind, {"a": turned(many, "HWT")})
        assert frames(path).shape == many.shape


def _as(array: np.ndarray, axes: str) -> np.ndarray:
    return array.transpose([axes.index(letter) for letter in "THW"])


def test_orders_that_no_option_reconciles_are_told_as_such(tmp_path):
    meas, mask = scene(3, 7, 11, 2)
    path = write(tmp_path / "a.h5", "h5", meas, turned(mask, "TWH"))
    with pytest.raises(InputError, match="transposed") as caught:
        load(path)
    assert "--axes" not in str(caught.value)
    for order in ORDERS:
        with pytest.raises(InputError):
            load(path, order)
