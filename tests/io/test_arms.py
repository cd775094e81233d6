"""Captures of several arms: the files, against arrays written by other libraries."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import scipy.io
import tifffile

from deqsci_cli.errors import InputError, UsageError
from deqsci_cli.io import load_capture, read_header, write_capture


@pytest.fixture
def arms(scene):
    """The scene by two complementary arms: measurements (N, 2, H, W), masks (2, T, H, W)."""
    masks = np.stack([scene.mask, 1 - scene.mask])
    frames = scene.video.reshape(2, 1, 4, 11, 17).astype(np.int64)
    return (frames * masks).sum(2).astype(np.uint16), masks


def write_mat(path, arms, scene, **changes):
    """As MATLAB has it: meas (H, W, 2, N), mask (H, W, T, 2), orig (H, W, N T)."""
    meas, masks = arms
    arrays = {
        "meas": meas.transpose(2, 3, 1, 0),
        "mask": masks.transpose(2, 3, 1, 0),
        "orig": scene.video.transpose(1, 2, 0),
    }
    scipy.io.savemat(path, {k: v for k, v in (arrays | changes).items() if v is not None})
    return path


def write_h5(path, arms, scene, **changes):
    meas, masks = arms
    with h5py.File(path, "w") as file:
        for name, array in ({"meas": meas, "mask": masks, "orig": scene.video} | changes).items():
            file[name] = array
    return path


def write_v73(path, v73, arms, scene):
    v73(
        path,
        {
            "meas": arms[0].transpose(2, 3, 1, 0),
            "mask": arms[1].transpose(2, 3, 1, 0),
            "orig": scene.video.transpose(1, 2, 0),
        },
    )
    return path


@pytest.mark.parametrize("kind", ["mat", "h5", "v73"])
def test_every_layout_gives_the_same_capture(tmp_path, arms, scene, v73, kind):
    path = {
        "mat": lambda: write_mat(tmp_path / "c.mat", arms, scene),
        "h5": lambda: write_h5(tmp_path / "c.h5", arms, scene),
        "v73": lambda: write_v73(tmp_path / "c.mat", v73, arms, scene),
    }[kind]()
    capture = load_capture(path, arms="2")
    assert (capture.count, capture.arms, capture.frames, capture.shape) == (2, 2, 4, (11, 17))
    np.testing.assert_allclose(capture.measurements * 255, arms[0], rtol=1e-6)
    np.testing.assert_array_equal(capture.mask, arms[1])
    header = read_header(path, arms="2")
    assert (header.count, header.shape) == (2, (4, 11, 17))
    (y, mask, seen), second = capture.each_arm(1)
    np.testing.assert_allclose(y, (mask * capture.truth_of(1)).sum(0), rtol=1e-5)
    np.testing.assert_allclose(second[0], (second[1] * capture.truth_of(1)).sum(0), rtol=1e-5)
    assert seen is None


@pytest.mark.parametrize("write", [write_mat, write_h5])
def test_one_measurement_may_lack_its_axis(tmp_path, arms, scene, write):
    meas = arms[0][0] if write is write_h5 else arms[0][0].transpose(1, 2, 0)
    orig = scene.video[:4] if write is write_h5 else scene.video[:4].transpose(1, 2, 0)
    path = write(tmp_path / "c.x", arms, scene, meas=meas, orig=orig)
    capture = load_capture(path, arms="2")
    assert capture.measurements.shape == (1, 2, 11, 17)
    np.testing.assert_allclose(capture.measurements[0] * 255, arms[0][0], rtol=1e-6)


def test_the_second_mask_may_be_what_the_first_holds_back(tmp_path, arms, scene):
    path = write_mat(tmp_path / "c.mat", arms, scene, mask=scene.mask.transpose(1, 2, 0))
    (tmp_path / "lab.toml").write_text('arms = "complement"')
    for told in ({"arms": "complement"}, {"camera": tmp_path / "lab.toml"}):
        capture = load_capture(path, **told)
        np.testing.assert_array_equal(capture.mask, arms[1])
    with pytest.raises(InputError, match=r"mask \(11, 17, 4\) is of 1 arm\(s\), not of 2") as error:
        load_capture(path, arms="2")
    assert "--arms complement" in error.value.hint


def test_a_camera_file_tells_it(tmp_path, arms, scene):
    path = write_mat(tmp_path / "c.mat", arms, scene)
    (tmp_path / "lab.toml").write_text("arms = 2\nframes = '1:3'")
    capture = load_capture(path, camera=tmp_path / "lab.toml", truth=False)
    np.testing.assert_array_equal(capture.mask, arms[1][:, 1:3])


def test_four_axes_without_arms_are_an_error_that_names_them(tmp_path, arms, scene):
    for path in (write_mat(tmp_path / "c.mat", arms, scene), write_h5(tmp_path / "h", arms, scene)):
        for look in (load_capture, read_header):
            with pytest.raises(InputError, match="2 or 3 axes are needed") as error:
                look(path)
            assert "--arms" in error.value.hint


@pytest.mark.parametrize(
    ("changes", "told", "match"),
    [
        ({}, "3", "is of 2 arm"),
        ({"meas": "one"}, "2", "is of 1 arm"),
        ({"mask": "three"}, "2", "is of 3 arm"),
        ({"mask": "closed"}, "2", "closed"),
        ({"meas": "other size"}, "2", "picture sizes do not agree"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, arms, scene, changes, told, match):
    meas, masks = arms
    other = {
        "one": meas[:, :1],
        "three": np.concatenate([masks, masks[:1]]),
        "closed": np.stack([masks[0], np.zeros_like(masks[0])]),
        "other size": meas[..., :-1],
    }
    path = write_h5(tmp_path / "c.h5", arms, scene, **{k: other[v] for k, v in changes.items()})
    with pytest.raises(InputError, match=match):
        load_capture(path, arms=told, truth=False)


@pytest.mark.parametrize("text", ["0", "-1", "two", "1000", "", "²"])
def test_arms_that_cannot_be_meant(text):
    with pytest.raises(UsageError, match="arms"):
        load_capture("nowhere.mat", arms=text)


def test_a_pixel_of_one_arm_that_is_no_number_is_not_seen_there(tmp_path, arms, scene):
    meas = arms[0].astype(np.float32)
    meas[1, 1, 3, 4] = np.nan
    path = write_h5(tmp_path / "c.h5", arms, scene, meas=meas)
    seen = load_capture(path, arms="2", nan="zero").seen(1)
    assert np.argwhere(~seen).tolist() == [[1, 3, 4]]


def test_clipping_is_looked_for_in_each_arm(tmp_path, arms, scene):
    path = write_h5(tmp_path / "c.h5", arms, scene, meas=np.minimum(arms[0], 400))
    capture = load_capture(path, arms="2", truth=False, saturation="400")
    np.testing.assert_array_equal(capture.unseen > 0, arms[0] >= 400)


@pytest.mark.parametrize("ending", [".mat", ".h5"])
def test_what_is_written_is_read_back(tmp_path, arms, ending):
    meas, masks = arms
    facts = {"scale": 255.0, "provenance": {"command": "test"}, "overwrite": False}
    path = tmp_path / f"c{ending}"
    write_capture(path, measurements=meas / 255, mask=masks, **facts)
    capture = load_capture(path, arms="2")
    np.testing.assert_allclose(capture.measurements * 255, meas, rtol=1e-6)
    np.testing.assert_array_equal(capture.mask, masks)
    if ending == ".mat":  # MATLAB's order, for MATLAB
        stored = scipy.io.loadmat(path)
        np.testing.assert_array_equal(stored["meas"], meas.transpose(2, 3, 1, 0))
        np.testing.assert_array_equal(stored["mask"], masks.transpose(2, 3, 1, 0))
    with pytest.raises(UsageError, match="TIFF has no axis"):
        write_capture(tmp_path / "c.tif", measurements=meas / 255, mask=masks, **facts)


def test_a_tiff_of_another_program_can_be_read(tmp_path, arms, scene):
    tifffile.imwrite(
        tmp_path / "m.tif", arms[1], photometric="minisblack", metadata={"axes": "QZYX"}
    )
    path = write_h5(tmp_path / "c.h5", arms, scene)
    capture = load_capture(path, arms="2", mask=tmp_path / "m.tif", mask_key="series0")
    np.testing.assert_array_equal(capture.mask, arms[1])
