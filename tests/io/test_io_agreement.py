"""Truth seen through the mask against the measurement: units, and what belongs together."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.io

from deqsci_cli.errors import InputError
from deqsci_cli.io import load_capture

T = 4


def coded(video: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """y = sum of mask times frame, written out."""
    return np.stack(
        [
            sum(mask[t] * video[n + t].astype(np.float64) for t in range(len(mask)))
            for n in range(0, len(video), len(mask))
        ]
    )


@pytest.fixture
def load(tmp_path, scene):
    """Load a .mat of the scene by scipy, with what is given changed."""

    def write(meas, mask=scene.mask, truth=scene.video, **options):
        arrays = {"meas": meas, "mask": mask, "orig": truth}
        stacks = {k: np.asarray(v).transpose(1, 2, 0) for k, v in arrays.items() if v is not None}
        scipy.io.savemat(tmp_path / "a.mat", stacks)
        return load_capture(tmp_path / "a.mat", **options)

    return write


@pytest.mark.parametrize("factor", [1 / 255, 0.02, 0.6, 1.7, 255.0, 1e4])
@pytest.mark.parametrize("of", ["mask", "measurement"])
def test_another_unit_is_found_and_told(load, scene, factor, of):
    meas = coded(scene.video, scene.mask)
    arrays = (meas, scene.mask / factor) if of == "mask" else (meas * factor, scene.mask)
    capture = load(*arrays)
    seen = coded(capture.truth, capture.mask)
    np.testing.assert_allclose(capture.measurements, seen, rtol=1e-4, atol=1e-4)
    assert len(capture.notes) == 1 and "mask x truth" in capture.notes[0]
    assert f"{max(factor, 1 / factor):.5g}" in capture.notes[0]
    assert capture.scale == 255 and capture.truth.max() == 1


def test_an_8_bit_camera_with_truth(load, scene):
    meas = coded(scene.video, scene.mask)
    capture = load(np.rint(meas * 255 / meas.max()).astype(np.uint8))
    seen = coded(scene.video / 255.0, scene.mask)
    assert np.abs(capture.measurements - seen).max() < 0.51 * meas.max() / 255 / 255 * 1.05


@pytest.mark.parametrize("disturbance", ["none", "noise", "clipped", "quantised"])
def test_what_sensors_do_is_no_other_unit(load, scene, disturbance):
    meas = coded(scene.video, scene.mask)
    rng = np.random.default_rng(0)
    changed = {
        "none": meas,
        "noise": meas + rng.normal(0, 25, meas.shape),
        "clipped": meas.clip(max=0.8 * meas.max()),
        "quantised": np.rint(meas / 20) * 20,
    }[disturbance]
    capture = load(changed)
    np.testing.assert_allclose(capture.measurements, changed / 255, rtol=1e-5, atol=1e-6)
    assert capture.notes == ()


def test_noise_does_not_hide_another_unit(load, scene):
    meas = coded(scene.video, scene.mask)
    noisy = meas + np.random.default_rng(0).normal(0, 20, meas.shape)
    capture = load(noisy, 255.0 * scene.mask)
    np.testing.assert_allclose(capture.measurements, noisy, rtol=2e-3)
    assert "mask x truth is 25" in capture.notes[0]


def test_another_cameras_mask_and_another_measurement_are_told(load, scene):
    meas = coded(scene.video, scene.mask)
    other = np.random.default_rng(9).integers(0, 2, scene.mask.shape)
    capture = load(meas, other)
    assert len(capture.notes) == 1 and "differs from mask x truth" in capture.notes[0]
    np.testing.assert_allclose(capture.measurements, meas / 255, rtol=1e-6)
    (told,) = load(np.stack([meas[0], meas[0]])).notes
    assert "measurement 1 differs" in told


def test_where_truth_is_not_whole_nothing_is_compared(load, scene):
    meas = coded(scene.video, scene.mask)
    assert load(meas / 255, truth=scene.video[: T - 1]).notes == ()
    assert load(0 * meas).notes == ()


@pytest.mark.parametrize("count", [2, 4])
def test_a_mask_for_each_measurement(load, count):
    rng = np.random.default_rng(3)
    video = rng.integers(0, 256, (8, 11, 17), dtype=np.uint8)
    mask, t = rng.integers(0, 2, (8, 11, 17)), 8 // count
    meas = np.concatenate([coded(video[n : n + t], mask[n : n + t]) for n in range(0, 8, t)])
    with pytest.raises(InputError, match=f"{t} for each of {count} measurements") as told:
        load(meas, mask, video)
    assert f"frames 0:{t} of the mask with measurement 0, {t}:{2 * t} with 1" in told.value.hint
    # As the hint says:
    for n in range(count):
        capture = load(meas, mask, video, frames=f"{n * t}:{n * t + t}")
        seen = coded(capture.truth_of(n), capture.mask)[0]
        np.testing.assert_allclose(capture.measurements[n], seen, atol=1e-5)


def test_truth_of_the_first_measurement_alone_is_no_mask_for_each(load, scene):
    meas = coded(scene.video, scene.mask)
    capture = load(meas, truth=scene.video[:T])  # K = T, N = 2
    assert capture.frames == T and capture.notes == ()
