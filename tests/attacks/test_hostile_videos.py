"""Pictures and videos that are damaged, or unpack to far more than they weigh."""

from __future__ import annotations

import struct
import zlib

import imageio.v3 as iio
import numpy as np
import pytest

from deqsci_cli.errors import InputError
from deqsci_cli.io import read_video, read_video_uint8

pytestmark = pytest.mark.usefixtures("ends")


def small(path):
    frames = np.random.default_rng(0).integers(0, 255, (5, 32, 48), dtype=np.uint8)
    if path.suffix in (".png", ".jpg"):
        iio.imwrite(path, frames[0])
    elif path.suffix == ".gif":
        iio.imwrite(path, frames)
    else:
        pytest.importorskip("av")
        colour = np.repeat(frames[..., None], 3, axis=3)
        iio.imwrite(path, colour, plugin="pyav", codec="libx264", fps=10)
    return path


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".gif", ".mp4", ".mkv"])
@pytest.mark.parametrize("part", [0, 0.005, 0.05])
def test_cut_off(tmp_path, suffix, part):
    whole = small(tmp_path / f"a{suffix}").read_bytes()
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(InputError) as caught:
        read_video(cut)
    assert caught.value.path == cut


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_picture_cut_off_in_the_middle(tmp_path, suffix):
    whole = small(tmp_path / f"a{suffix}").read_bytes()
    (tmp_path / f"cut{suffix}").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError):
        read_video(tmp_path / f"cut{suffix}")


def test_gif_bomb(tmp_path):
    """300 frames of one pixel each, on a canvas of 60000 x 60000."""
    head = b"GIF89a" + struct.pack("<HHBBB", 60000, 60000, 0x80, 0, 0) + bytes(6)
    frame = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    (tmp_path / "a.gif").write_bytes(head + frame * 300 + b";")
    with pytest.raises(InputError):
        read_video_uint8(tmp_path / "a.gif")
    head = b"GIF89a" + struct.pack("<HHBBB", 5000, 5000, 0x80, 0, 0) + bytes(6)
    (tmp_path / "b.gif").write_bytes(head + frame * 300 + b";")
    with pytest.raises(InputError, match="limit"):
        read_video_uint8(tmp_path / "b.gif")


def test_png_bomb(tmp_path):
    def chunk(name, data):
        crc = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + crc

    header = struct.pack(">IIBBBBB", 10**6, 10**6, 8, 0, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(10**6)))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + data + chunk(b"IEND", b""))
    with pytest.raises(InputError):
        read_video(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", [".gif", ".mp4", ".mkv"])
def test_budget_of_a_clip(tmp_path, monkeypatch, suffix):
    path = small(tmp_path / f"a{suffix}")
    frame = 32 * 48
    monkeypatch.setenv("DEQSCI_MAX_BYTES", str(5 * frame * 4))
    assert read_video(path).shape == (5, 32, 48)
    monkeypatch.setenv("DEQSCI_MAX_BYTES", str(5 * frame * 4 - 1))
    with pytest.raises(InputError, match="limit"):
        read_video(path)
    # A quarter of the memory, and part of a clip, still fit.
    assert read_video_uint8(path).shape == (5, 32, 48)
    assert read_video(path, count=4).shape == (4, 32, 48)


def test_a_folder_counts_as_a_whole(tmp_path, monkeypatch):
    for index in range(5):
        iio.imwrite(tmp_path / f"{index}.png", np.zeros((32, 48), np.uint8))
    monkeypatch.setenv("DEQSCI_MAX_BYTES", str(5 * 32 * 48 * 4 - 1))
    with pytest.raises(InputError, match="limit"):
        read_video(tmp_path)


@pytest.mark.parametrize(
    "text",
    ["ffconcat version 1.0\nfile '{}'\n", "#EXTM3U\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n"],
)
@pytest.mark.parametrize("name", ["a.mp4", "a.m3u8", "a.ffconcat"])
def test_playlists_never_reach_the_decoder(tmp_path, text, name):
    other = small(tmp_path / "other.mkv")
    (tmp_path / name).write_text(text.format(other))
    with pytest.raises(InputError, match="no video"):
        read_video(tmp_path / name)
