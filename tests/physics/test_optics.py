"""The mask that a camera has, against scipy's interpolation and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from deqsci_cli.io.sensor import displaced
from deqsci_cli.physics.optics import BETWEEN, Optics


def displaced_mask(mask, *, between="band", **change):
    """`Optics` on arrays in double precision, not below 0."""
    given = {k: torch.as_tensor(v, dtype=torch.float64) for k, v in change.items()}
    moved = Optics(**given, between=between)(torch.as_tensor(mask, dtype=torch.float64))
    return np.maximum(moved.numpy(), 0)


@pytest.fixture
def soft():
    """A grey mask with soft edges, `(2, 64, 72)`."""
    noise = np.random.default_rng(0).random((2, 64, 72))
    return np.stack([ndimage.gaussian_filter(f, 1.6, mode="mirror", truncate=8) for f in noise])


def by_scipy(mask, order, shift=(0, 0), rotation=0.0, scale=1.0):
    """What the file has at q lies at `scale * R q + shift`, from the centre; R turns as rot90."""
    angle, centre = np.deg2rad(rotation), (np.array(mask.shape[1:]) - 1) / 2
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    back = np.linalg.inv(scale * turn)
    offset = centre - back @ (centre + shift)
    return np.stack(
        [ndimage.affine_transform(f, back, offset, order=order, mode="mirror") for f in mask]
    )


CHANGES = (
    {"shift": (1.3, -0.6)},
    {"rotation": 1.0},
    {"scale": 1.01},
    {"shift": (0.5, -0.5), "rotation": -0.7, "scale": 0.99},
)


@pytest.mark.parametrize("change", CHANGES)
def test_the_band_agrees_with_a_high_spline_on_a_soft_mask(soft, change):
    reference = by_scipy(soft, 5, **change)
    assert np.abs(reference - soft).max() > 0.02
    assert np.abs(displaced_mask(soft, **change) - reference)[:, 6:-6, 6:-6].max() < 5e-4


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(("between", "order"), [("cells", 1), ("cubic", 3)])
def test_splines_agree_with_scipy(change, between, order):
    mask = np.random.default_rng(1).random((2, 40, 48))
    reference = np.maximum(by_scipy(mask, order, **change), 0)
    found = displaced_mask(mask, between=between, **change)
    assert np.abs(found - reference)[:, 6:-6, 6:-6].max() < 1e-5


def test_shift_is_down_and_right_and_rotation_turns_as_rot90():
    dot = np.zeros((1, 65, 65))
    dot[0, 32, 52] = 1
    moved = displaced_mask(dot, shift=(3, 2))
    assert np.unravel_index(moved.argmax(), moved.shape) == (0, 35, 54)
    turned = ndimage.gaussian_filter(dot, (0, 1, 1))
    for _ in range(9):
        turned = displaced_mask(turned, rotation=10)
    expected = np.unravel_index(np.rot90(dot[0]).argmax(), (65, 65))
    assert np.unravel_index(turned[0].argmax(), (65, 65)) == expected


def test_blur_is_a_gaussian(soft):
    reference = [ndimage.gaussian_filter(f, 1.2, mode="mirror", truncate=8) for f in soft]
    assert np.abs(displaced_mask(soft, blur=1.2) - reference)[:, 6:-6, 6:-6].max() < 1e-4


def test_the_blur_of_the_band_is_the_same_wherever_it_moves():
    noise = np.random.default_rng(2).normal(size=(1, 128, 128))
    spread = [
        Optics(torch.tensor([0.0, x]))(torch.as_tensor(noise))[:, 20:-20, 20:-20].std()
        for x in (0.1, 0.3, 0.5)
    ]
    assert max(spread) / min(spread) < 1.01


def test_gains_weight_the_frames(soft):
    assert np.allclose(displaced_mask(soft, gains=np.array([0.5, 2])), soft * [[[0.5]], [[2]]])


@pytest.mark.parametrize("between", BETWEEN)
def test_gradients_agree_with_finite_differences(between):
    mask = torch.as_tensor(np.random.default_rng(3).random((2, 6, 7)))
    values = [[0.3, 0.4], 0.2, 1.003, 0.3, [0.9, 1.1]]
    parameters = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in values]
    assert torch.autograd.gradcheck(lambda *p: Optics(*p, between)(mask), parameters)


def test_a_part_of_the_picture_has_the_whole_s_optics():
    noise = np.random.default_rng(4).random((1, 128, 128))
    mask = torch.as_tensor(ndimage.gaussian_filter(noise, (0, 1.6, 1.6), mode="mirror"))
    optics = Optics(*[torch.tensor(v, dtype=torch.float64) for v in ([0.3, 0.4], 0.4, 1.004)])
    rows, columns = slice(4, 76), slice(54, 128)
    part = optics.of_part(((4 + 75) / 2 - 63.5, (54 + 127) / 2 - 63.5))(mask[:, rows, columns])
    whole = optics(mask)[:, rows, columns]
    assert float((part - whole).abs()[:, 16:-16, 16:-16].max()) < 1e-3
    assert float((mask[:, rows, columns] - whole).abs().max()) > 0.02


def test_what_lies_within_the_margin_does_not_know_the_outside(soft):
    optics = Optics(torch.tensor([1.3, -2.0], dtype=torch.float64), between="cells")
    margin = optics.margin(soft.shape[1:])
    inner = torch.as_tensor(soft[:, 2:-2, 2:-2])
    whole, cut = optics(torch.as_tensor(soft)), optics(inner)
    inside = slice(margin, -margin)
    assert margin == 5
    assert torch.allclose(whole[:, 2:-2, 2:-2][:, inside, inside], cut[:, inside, inside])


def test_what_comes_from_outside_is_told(soft):
    """Two rows come in at the top, and one column, in part, at the right."""
    inside = Optics(torch.tensor([2.0, -0.6])).inside((6, 7))
    expected = np.zeros((6, 7), dtype=bool)
    expected[2:, :6] = True
    assert np.array_equal(inside.numpy(), expected)
    assert Optics().inside((6, 7)).all()


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.6, -1.3)])
@pytest.mark.parametrize("rotation", [0.0, 2.0, -1.0])
@pytest.mark.parametrize("scale", [1.0, 1.02])
def test_a_cameras_file_means_the_same(shift, rotation, scale):
    """What a calibration finds can be written into a camera's file: scipy moves it alike."""
    mask = ndimage.gaussian_filter(np.random.default_rng(0).random((2, 64, 64)), (0, 2, 2))
    ours = displaced_mask(mask, shift=shift, rotation=rotation, scale=scale, between="cubic")
    theirs = displaced(mask, shift, rotation, scale)
    assert np.abs(ours - theirs)[:, 8:-8, 8:-8].max() < 1e-6
