"""Clips and previews."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
from PIL import Image

from deqsci_cli.errors import InputError, UsageError
from deqsci_cli.io import list_videos, read_film, read_video, read_video_uint8, write_preview
from deqsci_cli.io.images import luma
from deqsci_cli.io.montage import montage
from deqsci_cli.io.preview import Look


@pytest.fixture
def colour() -> np.ndarray:
    """(6, 32, 48, 3) uint8, smooth, so that video coding keeps it."""
    t, y, x = np.meshgrid(np.arange(6), np.arange(32), np.arange(48), indexing="ij")
    planes = [60 + 20 * t + x, 200 - 3 * y + t, 100 + 2 * x - y]
    return np.stack(planes, axis=-1).clip(0, 255).astype(np.uint8)


def grey_of(colour: np.ndarray) -> np.ndarray:
    return colour @ np.array([0.299, 0.587, 0.114])


def save_video(path: Path, colour: np.ndarray) -> None:
    pytest.importorskip("av")
    codec = "mpeg4" if path.suffix == ".avi" else "libx264"
    iio.imwrite(path, colour, plugin="pyav", codec=codec, fps=10, out_pixel_format="yuv420p")


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mov", ".mkv"])
def test_video_files(tmp_path, colour, suffix):
    path = tmp_path / f"v{suffix}"
    save_video(path, colour)
    clip = read_video(path)
    assert clip.shape == (6, 32, 48) and clip.dtype == np.float32
    assert np.abs(clip * 255 - grey_of(colour)).mean() < 3
    whole = read_video_uint8(path)
    assert whole.dtype == np.uint8
    np.testing.assert_array_equal(clip, whole.astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(read_video(path, start=1, count=2, step=3), clip[1:5:3])


def test_luma_is_exact():
    picture = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    assert np.abs(luma(picture) - grey_of(picture)).max() <= 0.5
    equal = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    np.testing.assert_array_equal(luma(equal)[0], np.arange(256))
    with_alpha = np.dstack([picture, np.full((9, 7), 3, np.uint8)])
    np.testing.assert_array_equal(luma(with_alpha), luma(picture))


def test_folder_in_natural_order(tmp_path):
    for index in (0, 1, 2, 10, 11):
        picture = np.full((5, 7), index, np.uint8)
        iio.imwrite(tmp_path / f"frame{index}.png", picture)
    (tmp_path / "notes.txt").write_text("no picture")
    assert read_video_uint8(tmp_path)[:, 0, 0].tolist() == [0, 1, 2, 10, 11]
    iio.imwrite(tmp_path / "frame3.png", np.zeros((6, 7), np.uint8))
    with pytest.raises(InputError, match=r"\(6, 7\).*\(5, 7\)"):
        read_video(tmp_path)


def test_pictures(tmp_path, colour):
    iio.imwrite(tmp_path / "a.png", colour[0])
    np.testing.assert_allclose(read_video(tmp_path / "a.png")[0] * 255, luma(colour[0]), atol=1e-4)
    deep = (np.arange(35).reshape(5, 7) * 1900).astype(np.uint16)
    iio.imwrite(tmp_path / "b.png", deep)
    np.testing.assert_allclose(read_video(tmp_path / "b.png")[0], deep / 65535, rtol=1e-6)
    assert np.abs(read_video_uint8(tmp_path / "b.png")[0] - deep / 257).max() <= 0.5
    tifffile.imwrite(tmp_path / "c.tif", colour[0], photometric="rgb")
    np.testing.assert_array_equal(read_video_uint8(tmp_path / "c.tif")[0], luma(colour[0]))
    iio.imwrite(tmp_path / "d.gif", colour[:, :, :, 0])
    np.testing.assert_array_equal(read_video_uint8(tmp_path / "d.gif"), colour[..., 0])


@pytest.mark.parametrize(
    ("mode", "name"),
    [("CMYK", "a.jpg"), ("CMYK", "a.tif"), ("YCbCr", "a.tif"), ("LA", "a.png"),
     ("RGBA", "a.webp"), ("P", "a.gif"), ("1", "a.bmp"), ("I;16", "a.png")],
)  # fmt: skip
def test_pictures_of_any_mode_are_grey_as_pillow_has_it(tmp_path, colour, mode, name):
    picture = Image.fromarray(colour[0])
    if mode == "I;16":
        picture = Image.fromarray(luma(colour[0]).astype(np.uint16) * 257)
    picture = picture.convert(mode)
    picture.save(tmp_path / name, **({"lossless": True} if mode == "RGBA" else {"quality": 100}))
    with Image.open(tmp_path / name) as image:
        meant = np.asarray(image.convert("RGB").convert("L")).astype(float)
        if mode == "I;16":
            meant = np.asarray(image) / 257
    assert meant.std() > 10
    assert np.abs(read_video(tmp_path / name)[0] * 255 - meant).max() <= 1.01


def test_pages_of_several_modes_are_each_taken_for_what_they_are(tmp_path, colour):
    rgb = Image.fromarray(colour[0])
    rgb.save(tmp_path / "a.tif", save_all=True, append_images=[rgb.convert("CMYK")])
    first, second = read_video_uint8(tmp_path / "a.tif").astype(int)
    assert np.abs(first - second).max() <= 1


def test_a_mode_that_is_not_understood_is_refused(tmp_path):
    Image.new("LAB", (7, 5)).save(tmp_path / "a.tif")
    with pytest.raises(InputError, match="mode LAB"):
        read_video(tmp_path / "a.tif")


def test_stacks(tmp_path):
    stack = np.random.default_rng(0).integers(0, 4000, (3, 5, 7)).astype(np.uint16)
    stack[0, 0, 0] = 4000
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack")
    np.testing.assert_allclose(read_video(tmp_path / "a.tif"), stack / 4095, rtol=1e-6)
    assert np.abs(read_video_uint8(tmp_path / "a.tif") - stack / 4095 * 255).max() <= 0.501
    np.testing.assert_array_equal(read_video(tmp_path / "a.tif", start=2)[0] * 4095, stack[2])


def test_too_short_and_senseless_choices(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.ones((3, 5, 7), np.uint8), photometric="minisblack")
    iio.imwrite(tmp_path / "b.png", np.ones((5, 7), np.uint8))
    for name, count in (("a.tif", 4), ("b.png", 2)):
        with pytest.raises(InputError, match=f"{count} wanted"):
            read_video(tmp_path / name, count=count)
    with pytest.raises(InputError, match="too short"):
        read_video(tmp_path / "a.tif", start=3)
    for options in ({"start": -1}, {"count": 0}, {"step": 0}):
        with pytest.raises(UsageError):
            read_video(tmp_path / "a.tif", **options)


def test_without_the_package_av(tmp_path, colour, monkeypatch):
    save_video(tmp_path / "v.mp4", colour)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UsageError, match=r"deqsci\[video\]"):
        read_video(tmp_path / "v.mp4")
    with pytest.raises(UsageError, match=r"deqsci\[video\]"):
        write_preview(tmp_path / "w.mp4", np.ones((2, 5, 7)), overwrite=False)
    assert [p.name for p in tmp_path.iterdir()] == ["v.mp4"]


def test_list_videos(tmp_path):
    names = ["b.mp4", "a10.gif", "a2.gif", "notes.txt", ".hidden.mp4", "sub/v.avi", "z.png"]
    names += ["clip/1.png", "clip/2.png", "set/inner/1.jpg"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    found = [str(path.relative_to(tmp_path)) for path in list_videos(tmp_path)]
    assert found == ["a2.gif", "a10.gif", "b.mp4", "clip", "set/inner", "sub/v.avi", "z.png"]
    (tmp_path / "empty").mkdir()
    for nothing in ("empty", "absent"):
        with pytest.raises(InputError):
            list_videos(tmp_path / nothing)


def test_film_from_a_video(tmp_path, colour):
    iio.imwrite(tmp_path / "a.gif", colour[..., 0])
    film = read_film(tmp_path / "a.gif")
    np.testing.assert_array_equal(film.frames, read_video(tmp_path / "a.gif"))
    with pytest.raises(UsageError):
        read_film(tmp_path / "a.gif", key="video")


class TestPreview:
    frames = np.random.default_rng(0).random((5, 11, 17)) * 1.4 - 0.2
    whole = np.rint(frames.clip(0, 1) * 255).astype(np.uint8)
    record: dict = {"command": "x", "name": "é", "n": list(range(300))}  # noqa: RUF012

    full = Look("full", 5.0)

    def test_gif(self, tmp_path):
        path = tmp_path / "a.gif"
        write_preview(path, self.frames, overwrite=False, look=self.full, provenance=self.record)
        with Image.open(path) as image:
            assert image.n_frames == 5 and image.info["loop"] == 0
            assert image.info["duration"] == 200
            assert json.loads(image.info["comment"]) == self.record
        np.testing.assert_array_equal(read_video_uint8(path), self.whole)

    def test_png(self, tmp_path):
        path = tmp_path / "a.png"
        write_preview(path, self.frames, overwrite=False, look=self.full, provenance=self.record)
        with Image.open(path) as image:
            assert json.loads(image.text["provenance"]) == self.record
            sheet = np.asarray(image)
        # A number in 12 rows above each, 2 pixels between them.
        columns = (sheet.shape[1] + 2) // 19
        for index, frame in enumerate(self.whole):
            top, left = index // columns * 25 + 12, index % columns * 19
            np.testing.assert_array_equal(sheet[top : top + 11, left : left + 17], frame)

    @pytest.mark.parametrize(
        ("shape", "rows", "columns"),
        [((4, 90, 100), 2, 2), ((1, 5, 9), 1, 1), ((8, 64, 64), 2, 4), ((14, 64, 64), 3, 5)],
    )
    def test_montage_is_nearly_square_and_nearly_full(self, shape, rows, columns):
        count, height, width = shape
        label = 12 if count > 1 else 0
        sheet = montage(np.zeros(shape, np.uint8))
        assert sheet.shape == (rows * (height + label + 2) - 2, columns * (width + 2) - 2)
        assert (sheet == 0).sum() >= count * height * width  # what is not film or number is white
        if count < rows * columns:
            assert (sheet[-height:, -width:] == 255).all()

    def test_montage_numbers_the_frames_of_the_film(self):
        black = np.zeros((3, 20, 20), np.uint8)
        numbered = [montage(black, step)[:12, 44:64] for step in (1, 4)]  # "3" and "9"
        alone = montage(np.zeros((9, 20, 20), np.uint8))[2 * 34 : 2 * 34 + 12, 44:64]
        assert (numbered[0] < 255).any() and (numbered[0] != numbered[1]).any()
        np.testing.assert_array_equal(numbered[1], alone)

    def test_a_dark_film_with_a_hot_pixel_is_stretched(self, tmp_path):
        film = np.random.default_rng(0).uniform(0.02, 0.1, (4, 40, 50))
        film[:, 7, 9] = 30.0
        write_preview(tmp_path / "a.gif", film, overwrite=False)
        shown = read_video_uint8(tmp_path / "a.gif")
        low, high = np.percentile(film, (0.1, 99.9))
        wanted = np.rint(np.clip((film - low) / (high - low), 0, 1) * 255)
        np.testing.assert_array_equal(shown, wanted)
        assert np.percentile(shown, 5) < 20 and np.percentile(shown, 95) > 235

    def test_a_film_of_one_grey_is_not_stretched(self, tmp_path):
        write_preview(tmp_path / "a.gif", np.full((2, 5, 7), 0.4), overwrite=False)
        assert (read_video_uint8(tmp_path / "a.gif") == 102).all()

    @pytest.mark.parametrize("contrast", ["", "bright", "1", "0.5,0.5", "1,0", "nan,1", "0,inf"])
    def test_a_contrast_that_is_none(self, contrast):
        with pytest.raises(UsageError, match="no contrast") as told:
            Look(contrast)
        assert "LOW,HIGH" in str(told.value.hint)

    @pytest.mark.parametrize("fps", [0.0, -1.0, float("nan"), 1e9])
    def test_a_speed_that_is_none(self, fps):
        with pytest.raises(UsageError, match="frames a second"):
            Look(fps=fps)

    def test_mp4_of_odd_size(self, tmp_path):
        av = pytest.importorskip("av")
        smooth = np.linspace(0.2, 0.8, 5 * 11 * 17).reshape(5, 11, 17)
        path = tmp_path / "a.mp4"
        write_preview(path, smooth, overwrite=False, look=self.full, provenance=self.record)
        clip = read_video(path)
        assert clip.shape == (5, 12, 18)
        assert np.abs(clip[:, :11, :17] - smooth).mean() < 0.02
        with av.open(str(path)) as file:
            assert json.loads(file.metadata["comment"]) == self.record

    @pytest.mark.parametrize("frames", [np.ones((5, 7)), np.ones((0, 5, 7))])
    def test_frames_that_are_none(self, tmp_path, frames):
        with pytest.raises(UsageError):
            write_preview(tmp_path / "a.gif", frames, overwrite=False)

    def test_nan_is_shown_black(self, tmp_path):
        write_preview(tmp_path / "a.png", np.full((1, 5, 7), np.nan), overwrite=False)
        assert iio.imread(tmp_path / "a.png").max() == 0
