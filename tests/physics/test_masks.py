"""Masks against what their names promise."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from deqsci_cli.errors import UsageError
from deqsci_cli.physics.masks import KINDS, make_mask

SHAPE = (6, 50, 70)


def make(kind: str, seed: int = 0, **options: float) -> np.ndarray:
    return make_mask(kind, SHAPE, np.random.default_rng(seed), **options)


@pytest.mark.parametrize("kind", KINDS)
def test_shape_type_range_and_seed(kind):
    mask = make(kind)
    assert mask.shape == SHAPE and mask.dtype == np.float32
    assert mask.min() >= 0 and mask.max() <= 1
    np.testing.assert_array_equal(mask, make(kind))
    assert not np.array_equal(mask, make(kind, seed=1))


@pytest.mark.parametrize("kind", ["binary", "shifting"])
@pytest.mark.parametrize("density", [0.2, 0.5, 1.0])
def test_density_of_open_elements(kind, density):
    mask = make(kind, density=density)
    assert set(np.unique(mask)) <= {0.0, 1.0}
    independent = mask.size if kind == "binary" else (50 + 5) * 70
    assert abs(mask.mean() - density) <= 5 * math.sqrt(density * (1 - density) / independent)


def test_the_shifting_mask_moves_one_row_a_frame():
    mask = make("shifting")
    for earlier, later in pairwise(mask):
        np.testing.assert_array_equal(later[:-1], earlier[1:])
        assert not np.array_equal(later, earlier)


def test_frames_of_the_other_kinds_are_independent():
    for kind in ("binary", "grey"):
        mask = make(kind)
        coefficients = np.corrcoef(mask.reshape(6, -1)) - np.eye(6)
        assert np.abs(coefficients).max() < 5 / math.sqrt(50 * 70)


def test_the_grey_mask_is_uniform():
    mask = make("grey").astype(np.float64)
    assert abs(mask.mean() - 1 / 2) < 5 * math.sqrt(1 / 12 / mask.size)
    assert abs(mask.var() - 1 / 12) < 5 * math.sqrt(1 / 180 / mask.size)


@pytest.mark.parametrize("density", [0, -0.1, 1.01, math.nan])
def test_impossible_densities_are_refused(density):
    with pytest.raises(UsageError):
        make("binary", density=density)


def test_an_unknown_kind_is_told_with_the_known_ones():
    with pytest.raises(UsageError) as caught:
        make("hexagonal")
    assert all(kind in str(caught.value) for kind in KINDS)
