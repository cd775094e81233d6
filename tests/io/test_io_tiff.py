"""TIFF as other programs write it: white as zero, palettes, and compressions."""

from __future__ import annotations

import importlib.util
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from deqsci_cli.errors import InputError
from deqsci_cli.io import load_capture, read_film, read_mask, read_video
from deqsci_cli.io.opening import open_container

RNG = np.random.default_rng(3)
GREYS = {
    "bool": RNG.integers(0, 2, (4, 11, 17)) > 0,
    "uint8": RNG.integers(0, 256, (4, 11, 17)).astype(np.uint8),
    "uint16": RNG.integers(0, 65536, (4, 11, 17)).astype(np.uint16),
    "int32": RNG.integers(0, 2**31, (4, 11, 17)).astype(np.int32),
    "float32": RNG.random((4, 11, 17)).astype(np.float32),
}
TOP = {"bool": True, "uint8": 255, "uint16": 65535}


def inverted(greys: np.ndarray) -> np.ndarray:
    return ~greys if greys.dtype == bool else greys.dtype.type(TOP[greys.dtype.name]) - greys


def stored(path) -> np.ndarray:
    """The only array of a file, as it is understood, and as its header promises."""
    with open_container(path) as container:
        (entry,) = container.entries.values()
        array = container.read(entry.name)
    assert str(array.dtype) == entry.dtype
    return array


def by_pillow(path, stack, **options):
    pictures = [Image.fromarray(picture) for picture in stack]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], **options)


class TestWhiteIsZero:
    def write(self, path, greys, **options):
        tifffile.imwrite(
            path, inverted(greys), photometric="miniswhite", metadata=None, software="a scanner",
            **options,
        )  # fmt: skip
        return path

    @pytest.mark.parametrize("dtype", TOP)
    @pytest.mark.parametrize("byteorder", "<>")
    def test_masks_films_and_measurements(self, tmp_path, dtype, byteorder):
        greys = GREYS[dtype]
        white = self.write(tmp_path / "w.tif", greys, byteorder=byteorder)
        tifffile.imwrite(tmp_path / "b.tif", greys, photometric="minisblack")
        np.testing.assert_array_equal(stored(white), greys)
        np.testing.assert_array_equal(read_mask(white), read_mask(tmp_path / "b.tif"))
        film = read_film(tmp_path / "b.tif")
        np.testing.assert_array_equal(read_film(white).frames, film.frames)
        np.testing.assert_array_equal(read_video(white), read_video(tmp_path / "b.tif"))
        capture = load_capture(white, mask=white, scale=1)
        np.testing.assert_array_equal(capture.measurements, greys.astype(np.float32))

    @pytest.mark.parametrize("dtype", ["bool", "uint8"])
    def test_as_pillow_shows_it(self, tmp_path, dtype):
        self.write(tmp_path / "w.tif", GREYS[dtype])
        with Image.open(tmp_path / "w.tif") as image:
            np.testing.assert_array_equal(stored(tmp_path / "w.tif")[0], np.asarray(image))

    def test_in_a_folder_of_pictures(self, tmp_path):
        for number, picture in enumerate(GREYS["uint8"]):
            self.write(tmp_path / f"f{number}.tif", picture)
        np.testing.assert_array_equal(read_video(tmp_path) * 255, GREYS["uint8"])

    @pytest.mark.parametrize("dtype", ["int32", "float32"])
    def test_where_black_is_not_known_it_is_refused(self, tmp_path, dtype):
        tifffile.imwrite(tmp_path / "w.tif", GREYS[dtype], photometric="miniswhite", metadata=None)
        with pytest.raises(InputError, match="white as 0"):
            stored(tmp_path / "w.tif")

    @pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
    def test_imagejs_inverting_table_leaves_the_values(self, tmp_path, dtype):
        greys = GREYS[dtype]
        tifffile.imwrite(
            tmp_path / "w.tif", greys, imagej=True, photometric="miniswhite",
            metadata={"axes": "TYX"},
        )  # fmt: skip
        np.testing.assert_array_equal(stored(tmp_path / "w.tif"), greys)
        tifffile.imwrite(
            tmp_path / "single.tif", greys[0], photometric="miniswhite", metadata=None,
            description="ImageJ=1.54f\nmin=0.0\nmax=255.0\n",
        )  # fmt: skip
        np.testing.assert_array_equal(stored(tmp_path / "single.tif"), greys[0])

    @pytest.mark.parametrize("options", [{}, {"metadata": None}])
    def test_logical_arrays_that_tifffile_wrote_come_back(self, tmp_path, options):
        """tifffile says of them that white is 0, and means nothing by it."""
        tifffile.imwrite(tmp_path / "m.tif", GREYS["bool"], **options)
        with tifffile.TiffFile(tmp_path / "m.tif") as file:
            assert file.pages[0].photometric == 0
        np.testing.assert_array_equal(stored(tmp_path / "m.tif"), GREYS["bool"])


class TestPalettes:
    def by_pillow(self, path, indices, *palettes):
        pictures = []
        for picture, palette in zip(indices, palettes, strict=True):
            pictures.append(Image.fromarray(picture).convert("L"))
            pictures[-1].putpalette([int(v) for v in palette.ravel()])
        pictures[0].save(path, save_all=True, append_images=pictures[1:])
        return path

    def grey_palette(self, seed):
        levels = np.random.default_rng(seed).permutation(256).astype(np.uint8)
        return np.repeat(levels[:, None], 3, axis=1)

    def test_of_greys(self, tmp_path):
        indices, palette = GREYS["uint8"], self.grey_palette(1)
        path = self.by_pillow(tmp_path / "p.tif", indices, *[palette] * 4)
        meant = palette[:, 0][indices]
        with Image.open(path) as image:
            assert image.mode == "P"
            np.testing.assert_array_equal(np.asarray(image.convert("L")), meant[0])
        np.testing.assert_array_equal(stored(path), meant)
        np.testing.assert_array_equal(read_mask(path), meant)
        np.testing.assert_allclose(read_film(path).frames * 255, meant, rtol=1e-6)
        np.testing.assert_allclose(read_video(path) * 255, meant, rtol=1e-6)

    def test_of_sixteen_bits_keeps_them(self, tmp_path):
        table = RNG.integers(0, 65536, 256).astype(np.uint16)
        tifffile.imwrite(
            tmp_path / "p.tif", GREYS["uint8"], photometric="palette", colormap=[table] * 3
        )
        np.testing.assert_array_equal(stored(tmp_path / "p.tif"), table[GREYS["uint8"]])

    def test_of_colours_is_no_mask_but_a_picture(self, tmp_path):
        palette = RNG.integers(0, 256, (256, 3)).astype(np.uint8)
        path = self.by_pillow(tmp_path / "p.tif", GREYS["uint8"][:1], palette)
        with pytest.raises(InputError, match="a colour image"):
            read_mask(path, key="series0")
        grey = palette[GREYS["uint8"][0]] @ np.array([0.299, 0.587, 0.114])
        assert np.abs(read_video(path)[0] * 255 - grey).max() <= 0.501

    def test_one_for_each_page(self, tmp_path):
        palettes = [self.grey_palette(seed) for seed in range(4)]
        path = self.by_pillow(tmp_path / "p.tif", GREYS["uint8"], *palettes)
        with pytest.raises(InputError, match="different palettes"):
            stored(path)
        meant = [
            palette[:, 0][page] for palette, page in zip(palettes, GREYS["uint8"], strict=True)
        ]
        np.testing.assert_allclose(read_video(path) * 255, meant, rtol=1e-6)

    def test_imagejs_tables_are_for_the_screen(self, tmp_path):
        colours = RNG.integers(0, 65536, (3, 256)).astype(np.uint16)
        tifffile.imwrite(
            tmp_path / "p.tif", GREYS["uint8"], imagej=True, colormap=colours,
            metadata={"axes": "TYX"},
        )  # fmt: skip
        with tifffile.TiffFile(tmp_path / "p.tif") as file:
            assert file.pages[0].photometric == 3
        np.testing.assert_array_equal(stored(tmp_path / "p.tif"), GREYS["uint8"])


class TestCompressions:
    @pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16", "int32", "float32"])
    @pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
    def test_of_every_type_that_pillow_writes(self, tmp_path, dtype, compression):
        by_pillow(tmp_path / "c.tif", GREYS[dtype], compression=compression)
        np.testing.assert_array_equal(stored(tmp_path / "c.tif"), GREYS[dtype])

    @pytest.mark.parametrize(
        ("dtype", "predictor"), [("uint8", 2), ("uint16", 2), ("int32", 2), ("float32", 3)]
    )
    def test_predictors(self, tmp_path, dtype, predictor):
        path = tmp_path / "c.tif"
        by_pillow(path, GREYS[dtype], compression="tiff_lzw", tiffinfo={317: predictor})
        np.testing.assert_array_equal(stored(path), GREYS[dtype])

    @pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
    @pytest.mark.parametrize("white", [0, 1])
    def test_of_faxes(self, tmp_path, compression, white):
        path = tmp_path / "c.tif"
        by_pillow(path, GREYS["bool"], compression=compression, tiffinfo={262: white})
        with Image.open(path) as image:
            shown = np.asarray(image)
        np.testing.assert_array_equal(stored(path)[0], shown)
        np.testing.assert_array_equal(read_mask(path)[0], shown)

    def test_lzw_with_white_as_zero_and_with_a_palette(self, tmp_path):
        greys = GREYS["uint8"]
        by_pillow(tmp_path / "w.tif", greys, compression="tiff_lzw", tiffinfo={262: 0})
        with Image.open(tmp_path / "w.tif") as image:
            assert image.tag_v2[262] == 0
            np.testing.assert_array_equal(stored(tmp_path / "w.tif")[0], np.asarray(image))
        picture = Image.fromarray(greys[0])
        picture.putpalette([255 - v // 3 for v in range(768)])
        picture.save(tmp_path / "p.tif", compression="tiff_lzw")
        np.testing.assert_array_equal(stored(tmp_path / "p.tif"), 255 - greys[0])

    def test_jpeg(self, tmp_path):
        smooth = np.add.outer(np.arange(32), 3 * np.arange(48)).astype(np.uint8)
        by_pillow(tmp_path / "c.tif", [smooth, smooth], compression="jpeg", quality=95)
        assert np.abs(stored(tmp_path / "c.tif").astype(int) - smooth).max() <= 4

    def test_cut_off_is_told(self, tmp_path):
        by_pillow(tmp_path / "c.tif", GREYS["uint8"], compression="tiff_lzw")
        whole = (tmp_path / "c.tif").read_bytes()
        for part in (0.3, 0.6, 0.9):
            (tmp_path / "c.tif").write_bytes(whole[: int(part * len(whole))])
            with pytest.raises(InputError):
                stored(tmp_path / "c.tif")

    @pytest.mark.skipif(importlib.util.find_spec("imagecodecs") is not None, reason="it is there")
    @pytest.mark.parametrize(("bits", "compression"), [(8, 34712), (10, 1), (16, 7)])
    def test_what_is_missing_is_named(self, tmp_path, bits, compression):
        path = packed(tmp_path / "c.tif", bits, compression)
        with pytest.raises(InputError, match="imagecodecs") as caught:
            stored(path)
        assert "damaged" not in str(caught.value)
        assert "deqsci[tiff]" in caught.value.hint and "without compression" in caught.value.hint

    @pytest.mark.parametrize("bits", [2, 4, 12])
    def test_packed_bits(self, tmp_path, bits):
        values = RNG.integers(0, 2**bits, (4, 8))
        text = "".join(format(value, f"0{bits}b") for value in values.ravel())
        data = bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))
        np.testing.assert_array_equal(stored(packed(tmp_path / "c.tif", bits, 1, data)), values)


def packed(path, bits, compression, data=b"\x12\x34" * 32):
    """A TIFF of 4 x 8 pixels, made by hand."""
    tags = [(256, 4, 8), (257, 4, 4), (258, 3, bits), (259, 3, compression), (262, 3, 1)]
    tags += [(273, 4, 8 + 2 + 12 * 9 + 4), (277, 3, 1), (278, 4, 4), (279, 4, len(data))]
    body = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", t, k, 1, v)
                                                   for t, k, v in tags)  # fmt: skip
    path.write_bytes(b"II*\0" + struct.pack("<I", 8) + body + bytes(4) + data)
    return path
