"""PSNR and SSIM against scikit-image."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from deqsci_cli.report.metrics import psnr, ssim


def random_frames(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return rng.random((2, 31, 24), dtype=np.float32), rng.random((2, 31, 24), dtype=np.float32)


def smooth_frames(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    truth = gaussian_filter(rng.random((2, 40, 52)), (0, 3, 3)) * 4 - 1.5
    return truth + 0.02 * rng.standard_normal(truth.shape), np.clip(truth, 0, 1)


def flat_frames(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return np.full((2, 15, 15), 0.4), np.full((2, 15, 15), 0.5)


kinds = pytest.mark.parametrize("make", [random_frames, smooth_frames, flat_frames])


@kinds
@pytest.mark.parametrize("seed", [0, 1])
def test_ssim_agrees_with_scikit_image(make, seed):
    frames, truth = make(np.random.default_rng(seed))
    theirs = [
        structural_similarity(
            a.astype(float), b.astype(float), gaussian_weights=True, sigma=1.5,
            use_sample_covariance=False, data_range=1,
        )
        for a, b in zip(frames, truth, strict=True)
    ]  # fmt: skip
    np.testing.assert_allclose(ssim(frames, truth), theirs, atol=1e-4)


@kinds
def test_psnr_agrees_with_scikit_image(make):
    frames, truth = make(np.random.default_rng(3))
    theirs = [
        peak_signal_noise_ratio(b, a, data_range=1) for a, b in zip(frames, truth, strict=True)
    ]
    np.testing.assert_allclose(psnr(frames, truth), theirs, atol=1e-4)


def test_equal_frames():
    frames = np.random.default_rng(0).random((1, 12, 12))
    assert psnr(frames, frames) == [math.inf]
    assert ssim(frames, frames) == [pytest.approx(1)]


def test_a_known_error():
    truth = np.zeros((2, 11, 11))
    frames = np.stack([np.full((11, 11), 0.1), np.full((11, 11), 0.01)])
    assert psnr(frames, truth) == [pytest.approx(20), pytest.approx(40)]


def test_the_smallest_frame_that_has_an_ssim():
    assert ssim(np.zeros((1, 10, 40)), np.zeros((1, 10, 40))) is None
    assert ssim(np.zeros((1, 11, 40)), np.zeros((1, 11, 40))) == [pytest.approx(1)]
