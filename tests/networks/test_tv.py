"""The total-variation denoiser against other ways to the same minimum."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
import torch

from deqsci_cli.networks.tv import TotalVariation


def tv_denoise(picture: np.ndarray, strength: float, iterations: int = 3000) -> np.ndarray:
    video = torch.from_numpy(picture)[None, None]
    return TotalVariation(iterations)(video, strength)[0, 0].numpy()


def objective(u: np.ndarray, x: np.ndarray, strength: float) -> float:
    variation = np.abs(np.diff(u, axis=0)).sum() + np.abs(np.diff(u, axis=1)).sum()
    return 0.5 * ((u - x) ** 2).sum() + strength * variation


def differences(height: int, width: int) -> np.ndarray:
    """Every difference of neighbours as a row of a dense matrix."""
    index = np.arange(height * width).reshape(height, width)
    pairs = [*zip(index[:-1].flat, index[1:].flat, strict=True)]
    pairs += [*zip(index[:, :-1].flat, index[:, 1:].flat, strict=True)]
    rows = np.zeros((len(pairs), height * width))
    for row, (a, b) in zip(rows, pairs, strict=True):
        row[a], row[b] = -1, 1
    return rows


@pytest.mark.parametrize("strength", [0.03, 0.2])
@pytest.mark.parametrize("shape", [(4, 5), (1, 6), (5, 1)])
def test_it_is_the_proximal_map(shape, strength):
    # The dual as a bounded least-squares problem, solved by scipy: min |x - D^T p|, |p| <= s.
    x = np.random.default_rng(2).random(shape)
    d = differences(*shape)
    dual = scipy.optimize.lsq_linear(d.T, x.ravel(), (-strength, strength), tol=1e-13)
    theirs = (x.ravel() - d.T @ dual.x).reshape(shape)
    np.testing.assert_allclose(tv_denoise(x, strength), theirs, atol=1e-5)


def test_nothing_near_it_is_better():
    rng = np.random.default_rng(3)
    x = rng.random((6, 7))
    u = tv_denoise(x, 0.1)
    least = objective(u, x, 0.1)
    assert least < objective(x, x, 0.1)
    for size in (1e-3, 1e-2, 1e-1):
        for _ in range(50):
            assert objective(u + size * rng.standard_normal(x.shape), x, 0.1) > least


def test_two_pixels_by_hand():
    # 0 and 1 move towards each other by the strength, until they meet at the mean.
    x = np.array([[0.0, 1.0]])
    np.testing.assert_allclose(tv_denoise(x, 0.2), [[0.2, 0.8]], atol=1e-9)
    np.testing.assert_allclose(tv_denoise(x, 0.7), [[0.5, 0.5]], atol=1e-6)


def test_no_strength_is_the_identity():
    video = torch.rand(2, 3, 6, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(TotalVariation()(video, 0.0), video)
    assert torch.equal(TotalVariation(weight=0.0)(video, 0.3), video)


def test_the_mean_is_kept_and_the_range_not_left():
    x = np.random.default_rng(5).random((12, 9))
    for iterations in (1, 8, 100):
        u = tv_denoise(x, 0.15, iterations)
        assert u.mean() == pytest.approx(x.mean(), abs=1e-12)
    assert u.min() >= x.min() - 1e-6 and u.max() <= x.max() + 1e-6


def test_much_strength_leaves_the_mean():
    x = np.random.default_rng(6).random((5, 5))
    np.testing.assert_allclose(tv_denoise(x, 50.0), np.full((5, 5), x.mean()), atol=1e-3)


def test_it_takes_noise_off_a_step():
    rng = np.random.default_rng(7)
    clean = np.kron([[0.2, 0.8]], np.ones((24, 12)))
    noisy = clean + 0.1 * rng.standard_normal(clean.shape)
    before, after = (np.mean((p - clean) ** 2) for p in (noisy, tv_denoise(noisy, 0.15, 60)))
    assert after < before / 8
