"""Camera files, dark frames and flats that are spoilt, missing or in the way: a sentence each."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import tifffile

T, H, W = 4, 20, 28
USE = ("--model", "gap-tv", "--max-iter", "1", "--preview", "none")


def stored(path: Path, array: np.ndarray) -> Path:
    tifffile.imwrite(path, np.asarray(array, np.float32), photometric="minisblack")
    return path


@pytest.fixture
def place(tmp_path):
    """A capture with its mask, and another whose mask is beside it; good and spoilt pictures."""
    rng = np.random.default_rng(0)
    mask, film = rng.integers(0, 2, (T, H, W)), rng.integers(0, 255, (T, H, W))
    meas = (mask * film).sum(0) + 10.0
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["meas"], file["mask"] = meas.astype(np.float32), mask.astype(np.uint8)
    stored(tmp_path / "m.tif", mask)
    (tmp_path / "captures").mkdir()
    stored(tmp_path / "captures" / "a.tif", meas)
    flat = np.ones((H, W))
    pictures = {
        "dark": 10 * flat, "ones": flat, "zero": 0 * flat, "negative": -flat, "small": flat[:9, :9],
        "nan": np.where(np.eye(H, W), np.nan, 10), "infinite": np.inf * flat, "huge": 3e38 * flat,
        "half": flat * (np.arange(W) % 2),
    }  # fmt: skip
    for name, array in pictures.items():
        stored(tmp_path / f"{name}.tif", array)
    (tmp_path / "text.tif").write_text("a picture, they said")
    (tmp_path / "empty.tif").write_bytes(b"")
    (tmp_path / "cut.tif").write_bytes((tmp_path / "dark.tif").read_bytes()[:300])
    (tmp_path / "folder").mkdir()
    (tmp_path / "circle").symlink_to("circle")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
    return tmp_path


def check(outcomes, lines, expected: int, said: str = "") -> None:
    for line, result in zip(lines, outcomes, strict=True):
        assert result.code == expected and "Traceback" not in result.err, (line, result)
        assert "Warning" not in result.err and said in result.err, (line, result)
        assert result.seconds < 60, (line, result)


def everywhere(*options: object) -> list[tuple[object, ...]]:
    """The commands that take a camera."""
    return [
        ("reconstruct", "c.h5", "-o", "o", *USE, *options),
        ("evaluate", "--benchmark", "c.h5", "--models", "gap-tv", *options),
        ("convert", "c.h5", "new.mat", *options),
    ]


TABLES = {
    "an unknown key": ("darkness = 3", "unknown key 'darkness'"),
    "a misspelt key": ("sift = [0, 1]", "did you mean 'shift'?"),
    "a number for a table": ("shift = 1", "'shift' must be a list"),
    "three numbers": ("shift = [1, 2, 3]", "'shift' must be a list"),
    "text for a number": ('zoom = "big"', "'zoom' must be a number"),
    "a table for text": ("dark = {file = 3}", "'dark' must be text"),
    "true for text": ("flat = true", "'flat' must be text"),
    "a NaN": ("dark = nan", "black level"),
    "an infinite shift": ("shift = [inf, 0]", "'shift[0]' must be a number"),
    "a huge shift": ("shift = [0, 1e300]", "as far as the mask"),
    "a huge rotation": ("rotation = 1e300", "between -180 and 180"),
    "a huge blur": ("blur = 1e9", "blur between"),
    "no zoom": ("zoom = 0", "zoom lies between"),
    "a huge black level": ("dark = 1e300", "black level"),
    "a black level above all": ("dark = 1e6", "nearly all of the measurement is below 0"),
    "a negative gain": ("frame_gains = [1, -1, 1, 1]", "gains of the frames"),
    "a huge gain": ("frame_gains = [1, 1e300, 1, 1]", "gains of the frames"),
    "a NaN gain": ("frame_gains = [1, nan, 1, 1]", "gains of the frames"),
    "too many gains": ("frame_gains = [1, 1, 1, 1, 1]", "5 gains for the 4 frames"),
    "no gains": ("frame_gains = []", "frame_gains of the camera is no name"),
    "a negative noise": ("noise = -0.1", "noise '-0.1' is not understood"),
    "a word for saturation": ('saturation = "much"', "saturation 'much' is not understood"),
    "no pixel below saturation": ("saturation = -1", "no pixel of measurement 0 tells anything"),
    "no photons": ("photons = 0", "photons"),
    "another orientation": ('orientation = "upside-down"', "no orientation 'upside-down'"),
    "a turned mask": ('orientation = "transpose"', "do not agree"),
    "too many frames": ('frames = "2:9"', "the mask has 4 frames"),
    "axes of colours": ('axes = "HWC"', "not an order of the three letters"),
    "a scale of zero": ("scale = 0", "must be a positive number"),
    "another camera": ('camera = "lab.toml"', "unknown key 'camera'"),
    "itself": ('dark = "lab.toml"', "none of the array formats"),
    "itself as gains": ('frame_gains = "lab.toml"', "no list of gains"),
    "a missing file": ('flat = "nowhere.tif"', "there is no such file"),
    "a missing mask": ('mask = "nowhere.tif"', "there is no such file"),
    "an empty name": ('dark = ""', "dark of the camera is no name"),
    "a NUL in a name": ('dark = "a\\u0000b"', "dark of the camera is no name"),
    "a word where there is none": ('dark = "auto"', "there is no such file"),
    "not TOML": ("dark = = 3", "cannot be read"),
    "nested deeply": ("a = " + "[" * 9000, "cannot be read"),
}
OF_FILES = {
    "a turned mask", "itself", "itself as gains", "a missing file", "a missing mask",
    "a word where there is none", "a black level above all",
    "no pixel below saturation",
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_tables_that_cannot_be_meant(commands, place, name):
    text, said = TABLES[name]
    (place / "lab.toml").write_text(text)
    lines = everywhere("--camera", "lab.toml")
    if name == "no pixel below saturation":
        lines = lines[:1]  # the others have no need to look at pixels
    check(commands(lines), lines, 3 if name in OF_FILES else 2, said)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"\xff\xfe\x00d", "cannot be read"), (b"#" * 1_100_000, "larger than 1 MB")],
    ids=["bytes", "size"],
)
def test_what_is_no_text(commands, place, content, said):
    (place / "lab.toml").write_bytes(content)
    lines = everywhere("--camera", "lab.toml")
    check(commands(lines), lines, 2, said)


PICTURES = {
    "another size": ("small.tif", "do not agree"),
    "not finite": ("infinite.tif", "NaN or infinite"),
    "a NaN": ("nan.tif", "NaN or infinite"),
    "text": ("text.tif", "none of the array formats"),
    "empty": ("empty.tif", "none of the array formats"),
    "cut off": ("cut.tif", "cut.tif"),
    "missing": ("nowhere.tif", "there is no such file"),
    "a folder": ("folder", "not a file"),
    "a pipe": ("pipe", "not a file"),
    "links in a circle": ("circle", "cannot be reached"),
    "a long name": ("a" * 300, "cannot be reached"),
    "a capture": ("c.h5", "is not clear"),
}


@pytest.mark.parametrize("role", ["dark", "flat", "bad-pixels", "frame-gains"])
@pytest.mark.parametrize("name", PICTURES)
def test_pictures_that_cannot_be_read(commands, place, name, role):
    file, said = PICTURES[name]
    if file == "pipe" and not hasattr(os, "mkfifo"):
        pytest.skip("this system has no named pipes")
    (place / "lab.toml").write_text(f"{role.replace('-', '_')} = {json.dumps(file)}")
    lines = [
        ("reconstruct", "c.h5", "-o", "o", *USE, *given)
        for given in ((f"--{role}", file), ("--camera", "lab.toml"))
    ]
    if role == "frame-gains" and file.endswith((".tif", ".h5")) and name != "missing":
        said = "no list of gains"
    check(commands(lines), lines, 3, said)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--flat", "zero.tif"), "the flat field is dark"),
        (("--flat", "negative.tif"), "the flat field is dark"),
        (("--dark", "huge.tif"), "nearly all of the measurement is below 0"),
        (("--bad-pixels", "ones.tif"), "no pixel of measurement 0 tells anything"),
        (("--bad-pixels", "negative.tif"), "no pixel of measurement 0 tells anything"),
    ],
)
def test_pictures_that_leave_nothing(commands, place, options, said):
    lines = [("reconstruct", "c.h5", "-o", "o", *USE, *options)]
    check(commands(lines), lines, 3, said)


def test_odd_pictures_that_can_be_meant(commands, place):
    lines = [
        ("reconstruct", "c.h5", "-o", f"o{n}", *USE, *options)
        for n, options in enumerate(
            [
                ("--dark", "nan.tif", "--nan", "zero"),
                ("--flat", "huge.tif"),
                ("--flat", "half.tif"),
                ("--dark", "-5"),
                ("--dark", "1e1", "--frame-gains", "1,1,2e0,1"),
                ("--camera", "c.h5"),
            ]
        )
    ]
    check(commands(lines), lines, 0)


@pytest.mark.parametrize(
    "table",
    [
        *("", "{", "[1]", "3", "null", '{"dark": NaN', "[" * 100_000, '{"a":' * 3000 + "1"),
        *('{"x": "' + "y" * 2_000_000 + '"}', np.arange(5), 3.5, np.bytes_(b"\xff\xfe")),
    ],
    ids=[
        *("empty", "cut off", "a list", "a number", "null", "spoilt", "brackets", "nested"),
        *("two megabytes", "an array", "a float", "bytes"),
    ],
)
def test_an_attribute_that_is_no_table(commands, place, table):
    with h5py.File(place / "lab.h5", "w", libver="latest") as file:
        file["mask"] = np.ones((T, H, W))
        file.attrs["camera"] = table
    lines = everywhere("--camera", "lab.h5")
    check(commands(lines), lines, 3, "the file's attribute 'camera' is no table")


@pytest.mark.parametrize(
    ("table", "code", "said"),
    [
        ({"shift": [None, 0]}, 2, "'shift[0]' must be a number"),
        ({"dark": float("nan")}, 2, "black level"),
        ({"dark": "dark.tif"}, 3, "names files"),
        ({"frame_gains": "/etc/hostname"}, 3, "names files"),
        ({"darkness": 3}, 2, "unknown key"),
        ({"dark": {"a": [[[[1]]]]}}, 2, "'dark' must be text"),
    ],
)
def test_an_attribute_with_what_cannot_be_meant(commands, place, table, code, said):
    with h5py.File(place / "lab.h5", "w") as file:
        file["mask"] = np.ones((T, H, W))
        file.attrs["camera"] = json.dumps(table)
    scipy.io.savemat(place / "lab.mat", {"mask": np.ones((H, W, T)), "camera": json.dumps(table)})
    lines = everywhere("--camera", "lab.h5") + everywhere("--camera", "lab.mat")
    check(commands(lines), lines, code, said)


def test_files_of_the_camera_are_no_captures(commands, place):
    """A folder that holds them too stands for its captures alone."""
    inside = place / "captures"
    for name in ("m", "dark", "ones"):
        (place / f"{name}.tif").rename(inside / f"{name}.tif")
    with h5py.File(inside / "lab.h5", "w") as file:
        file["mask"] = tifffile.imread(inside / "m.tif")
        file["dark"] = tifffile.imread(inside / "dark.tif")
    (inside / "lab.toml").write_text('mask = "m.tif"\ndark = "dark.tif"\nflat = "ones.tif"')
    by_file = ("reconstruct", "captures", "-o", "o", "--camera", "captures/lab.toml", *USE)
    first, second = commands([by_file, (*by_file[:3], "p", *by_file[4:])])
    assert first.code == 1  # lab.h5 belongs to no camera that is named: it is taken, and is none
    (inside / "lab.h5").rename(place / "lab.h5")
    options = (
        "--mask",
        "captures/m.tif",
        "--dark",
        "captures/dark.tif",
        "--flat",
        "captures/ones.tif",
    )
    lines = [(*by_file, "--overwrite"), ("reconstruct", "captures", "-o", "q", *options, *USE)]
    check(commands(lines), lines, 0)
    for folder in ("o", "q"):
        assert [p.name for p in (place / folder).glob("*.tif")] == ["a.tif"]
    films = [tifffile.imread(place / folder / "a.tif") for folder in ("o", "q")]
    np.testing.assert_array_equal(*films)
    assert second.code == 1


def test_no_output_takes_the_place_of_a_file_of_the_camera(commands, place):
    (place / "own").mkdir()
    for name in ("dark.tif", "ones.tif", "m.tif"):
        (place / name).rename(place / "own" / name)
    stored(place / "dark.tif", tifffile.imread(place / "captures" / "a.tif"))
    camera = place / "own" / "lab.toml"
    camera.write_text('mask = "m.tif"\ndark = "dark.tif"\nflat = "ones.tif"')
    (place / "own" / "benchmark.csv").write_text("1 1 1 1")
    stored(place / "clip.tif", np.zeros((T, H, W)))
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    beside = ("--mask", "own/m.tif", "--dark", "own/dark.tif")
    lines = [
        ("reconstruct", "dark.tif", "--camera", camera, "-o", "own", *USE),
        ("reconstruct", "dark.tif", *beside, "-o", "own", *USE),
        ("convert", "c.h5", "own/dark.tif", "--dark", "own/dark.tif"),
        ("simulate", "clip.tif", "--camera", camera, "-o", "own/dark.tif"),
        ("simulate", "clip.tif", "--camera", camera, "-o", "own/ones.tif"),
        ("evaluate", "--benchmark", "c.h5", "--models", "gap-tv", "-o", "own",
         "--frame-gains", "own/benchmark.csv"),
    ]  # fmt: skip
    lines = [(*line, "--overwrite") for line in lines]
    check(commands(lines), lines, 2, "take the place of an input")
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before


def test_a_run_is_resumed_only_with_the_same_camera(commands, place):
    (place / "lab.toml").write_text('dark = "dark.tif"\nflat = "ones.tif"')
    line = ("reconstruct", "c.h5", "--camera", "lab.toml", "-o", "o", *USE, "--resume")

    def run() -> tuple[str, bytes]:
        (result,) = commands([line])
        assert result.code == 0, result
        return result.err + result.out, (place / "o" / "c.tif").read_bytes()

    said, film = run()
    assert "1 done, 0 skipped" in said
    said, same = run()
    assert "0 done, 1 skipped" in said and same == film
    flat = np.ones((H, W))
    flat[:, :9] = 2
    for change in (
        lambda: stored(place / "dark.tif", np.full((H, W), 5)),
        lambda: stored(place / "ones.tif", flat),
        lambda: (place / "lab.toml").write_text('dark = "dark.tif"\nframe_gains = [1, 2, 1, 1]'),
    ):
        change()
        said, another = run()
        assert "1 done, 0 skipped" in said and another != film
        film = another
        assert "0 done, 1 skipped" in run()[0]


def test_a_dark_frame_that_changes_during_a_run(commands, place):
    """Every film is of one dark frame; the others are refused, and no film mixes two."""
    meas = tifffile.imread(place / "captures" / "a.tif")
    for n in range(40):
        stored(place / "captures" / f"b{n}.tif", meas)

    def change() -> None:
        until = time.monotonic() + 60
        while not list((place / "o").glob("*.tif")) and time.monotonic() < until:
            time.sleep(0.01)
        stored(place / "new.tif", np.full((H, W), 3))
        (place / "new.tif").replace(place / "dark.tif")

    writer = threading.Thread(target=change)
    writer.start()
    line = ("reconstruct", "captures", "--mask", "m.tif", "--dark", "dark.tif", "-o", "o", *USE,
            "--batch-size", "1")  # fmt: skip
    (result,) = commands([line])
    writer.join()
    assert result.code == 1 and "Traceback" not in result.err, result
    assert "dark.tif: the file has changed since this run began" in result.err
    films = [tifffile.imread(path) for path in (place / "o").glob("*.tif")]
    assert 1 <= len(films) < 41
    for film in films[1:]:
        np.testing.assert_array_equal(film, films[0])


def test_workers_find_what_is_named_from_another_folder(commands, place):
    pytest.importorskip("distributed")
    (place / "lab").mkdir()
    for name in ("dark", "ones", "m"):
        (place / f"{name}.tif").rename(place / "lab" / f"{name}.tif")
    (place / "lab" / "gains.txt").write_text("1 1 1.1 0.9")
    (place / "lab" / "lab.toml").write_text(
        'mask = "m.tif"\ndark = "dark.tif"\nflat = "ones.tif"\nframe_gains = "gains.txt"'
    )
    line = ("reconstruct", "captures/a.tif", "--camera", "lab/lab.toml", *USE)
    options = ("--dark", "lab/dark.tif", "--frame-gains", "lab/gains.txt")
    lines = [
        (*line, "-o", "here"),
        (*line, *options, "-o", "there", "--cluster", "local:2"),
    ]
    check(commands(lines), lines, 0)
    films = [tifffile.imread(place / name / "a.tif") for name in ("here", "there")]
    np.testing.assert_array_equal(*films)
