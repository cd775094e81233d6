"""Cameras that are known, found from what they record."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from deqsci_cli.equilibrium.calibration import calibrate
from deqsci_cli.equilibrium.camera_parts import choose_parts, motion_of, unevenness
from deqsci_cli.equilibrium.camera_score import CameraScore, CapturePart
from deqsci_cli.errors import UsageError
from deqsci_cli.physics.masks import make_mask, one_hot_mask

FRAMES, SIZE = 4, 40


@pytest.fixture
def film():
    """A blob that moves before a still background, `(4, 40, 40)`."""
    y, x = np.mgrid[:SIZE, :SIZE]
    still = 0.5 + 0.2 * np.sin(x / 7) * np.cos(y / 9)
    blobs = [0.3 * np.exp(-((x - 18 - 2 * t) ** 2 + (y - 20) ** 2) / 30) for t in range(FRAMES)]
    return (still + np.stack(blobs)).astype(np.float32)


@pytest.fixture
def pattern():
    """A binary pattern with room around the picture, `(4, 48, 48)`."""
    return make_mask("binary", (FRAMES, SIZE + 8, SIZE + 8), np.random.default_rng(0))


def cut(mask):
    return np.ascontiguousarray(mask[:, 4:-4, 4:-4], dtype=np.float32)


def test_gradient_agrees_with_finite_differences(film, pattern):
    mask = cut(np.stack([ndimage.gaussian_filter(f, 0.8) for f in pattern]))
    measured = torch.as_tensor((mask * film).sum(0)[None] + 0.1)
    names = ("rows", "columns", "rotation", "scale", "variance", "offset")
    parts = [CapturePart(0, slice(4, 36), slice(0, 32))]
    score = CameraScore(measured, torch.as_tensor(mask), parts, names)
    at = np.array([0.3, -0.2, 0.5, 0.01, 0.2, 0.01])
    _, gradient = score(at)
    for i, step in enumerate((0.02, 0.02, 0.1, 2e-3, 0.02, 2e-3)):
        change = step * np.eye(len(at))[i]
        slope = (score.value(at + change) - score.value(at - change)) / (2 * step)
        assert gradient[i] == pytest.approx(slope, rel=0.1, abs=0.02 / step**0.5 * 0.1), names[i]


def test_a_displaced_mask_is_found(film, pattern):
    true = cut(np.stack([ndimage.shift(f, (-0.4, 1.3), order=1) for f in pattern]))
    found = calibrate((true * film).sum(0)[None], cut(pattern), ["shift"])
    assert found.found["rows"].value == pytest.approx(-0.4, abs=0.03)
    assert found.found["columns"].value == pytest.approx(1.3, abs=0.03)
    assert found.found["rows"].error < 0.05
    assert found.between == "cells"
    assert found.held_out[1] < found.held_out[0] / 2
    inner = slice(found.margin, -found.margin)
    assert np.abs(found.mask - true)[:, inner, inner].max() < 0.05
    for name in ("rows", "columns"):
        curve = dict(found.found[name].curve)
        assert min(curve, key=curve.__getitem__) == pytest.approx(found.found[name].value)


def test_a_black_level_is_found_exactly_under_an_even_film(pattern):
    mask = cut(pattern)
    white = mask.sum(0).mean()
    even = 0.6 * mask.sum(0)[None] + np.float32(0.05 * white)
    found = calibrate(even, mask, ["offset"])
    assert found.found["offset"].value == pytest.approx(0.05, abs=2e-3)
    assert found.black_level == pytest.approx(0.05 * white, rel=0.05)


def test_gains_are_found(film, pattern):
    gains = np.array([0.9, 1.05, 1.1, 0.95])
    coded = (cut(pattern) * gains[:, None, None].astype(np.float32) * film).sum(0)[None]
    found = calibrate(coded, cut(pattern), ["gains"])
    assert found.gains.mean() == pytest.approx(1)
    assert np.abs(found.gains - gains).max() < 0.02
    assert np.allclose(found.mask, cut(pattern) * found.gains[:, None, None], atol=1e-6)
    assert "keeps its brightness" in found.assumed[0]


def test_a_black_level_is_not_claimed_where_it_looks_like_a_brighter_film(film):
    mask = one_hot_mask((FRAMES, SIZE, SIZE), np.random.default_rng(1))
    found = calibrate((mask * film).sum(0)[None] + 0.05, mask, ["offset"])
    assert "looks like a brighter film" in found.found["offset"].unknown
    assert found.black_level == 0
    assert found.found["offset"].error == np.inf


def test_a_shift_along_the_mask_s_motion_is_not_claimed(film):
    mask = make_mask("shifting", (FRAMES, SIZE, SIZE), np.random.default_rng(2))
    assert motion_of(torch.as_tensor(mask)) == (-1, 0)
    found = calibrate((mask * film).sum(0)[None], mask, ["shift"]).found
    assert "moment earlier or later" in found["rows"].unknown
    assert found["rows"].value == 0
    assert found["columns"].unknown is None
    assert found["columns"].value == pytest.approx(0, abs=0.05)


def test_masks_that_do_not_translate_have_no_motion(pattern):
    assert motion_of(torch.as_tensor(cut(pattern))) is None
    assert motion_of(torch.as_tensor(cut(pattern))[:1]) is None


def test_unevenness_is_what_least_squares_leave():
    rng = np.random.default_rng(3)
    even = rng.random((SIZE, SIZE))
    halves = torch.as_tensor(np.stack((even, 2 - 2 * even)))
    assert unevenness(halves) == pytest.approx(0, abs=1e-6)
    assert unevenness(torch.as_tensor(rng.random((3, SIZE, SIZE)))) > 0.1


def test_the_brightest_parts_are_chosen():
    y = torch.full((2, 256, 300), 0.1)
    y[0, 150:, 200:] = 1
    y[1, :100, :100] = 1
    parts = choose_parts(y, torch.ones(1, 256, 300), None, spread=False)
    assert [(p.index, p.rows.start, p.columns.start) for p in parts] == [(0, 128, 172), (1, 0, 0)]
    assert len({(p.rows.start, p.columns.start) for p in
                choose_parts(y, torch.ones(1, 256, 300), None, spread=True)}) == 4  # fmt: skip


def test_clipped_pixels_are_left_out(film, pattern):
    mask, rng = cut(pattern), np.random.default_rng(4)
    seen = rng.random((1, SIZE, SIZE)) > 0.05
    even = 0.6 * mask.sum(0)[None] + np.float32(0.05 * mask.sum(0).mean())
    found = calibrate(np.where(seen, even, 50).astype(np.float32), mask, ["offset"], seen)
    assert found.found["offset"].value == pytest.approx(0.05, abs=3e-3)


@pytest.mark.parametrize(("wanted", "told"), [(["tilt"], "'tilt' is no"), ([], "no parameter")])
def test_what_cannot_be_meant_is_refused(film, pattern, wanted, told):
    with pytest.raises(UsageError, match=told):
        calibrate(film[:1], cut(pattern), wanted)
