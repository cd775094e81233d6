"""How a film fits its measurement: what is reported, and what is warned of."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from deqsci_cli.engine.fit import fit_of
from deqsci_cli.engine.mask_answer import answer
from deqsci_cli.io import load_capture, write_capture


@pytest.fixture(scope="module")
def scene():
    """A textured scene that moves, `(4, 96, 96)`, and a mask."""
    rng = np.random.default_rng(0)
    wide = gaussian_filter(rng.standard_normal((96, 100)), 2)
    wide = (wide - wide.min()) / np.ptp(wide)
    film = np.stack([wide[:, t : t + 96] for t in range(4)])
    return film, (rng.random(film.shape) < 0.5).astype(float)


def capture(tmp_path, y, mask, **options):
    file = tmp_path / "a.h5"
    write_capture(file, measurements=y, mask=mask, scale=1, provenance={}, overwrite=True)
    return load_capture(file, **options)


def test_a_right_camera_is_not_warned_of(tmp_path, scene):
    film, mask = scene
    fit = fit_of(capture(tmp_path, (film * mask).sum(0), mask), 0, film)
    assert fit.misfit == pytest.approx(0, abs=1e-6)
    assert fit.held_out < 0.15 and fit.mask_score < 0.4 and fit.mask_verdict == "fits"
    assert fit.seen == 1 and fit.unseen == {} and fit.outside == 0 and fit.warnings == ()


@pytest.mark.parametrize(
    ("change", "setting"),
    [
        (lambda m: m[:, ::-1], 'orientation = "flip-rows"'),
        (lambda m: m.swapaxes(1, 2), 'orientation = "transpose"'),
        (lambda m: m.swapaxes(1, 2)[..., ::-1], 'orientation = "rotate-90"'),
        (lambda m: np.roll(m, 1, 2), "shift = [0, -1]"),
    ],
)
def test_a_mask_that_lies_wrong_is_warned_of_with_the_fix(tmp_path, scene, change, setting):
    """And the fix is right: a camera's file that says so fits."""
    film, mask = scene
    y = (film * mask).sum(0)
    wrong = capture(tmp_path, y, change(mask))
    fit = fit_of(wrong, 0, film)
    (warning,) = fit.warnings
    assert setting in warning and fit.mask_verdict == "moved"
    assert answer(wrong).placements[0].camera == setting
    (tmp_path / "lab.toml").write_text(setting)
    mended = load_capture(tmp_path / "a.h5", camera=tmp_path / "lab.toml")
    assert fit_of(mended, 0, film).warnings == ()


def test_another_mask_is_warned_of(tmp_path, scene):
    film, mask = scene
    other = np.random.default_rng(8).random(mask.shape)
    fit = fit_of(capture(tmp_path, (film * mask).sum(0), other), 0, film)
    (warning,) = fit.warnings
    assert "does not belong" in warning and fit.mask_verdict == "foreign"


def test_a_black_level_is_warned_of_with_its_number(tmp_path, scene):
    film, mask = scene
    y = (film * mask).sum(0) + 0.1
    (warning,) = fit_of(capture(tmp_path, y, mask), 0, film).warnings
    assert "--dark" in warning and "black level" in warning
    found = answer(capture(tmp_path, y, mask))
    assert found.black_level * mask.sum(0).mean() == pytest.approx(0.1, abs=0.01)
    assert fit_of(capture(tmp_path, y, mask, dark="0.1"), 0, film).warnings == ()


def test_clipped_pixels_are_counted_and_warned_of(tmp_path, scene):
    film, mask = scene
    y = (film * mask).sum(0)
    clipped = np.minimum(y, np.percentile(y, 80))
    fit = fit_of(capture(tmp_path, clipped, mask), 0, film)
    assert fit.unseen["clipped"] == pytest.approx(0.2, abs=0.01)
    assert fit.seen == pytest.approx(1 - fit.unseen["clipped"])
    assert any("clipped" in warning for warning in fit.warnings)
    # What was clipped is not compared with.
    assert fit.misfit == pytest.approx(0, abs=1e-6)


def test_nothing_is_claimed_of_a_black_measurement(tmp_path, scene):
    _, mask = scene
    fit = fit_of(capture(tmp_path, np.zeros((96, 96)), mask), 0, np.zeros(mask.shape))
    assert fit.misfit is fit.held_out is fit.mask_score is None and fit.warnings == ()
