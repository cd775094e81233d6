"""Cameras as they are made: masks of every density, sensors with faults, by their statistics."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deqsci_cli.config import build
from deqsci_cli.errors import UsageError
from deqsci_cli.physics.masks import one_hot_mask
from deqsci_cli.training.cameras import draw_mask, expose
from deqsci_cli.training.capture_settings import CaptureSettings
from deqsci_cli.training.captures import CaptureSampler

SHAPE = (6, 48, 48)
QUIET = {"noise_range": (0.0, 0.0)}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def draw(count: int = 60, **settings) -> np.ndarray:
    stream, asked = rng(), CaptureSettings(**settings)
    return np.stack([draw_mask(SHAPE, asked, stream) for _ in range(count)])


def exposed(count: int = 60, video: np.ndarray | None = None, **settings):
    """Measurements and masks of one film, its mask half open, without a fault but those asked."""
    film = rng(1).uniform(0.2, 0.8, SHAPE).astype(np.float32) if video is None else video
    mask = (rng(2).random(SHAPE) < 0.5).astype(np.float32)
    stream, asked = rng(3), CaptureSettings(**QUIET | settings)
    shots = [expose(film[None], mask, asked, stream) for _ in range(count)]
    return (mask * film).sum(0), mask, np.stack([m[0] for m, _ in shots]), [k[0] for _, k in shots]


@pytest.mark.parametrize("kind", ["binary", "shifting"])
def test_every_density_of_a_range_is_drawn(kind):
    open_ = draw(masks=(kind,), density_range=(0.1, 0.75)).mean((1, 2, 3))
    assert 0.09 < open_.min() < 0.2 and 0.65 < open_.max() < 0.77
    assert np.mean(open_) == pytest.approx(0.425, abs=0.1)  # four standard errors
    half = draw(10, masks=(kind,)).mean((1, 2, 3))
    assert np.abs(half - 0.5).max() < 0.05


def test_a_one_hot_mask_opens_every_pixel_once_in_any_frame():
    mask = one_hot_mask(SHAPE, rng())
    assert mask.dtype == np.float32 and set(np.unique(mask)) == {0, 1}
    assert (mask.sum(0) == 1).all()
    shares = mask.mean((1, 2))
    assert np.abs(shares - 1 / 6).max() < 4 * (1 / 6 * 5 / 6 / 48**2) ** 0.5
    once = [(m.sum(0) == 1).all() for m in draw(200, one_hot_prob=0.3)]
    assert 34 <= sum(once) <= 86
    assert all((m.sum(0) == 1).all() for m in draw(5, one_hot_prob=1.0))


def test_optics_blur_a_mask_and_lose_no_light():
    sharp, soft = draw(masks=("binary",)), draw(masks=("binary",), mask_blur=1.0)
    assert soft.min() >= 0 and soft.max() <= 1 and soft.dtype == np.float32
    assert soft.mean() == pytest.approx(sharp.mean(), abs=0.01)
    spread = soft.std((1, 2, 3))
    # Independent elements, blurred by a standard deviation of 1: 1 / sqrt(4 pi) of their spread.
    assert 0.12 < spread.min() < 0.2 and 0.45 < spread.max() <= 0.51


def test_a_few_pixels_are_closed_in_all_frames():
    shut = [(mask == 0).all(0).mean() for mask in draw(200, masks=("grey",), closed_prob=0.5)]
    some = [share for share in shut if share > 0]
    assert 68 < len(some) < 130 and 0.04 < max(some) < 0.065
    assert not any((mask == 0).all(0).any() for mask in draw(20, masks=("grey",)))


def test_noise_has_each_factor_of_its_range_as_often():
    clean, _, shots, _ = exposed(200, noise_range=(0.001, 0.1))
    levels = (shots - clean).std((1, 2))
    assert 0.00095 < levels.min() < 0.0015 and 0.07 < levels.max() < 0.105
    assert 66 <= int((levels < 0.01).sum()) <= 134  # the middle by factors; five deviations
    _, _, shots, _ = exposed(200, noise_range=(0.0, 0.1))
    levels = (shots - clean).std((1, 2))
    assert int((levels < 0.01).sum()) < 45 and levels.min() < 0.005


def test_gains_differ_by_pixel_and_are_not_told():
    clean, mask, shots, masks = exposed(prnu=0.05)
    gains = shots / np.maximum(clean, 1e-6)
    lit = clean > 0.5
    spread = gains[:, lit].std(1)
    assert spread.max() == pytest.approx(0.05, abs=0.006) and spread.min() < 0.01
    assert np.abs(gains[:, lit].mean(1) - 1).max() < 0.01
    assert all(np.array_equal(told, mask) for told in masks)


def test_a_black_level_is_left_over_on_either_side():
    clean, _, shots, _ = exposed(black_level=0.03)
    levels = shots - clean
    assert np.abs(levels - levels[:, :1, :1]).max() < 1e-5  # one for all pixels
    assert -0.0301 < levels.min() < -0.02 and 0.02 < levels.max() < 0.0301


def test_pixels_that_clip_are_the_brightest_and_closed():
    clean, mask, shots, masks = exposed(200, clipped_prob=0.5)
    clipped = [shot != clean for shot in shots]
    shares = np.array([where.mean() for where in clipped if where.any()])
    assert 68 < len(shares) < 130 and 0.08 < shares.max() <= 0.101 and shares.min() < 0.02
    for where, shot, told in zip(clipped, shots, masks, strict=True):
        if where.any():
            assert clean[where].min() >= clean[~where].max()
            assert not shot[where].any() and not told[:, where].any()
            assert np.array_equal(told[:, ~where], mask[:, ~where])
    # A plain surface is not taken away whole.
    grey = np.full(SHAPE, 0.5, np.float32)
    for _, told in zip(*exposed(30, video=grey, clipped_prob=1.0)[2:], strict=True):
        assert told.any(0).mean() > 0.7


def test_consecutive_measurements_are_of_one_camera():
    """The same gains, black level and noise level; noise and clipped pixels of their own."""
    film = rng(1).uniform(0.2, 0.8, (300, *SHAPE)).astype(np.float32)
    mask = rng(2).uniform(0.2, 1, SHAPE).astype(np.float32)
    faults = {"prnu": 0.05, "black_level": 0.1, "noise_range": (0.02, 0.02)}
    shots, masks = expose(film, mask, CaptureSettings(**QUIET | faults), rng(3))
    coded = (mask * film).sum(1)
    assert shots.shape == coded.shape and masks.shape == film.shape
    # A line through each pixel's measurements: its slope is its gain, its noise is white.
    centred = coded - coded.mean(0)
    gains = (centred * shots).sum(0) / (centred**2).sum(0)
    rest = shots - shots.mean(0) - gains * centred
    assert rest.std() == pytest.approx(0.02, rel=0.02)
    assert abs((rest[1:] * rest[:-1]).mean()) < 0.02 * 0.02 * 0.02
    levels = (shots - gains * coded).mean(0)
    assert levels.std() < 0.02 and 0.001 < abs(levels.mean()) <= 0.1
    assert 0.005 < gains.std() < 0.06
    asked = CaptureSettings(**QUIET | {"clipped_prob": 1.0})
    shots, masks = expose(film[:3], mask, asked, rng(4))
    clipped = [(shot != whole) for shot, whole in zip(shots, coded, strict=False)]
    assert all(not own[:, where].any() for own, where in zip(masks, clipped, strict=True))
    assert not np.array_equal(clipped[0], clipped[1])


def test_captures_have_what_their_cameras_make():
    clips = [rng(5).integers(0, 256, (6, 40, 40), dtype=np.uint8)]
    faults = {"one_hot_prob": 1.0, "black_level": 0.1, "clipped_prob": 1.0}
    settings = build(CaptureSettings, {"frames": [3], "noise_range": [0, 0], **faults})
    batch = CaptureSampler(clips, settings, patch_size=16, batch_size=8, seed=0)(0)
    open_ = batch.mask.sum(1)
    assert set(open_.unique().tolist()) == {0.0, 1.0}
    rest = (batch.measurement[:, 0] - (batch.mask * batch.video).sum(1)).where(open_ > 0, torch.nan)
    assert not batch.measurement[:, 0][open_ == 0].any()
    levels = rest.flatten(1).nanmean(1)
    assert 0.03 < float(levels.abs().max()) <= 0.1
    assert float((rest - levels.view(-1, 1, 1)).abs().nan_to_num().max()) < 1e-5


@pytest.mark.parametrize(
    "wrong",
    [{"density_range": (0.0, 0.5)}, {"density_range": (0.5, 0.1)}, {"density_range": (0.5, 1.1)},
     {"noise_range": (-0.1, 0.0)}, {"noise_range": (0.2, 0.1)}, {"one_hot_prob": 1.1},
     {"closed_prob": -0.1}, {"clipped_prob": 2.0}, {"prnu": -0.1}, {"black_level": -0.1},
     {"mask_blur": -1.0}],
    ids=str,
)  # fmt: skip
def test_impossible_cameras(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        CaptureSettings(**wrong)


def test_the_noise_of_an_earlier_version_is_told_by_its_name_now():
    with pytest.raises(UsageError, match="noise_range"):
        build(CaptureSettings, {"noise": 0.01})
