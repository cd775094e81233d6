"""Paths that the system refuses, wherever a command takes one: a sentence, and the rest goes on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import scipy.io
import tifffile

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="other systems, other refusals")

USE = ("--model", "gap-tv", "--max-iter", "1", "-q")
RECONSTRUCT = ("--model", "gap-tv", "--max-iter", "1", "--preview", "none", "-q")
TRAIN = (
    *("--architecture", "cnn", "--steps", "1", "--batch-size", "1", "--patch-size", "8"),
    *("--device", "cpu", "--set", "options.channels=2"),
)
# `{}` stands for the path, and each has an output of its own.
INPUTS = [
    ("reconstruct", "{}", "-o", "o{n}", *RECONSTRUCT),
    ("reconstruct", "@{}", "-o", "o{n}", *RECONSTRUCT),
    ("reconstruct", "good.mat", "--mask", "{}", "-o", "o{n}", *RECONSTRUCT),
    ("reconstruct", "good.mat", "--model", "{}", "-o", "o{n}"),
    ("simulate", "{}", "-o", "o{n}.mat"),
    ("simulate", "clips/a.gif", "--mask", "{}", "-o", "o{n}.mat"),
    ("evaluate", "{}", "--truth", "good.mat"),
    ("evaluate", "good.mat", "--truth", "{}"),
    ("evaluate", "--benchmark", "{}", "--models", "gap-tv"),
    ("evaluate", "--benchmark", "good.mat", "--models", "{}"),
    ("view", "{}"),
    ("convert", "{}", "o{n}.h5"),
    ("convert", "good.mat", "o{n}.h5", "--mask", "{}"),
    ("convert", "{}", "-o", "o{n}", "--architecture", "cnn"),
    ("inspect", "{}"),
    ("models", "show", "{}"),
    ("models", "diagnose", "gap-tv", "{}"),
    ("train", "{}", "--validation", "clips", "-o", "o{n}", *TRAIN),
    ("train", "clips", "--validation", "{}", "-o", "o{n}", *TRAIN),
    ("train", "clips", "--validation", "clips", "-o", "o{n}", "--init-from", "{}", *TRAIN),
    ("train", "--config", "{}"),
]
OUTPUTS = [
    ("reconstruct", "good.mat", "-o", "{}", *RECONSTRUCT),
    ("reconstruct", "good.mat", "-o", "{}", "--resume", *RECONSTRUCT),
    ("simulate", "clips/a.gif", "-o", "{}.mat"),
    ("evaluate", "--benchmark", "good.mat", "--models", "gap-tv", "--max-iter", "1", "-o", "{}"),
    ("view", "film.tif", "-o", "{}"),
    ("convert", "good.mat", "{}.mat"),
    ("train", "clips", "--validation", "clips", "-o", "{}", *TRAIN),
    ("train", "clips", "--validation", "clips", "-o", "{}", "--resume", *TRAIN),
]
REFUSED = {
    "a long name": "a" * 300,
    "below a long name": "a" * 300 + "/b",
    "a long path": "b/" * 3000 + "b",
    "links in a circle": "circle",
    "below links in a circle": "circle/b",
    "below a file": "good.mat/b",
}


def capture(path: Path, count: int = 1) -> Path:
    rng = np.random.default_rng(0)
    mask, video = rng.integers(0, 2, (9, 12, 3)), rng.integers(0, 255, (9, 12, 3))
    meas = np.repeat((mask * video).sum(2, keepdims=True), count, axis=2)
    arrays = {"meas": meas.astype(np.uint16), "mask": mask.astype(np.uint8)}
    scipy.io.savemat(path, arrays | {"orig": video.astype(np.uint8)})
    return path


@pytest.fixture
def place(tmp_path):
    """A capture, a film, a clip, links in a circle."""
    capture(tmp_path / "good.mat")
    tifffile.imwrite(tmp_path / "film.tif", np.zeros((5, 9, 12), np.uint8))
    (tmp_path / "clips").mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (8, 9, 12), dtype=np.uint8)
    iio.imwrite(tmp_path / "clips" / "a.gif", noise)
    (tmp_path / "circle").symlink_to("circle")
    return tmp_path


def filled(lines: list[tuple[str, ...]], path: str) -> list[tuple[str, ...]]:
    return [tuple(w.format(path, n=n) for w in line) for n, line in enumerate(lines)]


@pytest.mark.parametrize("path", REFUSED.values(), ids=REFUSED)
def test_whatever_reads_there(commands, place, path):
    pytest.importorskip("jinja2")
    for line, result in zip(INPUTS, commands(filled(INPUTS, path)), strict=True):
        expected = 2 if line[1] == "--config" else 3
        assert result.code == expected and "Traceback" not in result.err, (line, result)
    made = {p.name for p in place.iterdir()} - {"good.mat", "film.tif", "clips", "circle"}
    assert made <= {"o0", "o2"}  # the runs that have a report to give


@pytest.mark.parametrize("path", REFUSED.values(), ids=REFUSED)
def test_whatever_writes_there(commands, place, path):
    pytest.importorskip("jinja2")
    before = {p.name for p in place.iterdir()}
    for line, result in zip(OUTPUTS, commands(filled(OUTPUTS, path)), strict=True):
        if (path, line[0]) == ("circle", "simulate") or (path, line[0]) == ("circle", "convert"):
            continue  # circle.mat is as good as any
        assert result.code in (2, 4) and "Traceback" not in result.err, (line, result)
        assert "free space" not in result.err, (line, result)
    assert {p.name for p in place.iterdir()} <= before | {"circle.mat"}


def test_one_among_others_fails_alone(commands, place):
    """The same names in two places are told apart by their folders, whatever these are."""
    paths = [path for path in REFUSED.values() if path != "circle/b"]
    twins = ("circle/good.mat", "good.mat")
    (result,) = commands([("reconstruct", *paths, *twins, "-o", "o", *RECONSTRUCT)])
    assert result.code == 1 and result.err.count("failed: ") == len(paths) + 1, result
    (film,) = (place / "o").glob("*.tif")
    assert "good" in film.name


@pytest.mark.parametrize("page", [True, False])
def test_a_name_of_any_length(commands, place, page):
    """255 bytes is the longest; a film's may be longer than its capture's, and that is its own."""
    names = [sign * (length // len(sign.encode())) for sign in "x雪" for length in (200, 246, 251)]
    for name in names:
        capture(place / f"{name}.mat")
    capture(place / ("y" * 251 + ".mat"), count=2)
    # With the film comes a preview, and the record of a run that may be resumed.
    line = ("reconstruct", "*.mat", "-o", "o", *USE) + ("--report",) * page
    first, second = commands([line, (*line, "--resume")])
    report = json.loads((place / "o" / "report.json").read_text())
    assert {Path(r["output"]).stem for r in report["measurements"]} == {*names, "good"}
    for result in (first, second):
        assert result.code == 1 and "too long" in result.err and "free" not in result.err, result
        assert result.err.count("failed: ") == 1
    assert report["skipped"] == len(names) + 1
    assert len(list((place / "o").glob("*.gif"))) == len(names) + 1


@pytest.fixture
def without_rights(environment):
    """Run the command line without the rights that root has over what it may not search."""
    prefix: list[str] = []
    if os.geteuid() == 0:
        if not shutil.which("setpriv"):
            pytest.skip("root may search every folder")
        prefix = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]

    def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*prefix, sys.executable, "-m", "deqsci_cli", *words], cwd=folder,
            env=environment, capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    return run


def test_a_folder_that_may_not_be_searched(without_rights, place):
    locked = place / "locked"
    locked.mkdir()
    capture(locked / "a.mat")
    locked.chmod(0)
    try:
        some = without_rights(
            place, "reconstruct", "locked/a.mat", "good.mat", "-o", "o", *RECONSTRUCT
        )
        folder = without_rights(place, "reconstruct", "locked", "-o", "p", *RECONSTRUCT)
        out = without_rights(place, "reconstruct", "good.mat", "-o", "locked/o", *RECONSTRUCT)
    finally:
        locked.chmod(0o700)
    assert some.returncode == 1 and "locked/a.mat: the file may not be read" in some.stderr
    assert (place / "o" / "good.tif").is_file()
    assert folder.returncode == 3 and "the folder may not be read" in folder.stderr
    assert out.returncode == 4 and "Permission denied" in out.stderr
    for done in (some, folder, out):
        assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere all names are UTF-8")
def test_a_name_that_is_not_utf8(commands, place):
    """Wherever a name is written into a file, it is spelt out there."""
    pytest.importorskip("jinja2")
    name = os.fsdecode(b"b\xe9d")
    capture(place / f"{name}.mat")
    lines = [
        ("reconstruct", f"{name}.mat", "-o", f"o{name}", *USE, "--report", "--format", "h5"),
        ("view", f"o{name}", "-o", f"{name}.html"),
        *[("convert", f"{name}.mat", f"c{name}.{kind}") for kind in ("mat", "h5", "tif")],
        ("evaluate", "--benchmark", f"{name}.mat", "--models", "gap-tv", "-o", f"e{name}",
         "--max-iter", "1", "--sweep", "noise=0,0.1"),
        ("train", "clips", "--validation", "clips", "-o", f"t{name}", *TRAIN),
        ("inspect", f"{name}.mat", "--json"),
    ]  # fmt: skip
    for line, result in zip(lines, commands(lines), strict=True):
        assert result.code == 0, (line, result)
    report = json.loads((place / f"o{name}" / "report.json").read_text(encoding="utf-8"))
    assert report["measurements"][0]["input"] == f"{name}.mat"
    assert json.loads((place / f"t{name}" / "card.json").read_text("utf-8"))["name"] == f"t{name}"
