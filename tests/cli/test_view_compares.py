"""`view A B`: films of one measurement on one page, and what cannot be compared."""

from __future__ import annotations

import re

import numpy as np
import pytest
import scipy.io
import tifffile

from deqsci_cli.errors import InputError, UsageError

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")


@pytest.fixture
def runs(run, capture, tmp_path):
    """The same capture's two measurements by two settings."""
    for name, most in (("short", 2), ("long", 6)):
        run(
            *("reconstruct", capture, "--model", "gap-tv", "--max-iter", most),
            *("-o", tmp_path / name, "--preview", "none"),
        )
    return tmp_path / "short", tmp_path / "long"


def scenes(page: str) -> list[list[str]]:
    """The films' labels, scene by scene."""
    sections = page.split('<section class="player')[1:]
    return [re.findall(r'data-kind="film" data-label="([^"]*)"', each) for each in sections]


def test_folders_of_the_same_capture(run, runs):
    short, long = runs
    shown = run("view", short, long)
    assert shown.stdout.strip() == str(short / "compare.html")
    page = (short / "compare.html").read_text()
    labels = ["gap-tv (short)", "gap-tv (long)"]
    assert scenes(page) == [labels, labels]  # two measurements
    assert page.count("wipe-on") == 2 + page.count('".wipe-on"')
    assert page.count('data-kind="measurement"') == 2  # one for both
    assert 'href="./scene_0.tif"' in page and 'href="./../long/scene_1.tif"' in page
    run("view", short, long)  # replaces a page of our own


def test_films_without_a_report_and_without_truth(run, runs, tmp_path):
    film = tifffile.imread(runs[0] / "scene_0.tif")
    for name in ("a.tif", "b.tif"):
        tifffile.imwrite(tmp_path / name, film)
    run("view", tmp_path / "a.tif", tmp_path / "b.tif", "-o", tmp_path / "p.html")
    page = (tmp_path / "p.html").read_text()
    assert scenes(page) == [["a.tif", "b.tif"]] and 'data-kind="truth"' not in page
    run("view", runs[0] / "scene_1.tif", tmp_path / "a.tif", "-o", tmp_path / "q.html")
    page = (tmp_path / "q.html").read_text()
    assert scenes(page) == [["gap-tv", "a.tif"]] and 'data-kind="measurement"' in page


def test_films_of_two_measurements_are_not_taken_for_one(run, runs, tmp_path):
    run("view", runs[0] / "scene_0.tif", runs[1] / "scene_1.tif", "-o", tmp_path / "p.html")
    page = (tmp_path / "p.html").read_text()
    assert "not of the same measurement" in page and 'data-kind="measurement"' not in page


def test_a_film_among_folders_finds_its_measurement(run, runs, tmp_path):
    run("view", runs[0], runs[1] / "scene_1.tif", "-o", tmp_path / "p.html")
    first, second = scenes((tmp_path / "p.html").read_text())
    assert len(first) == 1 and len(second) == 2


def test_what_cannot_be_compared(run, runs, capture, tmp_path):
    short = runs[0]
    tifffile.imwrite(tmp_path / "small.tif", np.zeros((8, 32, 32), np.float32))
    with pytest.raises(UsageError, match=r"8 .* 40×32 .*, small\.tif 8 .* 32×32") as told:
        run("view", short / "scene_0.tif", tmp_path / "small.tif")
    assert "one size" in str(told.value)
    with pytest.raises(UsageError, match=r"nothing tells which measurement small\.tif is of"):
        run("view", short, tmp_path / "small.tif")
    with pytest.raises(UsageError, match="named twice"):
        run("view", short, tmp_path / "short" / ".." / "short")
    with pytest.raises(InputError, match="no run has left its report"):
        run("view", short, tmp_path)
    content = scipy.io.loadmat(capture)
    kept = {k: content[k] for k in ("mask", "orig")}
    scipy.io.savemat(tmp_path / "other.mat", kept | {"meas": content["meas"] + 1})
    run(
        *("reconstruct", tmp_path / "other.mat", "--model", "gap-tv", "--max-iter", "2"),
        *("-o", tmp_path / "other", "--preview", "none"),
    )
    with pytest.raises(UsageError, match="no measurement in common"):
        run("view", short, tmp_path / "other")
    assert not list(tmp_path.rglob("*.html"))
