"""Truth that cannot be used does not stop a sound measurement; masks longer than an exposure."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.io

from deqsci_cli.errors import InputError, UsageError
from deqsci_cli.io import load_capture, read_mask

USELESS = {
    "colours": lambda video: np.stack([video] * 3, axis=1),
    "complex": lambda video: video * 1j,
    "empty": lambda video: np.zeros((0, 0)),
    "a struct": lambda video: {"frames": video},
    "a cell": lambda video: np.array([video[0], "a"], dtype=object),
}


def save(path, scene, truth, **more):
    if isinstance(truth, np.ndarray) and truth.ndim > 2:
        truth = np.moveaxis(truth, [-2, -1], [0, 1])
    arrays = {"meas": scene.meas.transpose(1, 2, 0), "mask": scene.mask.transpose(1, 2, 0)}
    scipy.io.savemat(path, arrays | {"orig": truth} | more)
    return path


@pytest.mark.parametrize("form", USELESS)
def test_a_useless_form_is_left_out_with_a_note(tmp_path, scene, form):
    path = save(tmp_path / "a.mat", scene, USELESS[form](scene.video))
    capture = load_capture(path)
    assert capture.truth is None
    assert len(capture.notes) == 1 and capture.notes[0].startswith("truth not used: 'orig' ")
    np.testing.assert_array_equal(capture.mask, scene.mask)
    np.testing.assert_allclose(capture.measurements * capture.scale, scene.meas, rtol=1e-6)
    assert load_capture(path, truth=False).notes == ()
    with pytest.raises(InputError):  # who names it wants it
        load_capture(path, truth_key="orig")


@pytest.mark.parametrize("fault", ["size", "NaN", "past 16 bits", "scale"])
def test_contradicting_truth_is_refused_and_can_be_left_out(tmp_path, scene, fault):
    wrong = {
        "size": scene.video[:, 1:],
        "NaN": np.where(scene.video == 255, np.nan, scene.video),
        "past 16 bits": scene.video * 1e6,
        "scale": scene.video,
    }[fault]
    path = save(tmp_path / "a.mat", scene, wrong)
    options = {"scale": 1.0} if fault == "scale" else {}
    with pytest.raises((InputError, UsageError)) as told:
        load_capture(path, **options)
    assert fault == "past 16 bits" or "--no-truth" in told.value.hint
    capture = load_capture(path, truth=False, **options)
    assert capture.truth is None
    np.testing.assert_allclose(capture.measurements * capture.scale, scene.meas, rtol=1e-6)


def test_longer_truth_is_cut_to_what_the_measurements_hold(tmp_path, scene):
    longer = np.concatenate([scene.video, scene.video[::-1], scene.video[:3]])
    capture = load_capture(save(tmp_path / "a.mat", scene, longer))
    np.testing.assert_allclose(capture.truth, scene.video / 255.0, rtol=1e-6)
    (told,) = capture.notes
    assert "19 frames" in told and "first 8" in told


def test_a_key_of_truth_that_is_not_wanted(tmp_path, scene):
    with pytest.raises(UsageError, match="--no-truth"):
        load_capture(save(tmp_path / "a.mat", scene, scene.video), truth=False, truth_key="orig")


@pytest.mark.parametrize(("text", "start", "stop"), [("4", 0, 4), ("0:4", 0, 4), ("13:17", 13, 17)])
def test_a_longer_mask_is_cut(tmp_path, scene, text, start, stop):
    mask = np.random.default_rng(0).random((50, 11, 17))
    mask[start:stop] = scene.mask
    path = save(tmp_path / "a.mat", scene, scene.video, mask=mask.transpose(1, 2, 0))
    capture = load_capture(path, frames=text)
    np.testing.assert_array_equal(capture.mask, scene.mask)
    seen = np.einsum("thw,thw->hw", capture.mask, capture.truth_of(1))
    np.testing.assert_allclose(capture.measurements[1], seen, atol=1e-5)
    (told,) = capture.notes
    assert "50 frames" in told and f"{start} to {stop - 1}" in told
    with pytest.raises(UsageError, match=r"50 frames.*60"):
        load_capture(path, frames="60")


@pytest.mark.parametrize(
    "text", ["0", "", ":", "4:4", "5:2", "-3", "a", "1:2:3", "1e1", "9" * 5000]
)
def test_frames_that_cannot_be_meant(tmp_path, scene, text):
    with pytest.raises(UsageError, match="chooses no frames of a mask"):
        load_capture(save(tmp_path / "a.mat", scene, scene.video), frames=text)


class TestNoiseOfACalibration:
    def test_around_zero_is_closed(self, tmp_path, scene):
        rng = np.random.default_rng(0)
        noisy = 113 * scene.mask + rng.normal(0, 0.1, scene.mask.shape)
        path = save(tmp_path / "a.mat", scene, scene.video, mask=noisy.transpose(1, 2, 0))
        capture = load_capture(path, truth=False)
        np.testing.assert_array_equal(capture.mask > 0, scene.mask > 0)
        np.testing.assert_allclose(capture.mask[capture.mask > 0], noisy[scene.mask > 0], rtol=1e-6)
        (told,) = capture.notes
        assert f"{np.count_nonzero(noisy < 0)} values below 0" in told
        assert np.array_equal(read_mask(path), capture.mask)

    @pytest.mark.parametrize("lowest", [-0.02, -0.5, -2])
    def test_what_lies_deeper_is_refused(self, tmp_path, scene, lowest):
        mask = scene.mask.astype(float)
        mask[1, 2, 3] = lowest
        path = save(tmp_path / "a.mat", scene, scene.video, mask=mask.transpose(1, 2, 0))
        with pytest.raises(InputError, match=r"1 values that are negative.* row 2, column 3"):
            load_capture(path)

    def test_calibrated_values_near_zero_stay(self, tmp_path, scene):
        mask = scene.mask + 1e-3
        path = save(tmp_path / "a.mat", scene, scene.video, mask=mask.transpose(1, 2, 0))
        np.testing.assert_array_equal(load_capture(path).mask, mask.astype(np.float32))
