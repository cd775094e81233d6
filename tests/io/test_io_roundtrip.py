"""What is written is read back, by us and by the libraries that others use."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
import scipy.io
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deqsci_cli.errors import OutputExistsError, UsageError
from deqsci_cli.io import (
    describe,
    load_capture,
    read_film,
    read_video,
    tiff,
    write_capture,
    write_film,
    write_film_parts,
)

SUFFIXES = [".mat", ".h5", ".tif"]
PROVENANCE = {"deqsci": "0.1", "config": {"name": "Schröder", "sigma": 0.5}, "seed": None}


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".hdf5", ".TIFF"])
@pytest.mark.parametrize("scale", [1.0, 255.0, 0.5487])
@pytest.mark.parametrize("kind", ["binary", "grey", "counts"])
def test_capture(tmp_path, suffix, scale, kind):
    rng = np.random.default_rng(1)
    mask = {
        "binary": rng.integers(0, 2, (4, 11, 17)),
        "grey": rng.random((4, 11, 17)),
        "counts": rng.integers(0, 114, (4, 11, 17)),
    }[kind].astype(np.float32)
    truth = rng.random((6, 11, 17)).astype(np.float32)
    meas = rng.random((2, 11, 17)).astype(np.float32) * mask.sum(0)
    path = tmp_path / "sub" / f"c{suffix}"
    write_capture(
        path,
        measurements=meas,
        mask=mask,
        truth=truth,
        scale=scale,
        provenance=PROVENANCE,
        overwrite=False,
    )
    capture = load_capture(path)
    assert capture.scale == scale and "recorded" in capture.scale_rule
    np.testing.assert_allclose(capture.measurements, meas, rtol=1e-6)
    np.testing.assert_array_equal(capture.mask, mask)
    np.testing.assert_allclose(capture.truth, truth, rtol=1e-6, atol=1e-7)
    assert describe(path).provenance == PROVENANCE


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_capture_of_any_shape_and_type(tmp_path, suffix, data):
    T, N = data.draw(st.integers(1, 4), "T"), data.draw(st.integers(1, 3), "N")
    H, W = data.draw(st.integers(1, 6), "H"), data.draw(st.integers(1, 6), "W")
    dtype = data.draw(st.sampled_from([np.uint8, np.uint16, np.float32, np.float64]))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    K = data.draw(st.integers(1, N * T), "K")
    meas = (rng.random((N, H, W)) * 200).astype(dtype)
    mask = (rng.random((T, H, W)) * 100 + 1).astype(dtype)
    truth = rng.random((K, H, W)).round().astype(dtype)
    path = tmp_path / f"c{suffix}"
    write_capture(
        path,
        measurements=meas,
        mask=mask,
        truth=truth,
        scale=255,
        provenance={},
        overwrite=True,
    )
    capture = load_capture(path)
    np.testing.assert_allclose(capture.measurements, meas, rtol=1e-6)
    np.testing.assert_allclose(capture.mask, mask, rtol=1e-6)
    np.testing.assert_array_equal(capture.truth, truth)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_integers_stay_integers_through_float32(tmp_path, scene, suffix):
    first, second = tmp_path / "a.mat", tmp_path / f"b{suffix}"
    variables = {"meas": scene.meas, "mask": scene.mask, "orig": scene.video}
    scipy.io.savemat(first, {k: v.transpose(1, 2, 0) for k, v in variables.items()})
    read = load_capture(first)
    write_capture(
        second,
        measurements=read.measurements,
        mask=read.mask,
        truth=read.truth,
        scale=read.scale,
        provenance={"a": 1},
        overwrite=False,
    )
    if suffix == ".mat":
        raw = scipy.io.loadmat(second)
        stored = {k: raw[k].transpose(2, 0, 1) for k in variables}
        assert raw["scale"] == 255 and json.loads(raw["provenance"][0]) == {"a": 1}
    elif suffix == ".h5":
        with h5py.File(second) as file:
            stored = {k: file[k][()] for k in variables}
            assert file.attrs["scale"] == 255 and file["mask"].attrs["axes"] == "THW"
            assert json.loads(file.attrs["provenance"]) == {"a": 1}
    else:
        with tifffile.TiffFile(second) as file:
            stored = {series.name: series.asarray() for series in file.series}
    for name, array in variables.items():
        assert stored[name].dtype == array.dtype, name
        np.testing.assert_array_equal(stored[name], array)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("T", [1, 5])
def test_film(tmp_path, suffix, T):
    frames = np.random.default_rng(0).random((T, 11, 17)).astype(np.float32) * 1.2 - 0.1
    path = tmp_path / f"f{suffix}"
    write_film(path, frames, scale=255, provenance=PROVENANCE, overwrite=False)
    film = read_film(path)
    assert film.frames.shape == (T, 11, 17) and film.frames.dtype == np.float32
    np.testing.assert_allclose(film.frames, frames, atol=2e-7)
    assert film.scale == 255 and film.provenance == PROVENANCE
    np.testing.assert_allclose(read_video(path), frames.clip(0, 1), atol=2e-7)


@pytest.mark.parametrize("largest", [None, 10])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_film_part_by_part(tmp_path, monkeypatch, suffix, largest):
    if largest is not None:
        monkeypatch.setattr(tiff, "LARGEST_IMAGEJ", largest)
    frames = np.random.default_rng(0).random((5, 11, 17)).astype(np.float32)
    common = {"scale": 255, "provenance": PROVENANCE, "overwrite": False}
    write_film(tmp_path / f"whole{suffix}", frames, **common)
    parts = (part for part in (frames[:2], frames[2:3], frames[3:]))
    write_film_parts(tmp_path / f"parts{suffix}", parts, frames.shape, **common)
    whole, film = (read_film(tmp_path / f"{name}{suffix}") for name in ("whole", "parts"))
    np.testing.assert_array_equal(film.frames, whole.frames)
    assert (film.scale, film.provenance) == (255, PROVENANCE)


def test_film_as_others_see_it(tmp_path):
    frames = np.random.default_rng(0).random((5, 11, 17)).astype(np.float32)
    for suffix in SUFFIXES:
        write_film(tmp_path / f"f{suffix}", frames, scale=255, provenance={}, overwrite=False)
    with tifffile.TiffFile(tmp_path / "f.tif") as file:
        assert file.is_imagej and file.series[0].axes == "TYX"
        assert file.series[0].dtype == np.float32
        assert (file.imagej_metadata["min"], file.imagej_metadata["max"]) == (0, 255)
        np.testing.assert_allclose(file.asarray(), frames * 255, rtol=1e-6)
    video = scipy.io.loadmat(tmp_path / "f.mat")["video"]
    assert video.shape == (11, 17, 5)
    np.testing.assert_allclose(video[3, 4], frames[:, 3, 4] * 255, rtol=1e-6)
    with h5py.File(tmp_path / "f.h5") as file:
        np.testing.assert_allclose(file["video"], frames * 255, rtol=1e-6)


@pytest.mark.parametrize("T", [1, 5])
def test_film_past_what_imagej_holds(tmp_path, monkeypatch, T):
    monkeypatch.setattr(tiff, "LARGEST_IMAGEJ", 10)
    frames = np.random.default_rng(0).random((T, 11, 17)).astype(np.float32)
    write_film(tmp_path / "f.tif", frames, scale=4095, provenance=PROVENANCE, overwrite=False)
    with tifffile.TiffFile(tmp_path / "f.tif") as file:
        assert file.is_ome and file.is_bigtiff
    film = read_film(tmp_path / "f.tif")
    np.testing.assert_allclose(film.frames, frames, atol=2e-7)
    assert film.scale == 4095 and film.provenance == PROVENANCE


def test_provenance_over_64_kilobytes(tmp_path):
    record = {"inputs": [f"file {i}" for i in range(20000)]}
    for suffix in SUFFIXES:
        path = tmp_path / f"f{suffix}"
        write_film(path, np.ones((2, 5, 7)), scale=1, provenance=record, overwrite=False)
        assert read_film(path).provenance == record


def test_matlab_may_save_a_file_of_ours_anew_as_v73(tmp_path, scene, v73):
    """Its records are variables there as well: the scale is not guessed anew."""
    record = {"command": "simulate", "note": "µm, 日本"}
    write_film(tmp_path / "a.mat", scene.video, scale=7, provenance=record, overwrite=False)
    ours = scipy.io.loadmat(tmp_path / "a.mat")
    texts = {"provenance": str(ours["provenance"][0])}
    v73(tmp_path / "b.mat", {"video": ours["video"], "scale": ours["scale"].astype(float), **texts})
    first, again = read_film(tmp_path / "a.mat"), read_film(tmp_path / "b.mat")
    assert again.scale == first.scale == 7 and again.provenance == record
    np.testing.assert_array_equal(again.frames, first.frames)


def test_foreign_films_get_a_scale(tmp_path, scene, v73):
    tifffile.imwrite(tmp_path / "a.tif", scene.video, photometric="minisblack")
    v73(tmp_path / "b.mat", {"orig": scene.video.transpose(1, 2, 0)})
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["anything"] = scene.video.transpose(1, 2, 0)
    for name in ("a.tif", "b.mat", "c.h5"):
        film = read_film(tmp_path / name)
        assert film.scale == 255 and film.provenance is None
        np.testing.assert_allclose(film.frames, scene.video / 255, rtol=1e-6)


@pytest.mark.parametrize("name", ["a.avi", "a", "a.npy"])
def test_endings_that_cannot_be_written(tmp_path, name):
    with pytest.raises(UsageError, match=r"\.h5"):
        write_film(tmp_path / name, np.ones((2, 5, 7)), scale=1, provenance={}, overwrite=False)
    assert not list(tmp_path.iterdir())


def test_no_overwriting(tmp_path):
    path = tmp_path / "a.tif"
    path.write_text("precious")
    with pytest.raises(OutputExistsError):
        write_film(path, np.ones((2, 5, 7)), scale=1, provenance={}, overwrite=False)
    assert path.read_text() == "precious"
    write_film(path, np.ones((2, 5, 7)), scale=1, provenance={}, overwrite=True)
    assert read_film(path).frames.shape == (2, 5, 7)


def test_describe(tmp_path):
    array = np.arange(11 * 17 * 3.0).reshape(11, 17, 3)
    array[0, 0, 0] = np.nan
    cell = np.array([[1, "a"]], dtype=object)
    scipy.io.savemat(tmp_path / "a.mat", {"odd": array, "c": cell, "note": "text"})
    summary = describe(tmp_path / "a.mat")
    odd, cells = summary.arrays
    assert summary.format == "MATLAB 5.0" and summary.provenance is None
    assert (odd.name, odd.shape, odd.minimum, odd.maximum) == ("odd", (11, 17, 3), 1, 560)
    assert odd.mean == pytest.approx(280.5) and odd.note == "1 NaN or infinite"
    assert cells.note == "a cell array" and cells.mean is None


@pytest.mark.parametrize("suffix", [".tif", ".mat", ".h5"])
@pytest.mark.parametrize("bad", [1e10, -1e10, np.inf, np.nan])
def test_what_single_precision_does_not_hold_is_not_written(tmp_path, suffix, bad):
    """Each writer looks at what it has cast, not at what it was given."""
    frames = np.full((2, 5, 7), 0.5)
    frames[1, 2, 3] = bad
    path = tmp_path / f"a{suffix}"
    common = {"scale": 1e30, "provenance": {}, "overwrite": False}
    with pytest.raises(UsageError, match="single precision"):
        write_film(path, frames, **common)
    good = np.full((2, 5, 7), 0.5)
    for name in ("measurements", "truth", "mask"):
        stacks = {"measurements": good[:1], "mask": good, "truth": good}
        stacks[name] = frames * (1e30 if name == "mask" else 1)
        with pytest.raises(UsageError, match="single precision"):
            write_capture(path, **stacks, **common)
    assert list(tmp_path.iterdir()) == []
