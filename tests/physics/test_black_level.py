"""The black level that is left in a measurement, found without knowing the scene."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from deqsci_cli.physics.black_level import black_level
from deqsci_cli.physics.masks import make_mask, one_hot_mask


def scene(rng, shape=(8, 64, 64)):
    """A smooth scene that moves a little from frame to frame."""
    wide = gaussian_filter(rng.standard_normal((shape[1], shape[2] + shape[0])), 4)
    wide = (wide - wide.min()) / np.ptp(wide)
    return np.stack([wide[:, t : t + shape[2]] for t in range(shape[0])])


@pytest.mark.parametrize("kind", ["binary", "grey", "shifting"])
@pytest.mark.parametrize("level", [-0.05, 0.0, 0.12, 0.5])
def test_is_found_within_its_own_error(kind, level):
    rng = np.random.default_rng(1)
    x = scene(rng)
    mask = make_mask(kind, x.shape, rng)
    y = (mask * x).sum(0) + level + 0.005 * rng.standard_normal(x.shape[1:])
    found = black_level(y, mask)
    assert found is not None and abs(found.value - level) < min(0.02, 4 * found.error + 1e-3)
    # In another unit it is the same.
    other = black_level(255 * y, mask)
    assert other is not None and other.value == pytest.approx(255 * found.value, rel=1e-6)


def test_pixels_that_tell_nothing_do_not_count():
    rng = np.random.default_rng(2)
    x = scene(rng)
    mask = make_mask("binary", x.shape, rng)
    y = (mask * x).sum(0) + 0.2
    seen = rng.random(y.shape) > 0.1
    found = black_level(np.where(seen, y, np.nan), mask, seen)
    assert found is not None and abs(found.value - 0.2) < 0.02


def test_masks_with_one_sum_cannot_tell_it():
    rng = np.random.default_rng(3)
    mask = one_hot_mask((8, 64, 64), rng)
    assert black_level((mask * scene(rng)).sum(0), mask) is None
    assert black_level(np.ones((32, 32)), np.ones((4, 32, 32))) is None
