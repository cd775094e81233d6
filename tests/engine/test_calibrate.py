"""`calibrate`: a camera's file that undoes what the camera does, from captures or from pictures."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from scipy.ndimage import gaussian_filter

from deqsci_cli.engine.calibrate import CalibrateConfig, calibrate
from deqsci_cli.engine.calibrate_pictures import PicturesConfig, calibrate_pictures
from deqsci_cli.errors import InputError, OutputExistsError, UsageError
from deqsci_cli.io import ReadOptions, load_capture, write_capture


@pytest.fixture(scope="module")
def scene():
    """A smooth scene that moves, `(4, 64, 64)`, and a binary mask."""
    rng = np.random.default_rng(0)
    wide = gaussian_filter(rng.standard_normal((64, 72)), 3)
    wide = (wide - wide.min()) / np.ptp(wide)
    film = np.stack([wide[:, 2 * t : 2 * t + 64] for t in range(4)])
    return film, (rng.random(film.shape) < 0.5).astype(np.float32)


def write(path, y, mask):
    write_capture(path, measurements=y, mask=mask, scale=100, provenance={}, overwrite=True)
    return path


def test_a_black_level_is_found_and_taken_off(tmp_path, scene):
    film, mask = scene
    clean = (film * mask).sum(0)
    capture = write(tmp_path / "a.h5", clean + 0.12, mask)
    done = calibrate(CalibrateConfig((capture,), tmp_path / "lab.h5", ("offset",)))
    assert done.black_level == pytest.approx(12, abs=1.5)
    assert done.found["offset"].value * mask.sum(0).mean() == pytest.approx(0.12, abs=0.015)
    mended = load_capture(capture, camera=tmp_path / "lab.h5")
    assert np.abs(mended.measurements[0] - clean).max() < 0.02
    # A second calibration begins where the first one ended.
    again = calibrate(
        CalibrateConfig(
            (capture,),
            tmp_path / "lab2.h5",
            ("offset",),
            ReadOptions(camera=tmp_path / "lab.h5"),
        )
    )
    assert abs(again.black_level) < 0.5
    twice = load_capture(capture, camera=tmp_path / "lab2.h5")
    np.testing.assert_allclose(twice.measurements, mended.measurements, atol=0.01)


def test_gains_are_found(tmp_path, scene):
    film, mask = scene
    gains = np.array([1.1, 0.95, 1.05, 0.9])
    capture = write(tmp_path / "a.h5", (film * mask * gains[:, None, None]).sum(0), mask)
    done = calibrate(CalibrateConfig((capture,), tmp_path / "lab.h5", ("gains",)))
    found = [done.found[f"gain {t}"].value for t in range(4)]
    np.testing.assert_allclose(found, gains, atol=0.03)
    told = load_capture(capture, camera=tmp_path / "lab.h5").mask
    np.testing.assert_allclose(told, mask * np.array(found)[:, None, None], atol=1e-5)


@pytest.mark.parametrize("what", ["shift", "gains", "offset", "blur"])
def test_black_measurements_are_passed_over(tmp_path, scene, what):
    film, mask = scene
    clean = (film * mask).sum(0)
    dark = write(tmp_path / "dark.h5", np.stack((0 * clean, clean)), mask)
    alone = write(tmp_path / "alone.h5", clean, mask)
    found = [
        calibrate(CalibrateConfig((path,), tmp_path / f"{path.stem}-lab.h5", (what,))).found
        for path in (dark, alone)
    ]
    values = [{name: each.value for name, each in one.items()} for one in found]
    assert values[0] == pytest.approx(values[1], abs=1e-6)
    black = write(tmp_path / "black.h5", 0 * clean, mask)
    with pytest.raises(InputError, match="light"):
        calibrate(CalibrateConfig((black,), tmp_path / "lab.h5", (what,)))
    tiny = write(tmp_path / "tiny.h5", clean[:12, :12], mask[:, :12, :12])
    with pytest.raises(InputError, match="12x12 pixels are too small"):
        calibrate(CalibrateConfig((tiny,), tmp_path / "lab.h5", (what,)))
    assert not (tmp_path / "lab.h5").exists()


def test_what_is_refused(tmp_path, scene):
    film, mask = scene
    capture = write(tmp_path / "a.h5", (film * mask).sum(0), mask)
    other = write(tmp_path / "b.h5", (film * mask).sum(0), 1 - mask)
    with pytest.raises(UsageError, match="'colour' is not found"):
        CalibrateConfig((capture,), tmp_path / "lab.h5", ("colour",))
    with pytest.raises(UsageError, match="HDF5"):
        CalibrateConfig((capture,), tmp_path / "lab.toml", ("offset",))
    with pytest.raises(InputError, match="mask is not that of"):
        calibrate(CalibrateConfig((capture, other), tmp_path / "lab.h5", ("offset",)))
    with pytest.raises(UsageError, match="take the place of an input"):
        calibrate(CalibrateConfig((capture,), capture, ("offset",), overwrite=True))
    (tmp_path / "lab.h5").write_text("mine")
    with pytest.raises(OutputExistsError):
        calibrate(CalibrateConfig((capture,), tmp_path / "lab.h5", ("offset",)))
    assert (tmp_path / "lab.h5").read_text() == "mine"


class TestPictures:
    @pytest.fixture
    def pictures(self, tmp_path, scene):
        """Pictures of a mask, two of each position, with a dark frame and a white one."""
        _, mask = scene
        rng = np.random.default_rng(1)
        dark = 90 + rng.integers(0, 5, (64, 64)).astype(np.uint16)
        white = (2000 * (1 + 0.2 * np.sin(np.arange(64) / 9)) * np.ones((64, 1))).astype(np.uint16)
        (tmp_path / "positions").mkdir()
        for t, each in enumerate(mask):
            taken = np.stack([(dark + each * white).astype(np.uint16)] * 2)
            tifffile.imwrite(tmp_path / f"positions/p{t}.tif", taken, photometric="minisblack")
        tifffile.imwrite(tmp_path / "dark.tif", dark, photometric="minisblack")
        tifffile.imwrite(tmp_path / "white.tif", dark + white, photometric="minisblack")
        return mask, dark, white

    def config(self, tmp_path, **changed):
        given = {"dark": str(tmp_path / "dark.tif"), "flat": tmp_path / "white.tif"} | changed
        return PicturesConfig(tmp_path / "positions", tmp_path / "lab.h5", **given)

    def test_they_make_a_camera_that_undoes_what_it_does(self, tmp_path, scene, pictures):
        film, _ = scene
        mask, dark, white = pictures
        calibrate_pictures(self.config(tmp_path))
        flat = white / white.mean()
        raw = dark + flat * 500 * (film * mask).sum(0)
        capture = tmp_path / "night.h5"
        write_capture(
            capture, measurements=raw, mask=np.ones_like(mask), scale=1, provenance={},
            overwrite=True,
        )  # fmt: skip
        found = load_capture(capture, camera=tmp_path / "lab.h5", scale=500)
        np.testing.assert_allclose(found.mask, mask, atol=2e-3)
        np.testing.assert_allclose(found.measurements[0], (film * mask).sum(0), atol=5e-3)

    def test_a_stack_is_one_frame_a_position(self, tmp_path, pictures):
        mask, dark, white = pictures
        stack = np.stack([dark + each * white for each in mask]).astype(np.uint16)
        tifffile.imwrite(tmp_path / "stack.tif", stack, photometric="minisblack")
        found = calibrate_pictures(
            PicturesConfig(
                tmp_path / "stack.tif",
                tmp_path / "lab.h5",
                str(tmp_path / "dark.tif"),
                tmp_path / "white.tif",
            )
        )
        np.testing.assert_allclose(found.mask, mask, atol=2e-3)

    def test_a_picture_of_another_size_is_named(self, tmp_path, pictures):
        tifffile.imwrite(
            tmp_path / "positions/p9.tif", np.ones((9, 12), np.uint16), photometric="minisblack"
        )
        with pytest.raises(InputError, match=r"p9\.tif"):
            calibrate_pictures(self.config(tmp_path))
        (tmp_path / "positions/p9.tif").unlink()
        tifffile.imwrite(
            tmp_path / "dark.tif", np.ones((9, 12), np.uint16), photometric="minisblack"
        )
        with pytest.raises(InputError, match=r"dark\.tif"):
            calibrate_pictures(self.config(tmp_path))
        assert not (tmp_path / "lab.h5").exists()

    def test_no_input_is_replaced(self, tmp_path, pictures):
        (tmp_path / "dark.tif").rename(tmp_path / "dark.h5")
        config = self.config(tmp_path, dark=str(tmp_path / "dark.h5"), overwrite=True)
        before = (tmp_path / "dark.h5").read_bytes()
        with pytest.raises(UsageError, match="take the place"):
            calibrate_pictures(
                PicturesConfig(
                    config.frames, tmp_path / "dark.h5", config.dark, config.flat, overwrite=True
                )
            )
        assert (tmp_path / "dark.h5").read_bytes() == before


def test_a_mask_that_is_still_wrong_afterwards_is_told(tmp_path):
    """No fit turns a mask round; the warning says so, and does not send back to the fit."""
    rng = np.random.default_rng(0)
    wide = gaussian_filter(rng.standard_normal((96, 100)), 2)
    wide = (wide - wide.min()) / np.ptp(wide)
    film = np.stack([wide[:, t : t + 96] for t in range(4)])
    mask = (rng.random(film.shape) < 0.5).astype(float)
    capture = write(tmp_path / "a.h5", (film * mask).sum(0), mask[:, ::-1])
    done = calibrate(CalibrateConfig((capture,), tmp_path / "lab.h5", ("shift",)))
    (warning,) = [note for note in done.notes if "no better" in note]
    assert 'orientation = "flip-rows"' in warning and "calibrate" not in warning
