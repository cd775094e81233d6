"""A mask from pictures of it, against the mask that the pictures were made with."""

from __future__ import annotations

import numpy as np
import pytest

from deqsci_cli.errors import InputError
from deqsci_cli.physics.mask_pictures import mask_from_pictures


@pytest.fixture
def camera():
    rng = np.random.default_rng(0)
    mask = rng.random((6, 20, 24))
    flat = 1 + 0.2 * np.sin(np.arange(24) / 5) * np.ones((20, 1))
    dark = 100 + rng.normal(0, 1, (20, 24))
    return mask, flat, dark


def test_the_mask_comes_back(camera):
    mask, flat, dark = camera
    found = mask_from_pictures(dark + 3000 * flat * mask, dark, dark + 3000 * flat)
    np.testing.assert_allclose(found.mask, mask, atol=1e-6)
    np.testing.assert_allclose(found.flat, flat / flat.mean(), rtol=1e-6)
    assert not found.bad_pixels.any() and not found.never_open.any()


def test_broken_and_closed_pixels(camera):
    mask, flat, dark = camera
    mask[:, 3, 4] = 0
    flat[5, 6] = 0.001
    dark[7, 8] += 900
    found = mask_from_pictures(dark + 3000 * flat * mask, dark, dark + 3000 * flat)
    assert np.argwhere(found.bad_pixels).tolist() == [[5, 6], [7, 8]]
    assert np.argwhere(found.never_open).tolist() == [[3, 4]]
    assert not found.mask[:, [5, 7, 3], [6, 8, 4]].any()
    assert any("2 of 480 pixels are broken" in note for note in found.notes)


def test_without_a_white_picture_the_brightest_are_open(camera):
    mask, _, _ = camera
    binary = (mask > 0.5).astype(float)
    found = mask_from_pictures(50 + 800 * binary, 50.0)
    np.testing.assert_allclose(found.mask, binary, atol=1e-6)
    assert found.flat is None


def test_dark_and_white_that_are_mixed_up_are_told(camera):
    mask, _, dark = camera
    with pytest.raises(InputError, match="as dark as the dark frame"):
        mask_from_pictures(dark + 3000 * mask, dark + 2500)


def test_what_cannot_be_is_told(camera):
    mask, flat, dark = camera
    bright = mask_from_pictures(dark + 3000 * flat * mask, dark, dark + 2000 * flat)
    assert any("as bright as the white picture" in note for note in bright.notes)
    with pytest.raises(InputError, match="no light"):
        mask_from_pictures(dark + mask, dark, dark)
    with pytest.raises(InputError, match="as dark as"):
        mask_from_pictures(np.stack([dark] * 3), dark, dark + 3000)
