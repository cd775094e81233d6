"""Measurements that no good camera makes: refused with their place, or a film that is finite."""

from __future__ import annotations

import json
import re

import h5py
import numpy as np
import pytest
import tifffile

from deqsci_cli.io import load_capture, read_mask
from deqsci_cli.reconstructor import reconstruct
from deqsci_cli.zoo import load

FAST = ("--model", "gap-tv", "--preview", "none", "--scale", "255")
MODELS = ("gap-tv", "pnp", "pnp-ffdnet", "rnn")


def spoilt(array, place, value):
    bad = array.copy()
    bad[place] = value
    return bad


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("name", "place", "told"),
    [
        ("meas", (1, 3, 7), "measurement has 1 values .* measurement 1, row 3, column 7"),
        ("mask", (2, 31, 39), "mask has 1 values .* frame 2, row 31, column 39"),
        ("orig", (5, 0, 4), "truth has 1 values .* frame 5, row 0, column 4"),
    ],
)
def test_what_is_no_number_is_refused_with_its_place(
    deqsci, coded, save, tmp_path, name, place, told, value
):
    arrays = {"meas": coded.meas, "mask": coded.mask, "orig": coded.film}
    path = save("c.mat", **arrays | {name: spoilt(arrays[name], place, value)})
    result = deqsci("reconstruct", path, "-o", tmp_path / "o", *FAST)
    assert result.code == 3
    assert re.search(told, result.told)
    assert not list(tmp_path.glob("o/*.tif"))


@pytest.mark.parametrize("suffix", ["h5", "tif"])
def test_the_place_is_told_alike_in_every_format(coded, tmp_path, suffix):
    meas, path = spoilt(coded.meas, (1, 3, 7), np.nan), tmp_path / f"c.{suffix}"
    meas[1, 20, 2] = np.inf
    if suffix == "h5":
        with h5py.File(path, "w") as file:
            file["meas"], file["mask"] = meas, coded.mask
    else:
        with tifffile.TiffWriter(path) as writer:
            for key, stack in (("meas", meas), ("mask", coded.mask)):
                writer.write(stack, photometric="minisblack", metadata={"name": key})
    with pytest.raises(
        Exception, match=r"2 values .* 2560, the first at measurement 1, row 3, col"
    ):
        load_capture(path)


def test_masks_alone_and_negative_masks(coded, save):
    bad = spoilt(coded.mask, (3, 1, 2), np.nan)
    with pytest.raises(Exception, match="frame 3, row 1, column 2"):
        read_mask(save("m.mat", mask=bad))
    bad = spoilt(coded.mask, (3, 1, 2), -0.5)
    with pytest.raises(Exception, match=r"1 values that are negative.* frame 3, row 1, column 2"):
        load_capture(save("c.mat", meas=coded.meas, mask=bad))


def test_replaced_where_that_is_asked_for(deqsci, coded, save, tmp_path):
    meas = spoilt(coded.meas, (1, slice(3, 6), 7), np.nan)
    mask = spoilt(coded.mask, (2, 9, 9), np.inf)
    path = save("c.mat", meas=meas, mask=mask, orig=coded.film)
    around = np.delete(coded.meas[1, 2:5, 6:9].ravel(), [4, 7])  # of (3, 7), less two NaN
    for way, expected in (("zero", 0), ("median", np.median(around))):
        capture = load_capture(path, nan=way, scale=255)
        assert capture.measurements[1, 3, 7] * 255 == pytest.approx(expected, rel=1e-6)
        same = np.isfinite(meas)
        np.testing.assert_allclose(255 * capture.measurements[same], meas[same], rtol=1e-6)
        result = deqsci("reconstruct", path, "-o", tmp_path / way, *FAST, "--nan", way)
        assert result.code == 0
        told = "3 values that are NaN or infinite, of 2560, the first at measurement 1, row 3, "
        report = json.loads((tmp_path / way / "report.json").read_text())
        for record in report["measurements"]:
            assert told in record["replaced"][0] and "frame 2, row 9" in record["replaced"][1]
        assert told in result.told
        for film in tmp_path.glob(f"{way}/*.tif"):
            assert np.isfinite(tifffile.imread(film)).all()
    assert deqsci("reconstruct", path, "-o", tmp_path / "x", *FAST, "--nan", "mean").code == 2
    assert deqsci("convert", path, tmp_path / "c.h5", "--nan", "median").code == 0
    assert np.isfinite(load_capture(tmp_path / "c.h5").measurements).all()
    for command in (("inspect", path), ("evaluate", "--benchmark", path, "--models", "gap-tv")):
        assert "measurement 1, row 3" in deqsci(*command, "--nan", "zero").told


def test_a_median_needs_something_to_take_it_from(coded, save):
    half = spoilt(coded.meas, (0, slice(None), slice(20)), np.nan)  # a dead half is filled inwards
    kept = load_capture(save("h.mat", meas=half, mask=coded.mask), nan="median", scale=1)
    assert np.isfinite(kept.measurements).all()
    assert kept.measurements[0, :, :20].max() <= coded.meas[0].max()
    dead = save("d.mat", meas=spoilt(coded.meas, 1, np.nan), mask=coded.mask)
    with pytest.raises(Exception, match="no finite value at all"):
        load_capture(dead, nan="median")


@pytest.mark.parametrize(
    ("factor", "scale", "recorded", "code", "blamed"),
    [
        (1e39, None, None, 3, "c.h5"),
        (1, 1e39, None, 2, "--scale"),
        (1, 1e-38, None, 2, "--scale"),
        (1, 1e30, None, 2, "--scale"),
        (1, None, 1e300, 3, "c.h5: the file records the scale"),
        (1, None, 1e-300, 3, "c.h5: the file records the scale"),
        (1, None, 1e30, 3, "c.h5: at the scale 1e+30, as recorded in the file"),
    ],
)
def test_no_scale_makes_an_infinite_or_an_empty_film(
    deqsci, coded, tmp_path, factor, scale, recorded, code, blamed
):
    path, own = tmp_path / "c.h5", json.dumps({"command": "simulate"})
    with h5py.File(path, "w") as file:
        file["meas"], file["mask"] = factor * coded.meas, coded.mask
        if recorded is not None:
            file.attrs["scale"], file.attrs["provenance"] = recorded, own
    told = ("--scale", scale) if scale else ()
    result = deqsci("reconstruct", path, "-o", tmp_path / "o", *FAST[:4], *told)
    assert result.code == code and blamed in result.told, result.told
    assert not list(tmp_path.glob("o/*.tif"))


def odd_measurements(coded) -> dict[str, np.ndarray]:
    rng, brightest = np.random.default_rng(0), 255 * coded.mask.sum(0).max()
    return {
        "constant": np.full((1, 32, 40), 300.0),
        "black": np.zeros((1, 32, 40)),
        "negative": rng.normal(-5, 3, (1, 32, 40)),
        "dark-subtracted": coded.meas[:1] + rng.normal(0, 40, (1, 32, 40)),
        "saturated": np.full((1, 32, 40), brightest),
        "clipped": np.minimum(coded.meas[:1], 200),
        "tiny": coded.meas[:1] * 1e-38,
        "huge": coded.meas[:1] * 1e30,
        "one hot pixel of 1e30": spoilt(coded.meas[:1], (0, 9, 9), 1e30),
    }


@pytest.mark.parametrize("model", MODELS)
def test_odd_measurements_give_a_finite_film(deqsci, coded, save, tmp_path, model):
    names = odd_measurements(coded)
    meas = np.concatenate(list(names.values()))
    path = save("c.mat", meas=meas, mask=coded.mask)
    more = ("--format", "h5", "--max-iter", "15", "--scale", "255", "--model", model)
    result = deqsci("reconstruct", path, "-o", tmp_path / "o", *more)
    assert result.code in (0, 1)
    records = json.loads((tmp_path / "o" / "report.json").read_text())["measurements"]
    for name, record in zip(names, records, strict=True):
        with h5py.File(record["output"]) as file:
            film = file["video"][()]
        assert np.isfinite(film).all(), name
        # What a camera can make does not run away: one frame alone may hold all of the light.
        if "1e30" not in name and name != "huge":
            brightest = max(255, np.abs(meas[record["index"]]).max())
            assert record["status"] != "diverged" and np.abs(film).max() < 2 * brightest, name
        if name == "black":
            assert np.abs(film).max() < 8


@pytest.mark.parametrize("model", MODELS)
def test_dead_pixels_are_filled_and_hot_ones_stay_where_they_are(coded, model):
    """Pixels that no mask opens look like those around them; a hot one changes nothing afar."""
    network, truth = load(model), coded.film[:4] / 255

    def film(meas, mask):
        y = meas.astype(np.float32) / 255
        return reconstruct(y, mask.astype(np.float32), network).video

    mask = coded.mask.copy()
    dead = np.zeros((32, 40), bool)
    dead[[8, 8, 20, 27], [9, 10, 31, 4]] = True
    mask[:, dead] = 0
    good = film(coded.meas[0] * ~dead, mask)
    # As near to the truth as the pixels around are, but for what interpolation costs.
    assert np.abs(good - truth)[:, dead].max() < 0.25
    hot = coded.meas[0] * ~dead
    hot[12, 30] += 4 * 255
    change = np.abs(film(hot, mask) - good).max(0)
    y, x = np.mgrid[:32, :40]
    far = np.hypot(y - 12, x - 30) > 12
    # The network of `pnp` sees the whole of so small a picture, the others what is near.
    assert change[12, 30] > 0.05 and change[far].max() < (0.05 if model == "pnp" else 0.02)
