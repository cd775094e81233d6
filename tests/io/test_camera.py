"""A camera's file and options, and what they undo, against arithmetic written out here."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.ndimage
import tifffile

from deqsci_cli.errors import InputError, UsageError
from deqsci_cli.io import ReadOptions, load_capture, read_header, shared_file
from deqsci_cli.io.camera import Camera, read_camera, write_camera
from deqsci_cli.io.orientation import ORIENTATIONS, turns
from deqsci_cli.io.sensor import displaced

EVERY_FIELD = {
    "mask": "m.tif",
    "dark": "d.tif",
    "flat": "f.tif",
    "frame_gains": [0.9, 1.1],
    "bad_pixels": "auto",
    "saturation": 4095,
    "noise": 0.02,
    "photons": 1000.0,
    "orientation": "rotate-90",
    "shift": [0.25, -1.5],
    "rotation": 0.3,
    "zoom": 1.005,
    "blur": 0.4,
    "scale": 255.0,
    "arms": 2,
    "frames": "2:4",
    "axes": "HWT",
    "measurement_key": "snap",
    "mask_key": "code",
    "date": "2026-01-31",
    "note": "after the new lens",
}
AS_TEXT = {"frame_gains": "0.9,1.1", "saturation": "4095", "noise": "0.02", "arms": "2"} | {
    "shift": (0.25, -1.5)
}


@pytest.fixture
def place(tmp_path, scene):
    """A capture of two measurements, its mask in a file beside it."""
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["meas"] = scene.meas
    tifffile.imwrite(tmp_path / "m.tif", scene.mask, photometric="minisblack")
    return tmp_path


def toml(place, text: str, name: str = "lab.toml"):
    (place / name).write_text(text)
    return place / name


def as_toml(table: dict) -> str:
    return "\n".join(f"{key} = {json.dumps(value)}" for key, value in table.items())


def picture(place, name: str, array):
    tifffile.imwrite(place / name, np.asarray(array, np.float32), photometric="minisblack")
    return place / name


def write_arrays(path, arrays, table=None):
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
        if table is not None:
            file.attrs["camera"] = table if isinstance(table, str) else json.dumps(table)
    return path


class TestTheFile:
    def test_every_field_of_toml(self, tmp_path):
        camera = read_camera(toml(tmp_path, as_toml(EVERY_FIELD)))
        names = {key: str(tmp_path / EVERY_FIELD[key]) for key in ("mask", "dark", "flat")}
        assert asdict(camera) == EVERY_FIELD | AS_TEXT | names
        assert set(asdict(camera)) == set(asdict(Camera()))  # none is left out here

    def test_every_field_of_a_table_beside_arrays(self, tmp_path):
        arrays = {name: np.ones((3, 4)) for name in ("code", "dark", "flat", "bad_pixels")}
        inside = ("mask", "dark", "flat", "bad_pixels")
        table = {key: value for key, value in EVERY_FIELD.items() if key not in inside}
        path = write_arrays(tmp_path / "lab.h5", arrays, table)
        expected = EVERY_FIELD | AS_TEXT | dict.fromkeys(inside, str(path))
        assert asdict(read_camera(path)) == expected
        assert set(read_camera(path).files) == set(inside)

    def test_a_date_of_toml_is_text(self, tmp_path):
        assert read_camera(toml(tmp_path, "date = 2026-01-31")).date == "2026-01-31"

    def test_an_empty_file_says_nothing(self, tmp_path):
        assert read_camera(toml(tmp_path, "")) == Camera()

    def test_names_begin_at_the_file_that_tells_them(self, place, scene, monkeypatch):
        (place / "lab").mkdir()
        dark = np.arange(scene.meas[0].size).reshape(scene.meas[0].shape) % 7
        picture(place, "lab/d.tif", dark)
        toml(place, 'mask = "../m.tif"\ndark = "d.tif"', "lab/lab.toml")
        expected = scene.meas - dark
        for folder in (place, place / "lab"):
            monkeypatch.chdir(folder)
            path = "lab/lab.toml" if folder == place else "lab.toml"
            capture = load_capture(place / "c.h5", camera=path, scale=255)
            np.testing.assert_allclose(capture.measurements * 255, expected, rtol=1e-6, atol=1e-4)
        assert {"camera", "mask", "dark"} == set(capture.beside)

    def test_options_go_before_the_file(self, place, scene):
        picture(place, "d.tif", np.full(scene.meas[0].shape, 9))
        camera = toml(place, 'mask = "none.tif"\ndark = "d.tif"\nsaturation = 1\nscale = 7')
        capture = load_capture(
            place / "c.h5", camera=camera, mask=place / "m.tif", dark="3", saturation="none",
            scale=255,
        )  # fmt: skip
        np.testing.assert_allclose(capture.measurements * 255, scene.meas - 3.0, rtol=1e-5)
        assert capture.unseen is None
        files = ReadOptions.of(None, camera=camera, mask=place / "m.tif", dark="3").files()
        assert files["mask"] == place / "m.tif"

    def test_the_header_counts_as_the_whole_does(self, place):
        camera = toml(place, 'mask = "m.tif"\nframes = "1:3"')
        header = read_header(place / "c.h5", camera=camera)
        capture = load_capture(place / "c.h5", camera=camera)
        assert header.shape == (2, *capture.shape) == capture.mask.shape
        assert set(header.beside) == {"camera", "mask"}

    @pytest.mark.parametrize("key", ["saturation", "noise", "bad_pixels"])
    def test_auto_is_no_file(self, tmp_path, key):
        assert read_camera(toml(tmp_path, f'{key} = "auto"')).files == {}


class TestWhatIsUndone:
    def read(self, place, scene, raw, **options):
        write_arrays(place / "r.h5", {"meas": raw})
        options = {"mask": place / "m.tif", "scale": 255, "saturation": "none"} | options
        return load_capture(place / "r.h5", **options)

    def check(self, capture, scene):
        seen = np.ones(scene.meas.shape, bool) if capture.unseen is None else capture.unseen == 0
        found = capture.measurements * 255
        np.testing.assert_allclose(found[seen], scene.meas[seen], rtol=1e-5, atol=1e-2)
        return seen

    @pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32, np.float64])
    def test_a_black_level(self, place, scene, dtype):
        capture = self.read(place, scene, (scene.meas + 40).astype(dtype), dark="40")
        assert self.check(capture, scene).all()

    def test_dark_frames_are_averaged(self, place, scene):
        rng = np.random.default_rng(0)
        frames = rng.normal(40, 5, (6, *scene.meas.shape[1:])).astype(np.float32)
        picture(place, "d.tif", frames)
        capture = self.read(place, scene, scene.meas + frames.mean(0), dark=place / "d.tif")
        self.check(capture, scene)

    def test_a_flat_field_of_any_unit(self, place, scene):
        shape = scene.meas.shape[1:]
        flat = np.linspace(0.5, 1.5, scene.meas[0].size).reshape(shape)
        flat[2, 3] = flat[5, 6] = 0
        flat /= flat[flat > 0].mean()
        picture(place, "f.tif", 1234 * flat)
        raw = 40 + flat * scene.meas
        capture = self.read(place, scene, raw, dark="40", flat=place / "f.tif")
        seen = self.check(capture, scene)
        assert np.argwhere(~seen[0]).tolist() == [[2, 3], [5, 6]]

    def test_gains_go_into_the_mask(self, place, scene):
        gains = [0.5, 1, 2, 1.25]
        (place / "gains.txt").write_text("\ufeff0.5, 1\r\n2\t1.25\n", encoding="utf-8")
        for given in (",".join(map(str, gains)), str(place / "gains.txt")):
            capture = self.read(place, scene, scene.meas, frame_gains=given)
            np.testing.assert_allclose(
                capture.mask, scene.mask * np.array(gains)[:, None, None], rtol=1e-6
            )

    @pytest.mark.parametrize("name", ORIENTATIONS)
    def test_all_eight_orientations_of_a_mask(self, place, scene, name):
        """The mask as a camera wrote it is the truth turned back; numpy and the name say how."""
        turned = {
            "as-is": lambda m: m,
            "flip-rows": lambda m: np.flip(m, 1),
            "flip-columns": lambda m: np.flip(m, 2),
            "rotate-180": lambda m: np.rot90(m, 2, (1, 2)),
            "transpose": lambda m: np.transpose(m, (0, 2, 1)),
            "rotate-90": lambda m: np.rot90(m, -1, (1, 2)),
            "rotate-270": lambda m: np.rot90(m, 1, (1, 2)),
            "anti-transpose": lambda m: np.rot90(np.transpose(m, (0, 2, 1)), 2, (1, 2)),
        }[name](scene.mask)
        tifffile.imwrite(place / "t.tif", np.ascontiguousarray(turned), photometric="minisblack")
        camera = toml(place, f'mask = "t.tif"\norientation = "{name}"')
        capture = load_capture(place / "c.h5", camera=camera)
        np.testing.assert_array_equal(capture.mask, scene.mask)
        assert read_header(place / "c.h5", camera=camera).shape == scene.mask.shape
        assert turns(name) == (turned.shape != scene.mask.shape)

    @pytest.mark.parametrize("axes", ["THW", "HWT"])
    def test_a_turned_mask_in_either_layout(self, place, scene, axes):
        turned = np.ascontiguousarray(scene.mask.swapaxes(1, 2))
        stored = turned if axes == "THW" else np.moveaxis(turned, 0, 2)
        write_arrays(place / "t.h5", {"mask": stored})
        camera = toml(place, 'mask = "t.h5"\norientation = "transpose"')
        capture = load_capture(place / "c.h5", camera=camera)
        np.testing.assert_array_equal(capture.mask, scene.mask)

    def test_a_map_of_bad_pixels(self, place, scene):
        bad = np.zeros((2, *scene.meas.shape[1:]))
        bad[0, 1, 2] = bad[1, 3, 4] = 7
        picture(place, "b.tif", bad)
        raw = scene.meas.copy()
        raw[:, 1, 2] = 60000
        capture = self.read(place, scene, raw, bad_pixels=place / "b.tif")
        assert np.argwhere(~self.check(capture, scene)[1]).tolist() == [[1, 2], [3, 4]]

    def test_a_level_of_clipping(self, place, scene):
        raw = np.minimum(scene.meas, 300)
        capture = self.read(place, scene, raw + 40, dark="40", saturation="340")
        np.testing.assert_array_equal(self.check(capture, scene), scene.meas < 300)

    def test_a_camera_of_arrays_undoes_all_of_it(self, place, scene):
        shape, rng = scene.meas.shape[1:], np.random.default_rng(1)
        flat, dark = rng.uniform(0.8, 1.2, shape), rng.uniform(10, 20, shape)
        bad = rng.random(shape) < 0.05
        arrays = {"mask": scene.mask[:, ::-1], "dark": dark, "flat": flat, "bad_pixels": bad}
        table = {"orientation": "flip-rows", "scale": 255, "saturation": "none"}
        camera = write_arrays(place / "lab.h5", arrays, table)
        raw = dark + flat / flat.mean() * scene.meas
        raw[:, bad] = 0
        write_arrays(place / "r.h5", {"meas": raw})
        capture = load_capture(place / "r.h5", camera=camera)
        np.testing.assert_array_equal(capture.mask, scene.mask)
        np.testing.assert_array_equal(self.check(capture, scene)[0], ~bad)

    @pytest.mark.parametrize("role", ["dark", "flat"])
    def test_what_is_unknown_of_a_pixel_closes_it(self, place, scene, role):
        values = np.ones(scene.meas.shape[1:])
        values[4, 5] = np.nan
        options = {role: picture(place, "p.tif", values)}
        with pytest.raises(InputError, match=f"the {role} has 1 values that are NaN"):
            self.read(place, scene, scene.meas, **options)
        for policy in ("zero", "median"):
            raw = scene.meas + (role == "dark")
            capture = self.read(place, scene, raw, nan=policy, **options)
            assert np.argwhere(~self.check(capture, scene)[0]).tolist() == [[4, 5]]

    def test_black_pixels_beyond_the_noise_are_closed(self, place, scene):
        rng = np.random.default_rng(2)
        raw = scene.meas + 40 + rng.normal(0, 1, scene.meas.shape)
        raw[0, 3, 3] = 0
        capture = self.read(place, scene, raw, dark="40")
        assert np.argwhere(capture.unseen).tolist() == [[0, 3, 3]]


class TestADisplacedMask:
    """The directions and units of what a camera's file says of its mask."""

    rng = np.random.default_rng(3)
    smooth = scipy.ndimage.gaussian_filter(rng.random((3, 41, 41)), (0, 2, 2))

    def inside(self, array, margin=8):
        return array[:, margin:-margin, margin:-margin]

    def test_whole_pixels_down_and_to_the_right(self):
        moved = displaced(self.smooth, (2, -3))
        rolled = np.roll(self.smooth, (2, -3), (1, 2))
        np.testing.assert_allclose(self.inside(moved), self.inside(rolled), atol=1e-6)

    @pytest.mark.parametrize("shift", [(0.25, 0.5), (-0.7, 1.3)])
    def test_parts_of_pixels(self, shift):
        y, x = np.mgrid[:41, :41]
        wave = lambda dy, dx: 0.5 + 0.4 * np.sin((y - dy) / 3) * np.cos((x - dx) / 4)  # noqa: E731
        moved = displaced(wave(0, 0)[None], shift)
        np.testing.assert_allclose(self.inside(moved), self.inside(wave(*shift)[None]), atol=1e-3)

    def test_a_quarter_turn_goes_from_the_rows_axis_to_the_columns(self):
        turned = displaced(self.smooth, (0, 0), rotation=90)
        # A point below the centre, on the axis of rows, comes to lie right of it.
        np.testing.assert_allclose(turned, np.rot90(self.smooth, 1, (1, 2)), atol=1e-6)
        point = np.zeros((1, 41, 41))
        point[0, 30, 20] = 1
        assert np.unravel_index(displaced(point, (0, 0), rotation=90).argmax(), (41, 41)) == (
            20,
            30,
        )

    def test_a_zoom_above_one_enlarges(self):
        y, x = np.mgrid[:41, :41] - 20
        hill = lambda width: np.exp(-(y**2 + x**2) / (2 * width**2))[None]  # noqa: E731
        np.testing.assert_allclose(displaced(hill(5), (0, 0), zoom=1.2), hill(6), atol=1e-3)

    def test_a_blur_adds_its_variance(self):
        y, x = np.mgrid[:41, :41] - 20
        point = np.zeros((1, 41, 41))
        point[0, 20, 20] = 1
        spread = displaced(point, (0, 0), blur=2.0)[0]
        assert (spread * y**2).sum() / spread.sum() == pytest.approx(4, rel=0.02)
        assert (spread * x**2).sum() / spread.sum() == pytest.approx(4, rel=0.02)

    def test_it_lets_through_no_less_than_nothing(self):
        sharp = (self.rng.random((2, 20, 20)) < 0.5).astype(np.uint8)
        assert displaced(sharp, (0.5, 0.5)).min() >= 0

    def test_nothing_of_it_may_leave_the_picture(self, place, scene):
        camera = toml(place, f'mask = "m.tif"\nshift = [0, {scene.mask.shape[2]}]')
        with pytest.raises(UsageError, match="as far as the mask"):
            load_capture(place / "c.h5", camera=camera)


@pytest.mark.parametrize("version", ["v5", "v7.3"])
def test_matlab_can_write_a_camera(tmp_path, v73, version):
    rng = np.random.default_rng(0)
    mask = (rng.random((8, 9, 3)) < 0.5).astype(np.uint8)
    table = json.dumps({"saturation": 250, "shift": [0.5, -1], "note": "a lamp at 5 °C"})
    variables = {"mask": mask, "dark": np.full((8, 9), 3.0), "camera": table}
    path = tmp_path / "lab.mat"
    if version == "v5":
        scipy.io.savemat(path, variables)
    else:
        v73(path, variables)
    told = Camera(str(path), dark=str(path), saturation="250", shift=(0.5, -1.0))
    assert read_camera(path) == replace(told, note="a lamp at 5 °C")
    broken = variables | {"camera": "{"}
    (scipy.io.savemat if version == "v5" else v73)(path, broken)
    with pytest.raises(InputError, match=r"lab.mat: .*'camera' is no table"):
        read_camera(path)


def test_a_cameras_arrays_are_hashed_once_for_many_captures(tmp_path, monkeypatch):
    """A file of many megabytes is not read whole for every capture."""
    rng = np.random.default_rng(0)
    mask = (rng.random((3, 8, 9)) < 0.5).astype(np.float32)
    write_camera(tmp_path / "lab.h5", Camera(), {"mask": mask}, provenance={}, overwrite=False)
    hashed = []
    count = shared_file.read_version
    monkeypatch.setattr(shared_file, "read_version", lambda p: hashed.append(p) or count(p))
    for number in range(4):
        file = tmp_path / f"{number}.mat"
        scipy.io.savemat(file, {"meas": 200 * rng.random((8, 9))})
        assert read_header(file, camera=tmp_path / "lab.h5").beside.keys() == {"mask", "camera"}
        found = load_capture(file, camera=tmp_path / "lab.h5")
        assert found.beside["camera"] == found.beside["mask"]
    assert len(hashed) == 1


def test_what_a_camera_of_arrays_would_not_read_is_refused(tmp_path, v73):
    arrays = {"mask": np.ones((8, 9, 3)), "frame_gains": np.array([[1.0, 1.5, 1.0]])}
    scipy.io.savemat(tmp_path / "lab.mat", arrays)
    with pytest.raises(InputError, match=r"lab.mat: frame_gains is an array") as told:
        read_camera(tmp_path / "lab.mat")
    assert '{"frame_gains": …}' in told.value.hint
    with h5py.File(tmp_path / "text.h5", "w") as file:  # the table as a text beside the arrays
        file["mask"], file["camera"] = np.ones((3, 8, 9)), '{"scale": 1000}'
    assert read_camera(tmp_path / "text.h5").scale == 1000
