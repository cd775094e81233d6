"""Whether measurements seem to follow one another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deqsci_cli.io import Capture, looks_like_sequence

T, SIDE, COUNT = 4, 64, 6
RNG = np.random.default_rng(0)
MASK = (RNG.random((T, SIDE, SIDE)) < 0.5).astype(np.float32)


def patches(count: int) -> np.ndarray:
    """Pictures of random squares."""
    coarse = RNG.random((count, 5, 5)).astype(np.float32)
    return np.kron(coarse, np.ones((13, 13), np.float32))[:, :SIDE, :SIDE]


def passing(pixels: float) -> np.ndarray:
    """A wide picture that passes by, so many pixels a frame."""
    (wide,) = np.kron(RNG.random((1, 5, 40)), np.ones((13, 13)))[:, :SIDE]
    return np.stack([wide[:, int(pixels * t) :][:, :SIDE] for t in range(COUNT * T)])


def capture(video: np.ndarray, **more: object) -> Capture:
    y = (video.reshape(-1, T, SIDE, SIDE) * MASK).sum(1).astype(np.float32)
    return Capture(Path("c"), y, MASK, None, 1.0, "", **more)


@pytest.mark.parametrize("pixels", [0, 0.5, 1])
def test_a_scene_that_moves(pixels):
    found = looks_like_sequence(capture(passing(pixels)))
    assert found.likely and found.near > 0.6 and found.far <= found.near + 1e-9


def test_different_scenes():
    found = looks_like_sequence(capture(np.repeat(patches(COUNT), T, 0)))
    assert not found.likely and abs(found.near) < 0.5


def test_the_correlation_is_that_of_the_scenes():
    """Two still scenes whose correlation is known, under a mask that is open everywhere."""
    one, other = patches(2)
    whole = np.ones((T, SIDE, SIDE), np.float32)
    y = np.stack([one, 0.6 * one + 0.8 * other]) * T
    found = looks_like_sequence(Capture(Path("c"), y, whole, None, 1.0, ""))
    means = y.reshape(2, 8, 8, 8, 8).mean((2, 4)).reshape(2, -1)
    assert found.far is None and found.near == pytest.approx(np.corrcoef(means)[0, 1], abs=1e-5)


@pytest.mark.parametrize("video", [passing(1)[:T], np.ones((3 * T, SIDE, SIDE))])
def test_nothing_to_be_told(video):
    assert looks_like_sequence(capture(video)) is None
