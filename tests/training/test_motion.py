"""How things move: splines follow a plane exactly, so that its values tell where they are from."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from deqsci_cli.errors import UsageError
from deqsci_cli.training import captures
from deqsci_cli.training.capture_settings import CaptureSettings
from deqsci_cli.training.captures import CaptureSampler
from deqsci_cli.training.motion import exposures, moving_camera, random_bend, random_outline

PLANES = np.indices((80, 90), dtype=np.float64)
SEEDS = range(60)


def places(seed: int, frames: int = 5, pan: float = 1.0, **more) -> np.ndarray:
    """Where the pixels of a film of 16×16 come from, `(2, T, 16, 16)`."""
    return moving_camera(PLANES, frames, 16, pan, np.random.default_rng(seed), **more).astype(float)


def jacobians(where: np.ndarray) -> np.ndarray:
    """`d place / d pixel`, `(T, 15, 15, 2, 2)`."""
    down = np.diff(where, axis=2)[..., :-1]
    across = np.diff(where, axis=3)[:, :, :-1]
    return np.stack((down, across), -1).transpose(1, 2, 3, 0, 4)


def rests(seed: int) -> bool:
    where = places(seed)
    return bool(np.abs(where - where[:, :1]).max() < 1e-4)


def test_a_turn_is_even_and_changes_no_shape():
    rates = []
    for seed in SEEDS:
        turns = jacobians(places(seed, rotation=4.0))
        assert np.abs(turns - turns[:, :1, :1]).max() < 1e-3  # the same everywhere
        turns = turns[:, 0, 0]
        angles = np.rad2deg(np.arctan2(turns[:, 1, 0], turns[:, 0, 0]))
        assert np.abs(np.diff(angles) - np.diff(angles)[0]).max() < 0.02 and abs(angles[2]) < 0.01
        scale = np.linalg.det(turns)[:, None, None] ** 0.5
        assert np.abs(turns.transpose(0, 2, 1) @ turns - scale**2 * np.eye(2)).max() < 1e-3
        rates.append(np.diff(angles)[0])
        assert rests(seed) == (np.abs(angles).max() < 1e-3)
    assert 3 < max(rates) <= 4.01 and -4.01 <= min(rates) < -3


def test_a_shape_changes_evenly_in_the_course_of_a_film():
    most = 0.0
    for seed in SEEDS:
        shapes, before = (jacobians(places(seed, shear=s)) for s in (0.4, 0.0))
        assert np.abs(shapes - shapes[:, :1, :1]).max() < 1e-3
        change = (shapes - before)[:, 0, 0]
        assert np.abs(change[2]).max() < 1e-3
        even = np.linspace(-0.5, 0.5, 5)[:, None, None] * (change[4] - change[0])
        assert np.abs(change - even).max() < 1e-3
        most = max(most, np.abs(change[4] - change[0]).max())
    assert 0.35 < most <= 0.401


def test_acceleration_is_even_and_bounded():
    found = []
    for seed in SEEDS:
        centres = places(seed, acceleration=0.5).mean((2, 3))
        second = np.diff(centres, n=2)
        assert np.abs(second - second[:, :1]).max() < 2e-3
        # The picture's middle is met at mid-time whatever comes before and after.
        assert np.abs(centres[:, 2] - [39.5, 44.5]).max() < 1e-3
        found.append(np.hypot(*second[:, 0]))
        assert (found[-1] < 1e-3) == rests(seed) or found[-1] < 0.02
    assert 0.4 < max(found) <= 0.502


def test_some_things_bend_and_nothing_folds():
    bent = 0
    for seed in SEEDS:
        shapes = jacobians(places(seed, frames=8, elastic_prob=0.5, rotation=2.0))
        assert np.linalg.det(shapes).min() > 0
        bent += bool(np.abs(shapes - shapes[:, :1, :1]).max() > 0.01)
    # 0.5 of the four fifths that do not rest; four standard deviations of 60.
    assert abs(bent - 24) < 16
    steepest = []
    for seed in range(20):
        bend = random_bend(64, np.random.default_rng(seed))
        assert bend.shape == (2, 64, 64)
        steepest.append(max(np.abs(np.diff(bend, axis=axis)).max() for axis in (1, 2)))
        # It is smooth: from one step to the next the slope changes little.
        assert np.abs(np.diff(bend, n=2, axis=1)).max() <= 0.4 * steepest[-1]
    assert 0.6 < max(steepest) <= 0.8 + 1e-9


def test_frames_are_exposed_around_their_moment():
    shares = []
    for seed in range(40):
        moments = exposures(6, np.random.default_rng(seed)).reshape(6, 5)
        np.testing.assert_allclose(moments.mean(1), np.arange(6) - 2.5, atol=1e-12)
        steps = np.diff(moments)
        np.testing.assert_allclose(steps, steps[0, 0])
        shares.append(5 * steps[0, 0])
    assert 0.5 <= min(shares) < 0.55 and 0.95 < max(shares) <= 1


def test_blur_takes_away_what_the_movement_wipes_over():
    """The contrast of waves that pass is the mean of as many phasors as there are moments."""
    wave = 2 * np.pi / 8
    checked = 0
    for seed in range(30):
        where = places(seed, pan=7.0)
        speed = (where[1, -1] - where[1, 0]) / 4  # of each pixel: the camera zooms as well
        moments = exposures(5, np.random.default_rng(seed + 100))
        frames = []
        for picture in (np.cos(wave * PLANES[1]), np.sin(wave * PLANES[1])):
            rng = np.random.default_rng(seed)
            film = moving_camera(picture, 5, 16, 7.0, rng, moments=moments)
            frames.append(film.reshape(5, 5, 16, 16).mean(1))
        contrast = np.hypot(*frames)
        expected = np.abs(np.exp(1j * wave * speed * moments[:5, None, None]).mean(0))
        assert np.abs(contrast - expected).max() < 0.03
        checked += bool(expected.min() < 0.9)
    assert checked >= 3


def sampler(clips, **settings) -> CaptureSampler:
    calm = {
        "frames": (4,),
        "downsample_prob": 0.0,
        "gain_range": (1.0, 1.0),
        "noise_range": (0.0, 0.0),
    }
    return CaptureSampler(
        clips, CaptureSettings(**calm | settings), patch_size=16, batch_size=40, seed=0
    )


def test_as_many_captures_are_blurred_as_asked(monkeypatch):
    clip = np.random.default_rng(0).integers(0, 256, (5, 40, 40), dtype=np.uint8)
    calls = []

    def noted(frames, rng):
        calls.append(frames)
        return exposures(frames, rng)

    monkeypatch.setattr(captures, "exposures", noted)
    sample = sampler([clip], still_image_prob=0.5, motion_blur_prob=0.4, max_pan=6.0)
    films = torch.cat([sample(step).video for step in range(5)])
    # A fifth of 200; four standard deviations.
    assert 18 <= len(calls) <= 63 and set(calls) == {4}
    assert films.shape == (200, 4, 16, 16)
    calls.clear()
    sampler([clip], still_image_prob=0.0, motion_blur_prob=1.0)(0)  # films have what blur they have
    assert not calls


def test_several_things_move_before_a_picture(monkeypatch):
    clip = np.random.default_rng(0).integers(0, 256, (5, 40, 40), dtype=np.uint8)
    sample = sampler([clip], still_image_prob=1.0, moving_object_prob=1.0, max_objects=3)
    drawn = []

    def noted(shape, rng):
        drawn.append(rng)
        return random_outline(shape, rng)

    monkeypatch.setattr(captures, "random_outline", noted)
    for step in range(5):
        sample(step)
    counts = list(Counter(map(id, drawn)).values())  # every capture has a stream of its own
    assert len(counts) == 200 and set(counts) == {1, 2, 3}
    assert all(40 < counts.count(number) < 94 for number in (1, 2, 3))  # four deviations
    # One is before the other: a white thing before a black one before a grey ground.
    grey = [np.full((1, 40, 40), value, np.uint8) for value in (0, 120, 250)]
    films = (
        sampler(grey, still_image_prob=1.0, moving_object_prob=1.0, max_objects=3, max_pan=0.0)(
            0
        ).video
        * 255
    )
    seen = [sum(bool(((film - v).abs() < 0.5).any()) for v in (0, 120, 250)) for film in films]
    assert max(seen) == 3


@pytest.mark.parametrize(
    "wrong",
    [{"rotation": -1.0}, {"acceleration": -0.1}, {"shear": -0.1}, {"shear": 1.5},
     {"elastic_prob": 1.1}, {"motion_blur_prob": -0.1}, {"max_objects": 0}, {"picture_prob": 2.0}],
    ids=str,
)  # fmt: skip
def test_impossible_movements(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        CaptureSettings(**wrong)
