"""Whether a mask belongs to a measurement: known answers on a synthetic scene, and on real data."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from deqsci_cli.equilibrium.mask_candidates import far_rolls, placements
from deqsci_cli.equilibrium.mask_check import check_mask, rank_placements
from deqsci_cli.equilibrium.window import UNCHANGED, Window, brightest
from deqsci_cli.io import load_capture
from deqsci_cli.physics.masks import make_mask, one_hot_mask


@pytest.fixture
def film() -> Tensor:
    """A bright square and a soft pattern that move, `(6, 64, 64)`."""
    y, x = np.mgrid[:64, :64]
    frames = [0.5 + 0.2 * np.sin((x - 2 * t) / 6) * np.cos((y + t) / 7) for t in range(6)]
    for t, frame in enumerate(frames):
        frame[20 + t : 40 + t, 10 + 2 * t : 30 + 2 * t] = 0.9
    return torch.from_numpy(np.stack(frames)).float()


def mask_of(film: Tensor, kind: str = "binary", seed: int = 0) -> Tensor:
    return torch.from_numpy(make_mask(kind, tuple(film.shape), np.random.default_rng(seed)))


def code(mask: Tensor, film: Tensor) -> Tensor:
    return (mask * film).sum(0)


@pytest.mark.parametrize("kind", ["binary", "grey", "shifting"])
@pytest.mark.parametrize("unit", [0.1, 1.0, 5000.0])
def test_the_right_mask_fits_in_any_unit(film, kind, unit):
    found = check_mask(unit * code(mask_of(film, kind), film), mask_of(film, kind))
    assert found.verdict == "fits" and not found.warning
    assert found.mask_score < 0.28 and found.held_out < 0.1


@pytest.mark.parametrize(
    ("wrong", "fix"),
    [
        (lambda m: m.flip(1), "flipped up-down"),
        (lambda m: m.flip(2), "flipped left-right"),
        (lambda m: m.flip(1, 2), "turned by 180 degrees"),
        (lambda m: m.transpose(1, 2), "transposed"),
        (lambda m: m.rot90(1, (1, 2)), "turned by 90 degrees to the right"),
        (lambda m: m.rot90(-1, (1, 2)), "turned by 90 degrees to the left"),
        (lambda m: m.rot90(1, (1, 2)).flip(2), "transposed about the other diagonal"),
        (lambda m: m.roll(1, 1), "moved by 1 pixel up"),
        (lambda m: m.roll((-2, 1), (1, 2)), "moved by 2 pixels down and 1 pixel to the left"),
    ],
)
def test_the_fix_is_what_undoes_the_harm(film, wrong, fix):
    # The words are checked against numpy's and PyTorch's own flips, turns and rolls.
    mask = mask_of(film)
    found = check_mask(code(mask, film), wrong(mask))
    assert found.verdict == "moved"
    assert found.candidates[0].change == fix
    assert f"much better {fix} (" in found.warning
    assert found.mask_score > 0.8


def test_a_quarter_of_a_pixel_is_noticed(film):
    mask = mask_of(film)
    displaced = 0.75 * mask + 0.25 * mask.roll(1, 2)
    found = check_mask(code(displaced, film), mask)
    assert (
        found.verdict == "moved"
        and found.candidates[0].change == "moved by 0.25 pixel to the right"
    )


def test_the_mask_of_another_camera_is_foreign(film):
    found = check_mask(code(mask_of(film), film), mask_of(film, seed=1))
    assert found.verdict == "foreign" and "does not belong" in found.warning
    assert 0.8 < found.mask_score < 1.25 and found.expected < 0.5


def test_what_is_not_seen_does_not_count(film):
    mask = mask_of(film)
    y = code(mask, film)
    seen = torch.rand(y.shape, generator=torch.Generator().manual_seed(3)) < 0.7
    spoilt = torch.where(seen, y, math.nan)
    found = check_mask(spoilt, mask, seen)
    assert found.verdict == "fits"
    assert found == check_mask(torch.where(seen, y, 1e6), mask, seen)
    assert check_mask(spoilt, mask.flip(1), seen).candidates[0].change == "flipped up-down"


@pytest.mark.parametrize(
    "measurement",
    [
        lambda y: torch.zeros_like(y),
        lambda y: torch.full_like(y, 0.05),  # a black level and nothing else
        lambda y: 0.01 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0)),
        lambda y: (
            0.001 * y + 0.02 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
        ),
    ],
    ids=["black", "level", "noise", "dark"],
)
def test_a_dark_measurement_gets_no_verdict(film, measurement):
    for mask in (mask_of(film), mask_of(film, seed=1)):
        found = check_mask(measurement(code(mask_of(film), film)), mask)
        assert found.verdict == "unknown" and not found.warning


def test_where_the_mask_leaves_no_trace_nothing_is_said(film):
    # One frame open a pixel, a scene at rest: the measurement is the scene, whatever the mask.
    still = film[:1].expand_as(film)
    for seed in (0, 1):
        mask = torch.from_numpy(one_hot_mask(tuple(film.shape), np.random.default_rng(seed)))
        found = check_mask(code(mask, still), mask)
        assert found.verdict == "unknown" and not found.warning
        assert found.expected > 0.99


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (20, 20)])
def test_too_few_pixels_get_no_verdict(shape):
    mask = torch.rand(4, *shape, generator=torch.Generator().manual_seed(0))
    found = check_mask(mask.sum(0), mask)
    assert found.verdict == "unknown" and math.isnan(found.held_out) and not found.warning
    assert rank_placements(mask.sum(0), mask) == ()


def test_the_same_twice(film):
    mask = mask_of(film)
    y = code(mask, film)
    assert check_mask(y, mask.flip(1)) == check_mask(y, mask.flip(1))


@pytest.mark.parametrize("shape", [(256, 256), (32, 33), (31, 400), (97, 64), (1000, 31)])
def test_the_rolls_are_far_and_differ(shape):
    rolls = far_rolls(*shape)
    assert len(set(rolls)) == 3
    for down, right in rolls:
        assert 0 < down < shape[0] and 0 < right < shape[1]
    if shape == (256, 256):
        assert rolls == [(37, 91), (101, 53), (77, 177)]


def test_placements_of_a_window_are_those_of_the_whole_mask():
    mask = torch.rand(3, 40, 40, generator=torch.Generator().manual_seed(0))
    window = Window(8, 3, 20, 30)
    by_name = {placed.change: placed for placed in placements(window, mask)}
    assert torch.equal(by_name[UNCHANGED].mask, mask[:, 8:28, 3:33])
    assert torch.equal(by_name["transposed"].mask, mask.transpose(1, 2)[:, 8:28, 3:33])
    assert torch.equal(by_name["flipped up-down"].mask, mask.flip(1)[:, 8:28, 3:33])
    moved = by_name["moved by 2 pixels up and 1 pixel to the right"].mask
    assert torch.equal(moved, mask.roll((-2, 1), (1, 2))[:, 8:28, 3:33])
    assert len(by_name) == 8 + 24 + 8
    oblong = [placed.change for placed in placements(Window(0, 0, 20, 30), mask[:, :, :30])]
    assert len(oblong) == 4 + 24 + 8 and not any("transposed" in change for change in oblong)


def test_the_brightest_part_is_found():
    y = torch.rand(100, 150, generator=torch.Generator().manual_seed(0))
    y[40:80, 100:] += 3
    assert brightest(y, 32) in (Window(48, 112, 32, 32), Window(48, 96, 32, 32))
    assert brightest(y, 500) == Window(0, 0, 100, 150)


def test_a_placement_between_pixels_comes_with_a_blur_as_strong():
    # White noise keeps the same share of its variance in both.
    mask = torch.randn(4, 128, 128, generator=torch.Generator().manual_seed(0))
    between = [p for p in placements(Window(0, 0, 128, 128), mask) if p.equal_blur is not None]
    assert len(between) == 8
    for placed in between:
        assert float(placed.mask.var()) == pytest.approx(float(placed.equal_blur.var()), rel=0.03)


def test_a_real_capture(shared_data):
    capture = load_capture(shared_data / "real" / "4hand14_cacti.mat")
    y, mask = torch.from_numpy(capture.measurements[0]), torch.from_numpy(capture.mask)
    assert check_mask(y, mask).verdict == "fits"
    assert "pixel to the left" in check_mask(y, mask.roll(1, 2)).warning
    other = mask.max() * torch.from_numpy(
        make_mask("binary", tuple(mask.shape), np.random.default_rng(5))
    )
    assert check_mask(y, other).verdict == "foreign"
