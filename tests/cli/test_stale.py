"""No result of an earlier run looks like one of the films that took its place."""

from __future__ import annotations

import pytest
import scipy.io

MODEL = ("--model", "gap-tv", "--max-iter", "3")


@pytest.mark.parametrize("how", ["--resume", "--overwrite"])
@pytest.mark.parametrize("kind", ["measurements", "sequence"])
def test_previews_and_page_of_a_film_that_is_made_again_go(run, capture, tmp_path, how, kind):
    out = tmp_path / "o"
    common = ("reconstruct", capture, "-o", out, *MODEL, *(["--sequence"] * (kind == "sequence")))
    run(*common, "--report")
    names = {path.name for path in out.glob("*.gif")}
    assert names and (out / "report.html").exists()
    mine = out / "mine.gif"
    mine.write_bytes(b"mine")
    told = run(*common, how, "--scale", "400", "--preview", "none").stderr
    assert "report.html is removed" in told
    assert {path.name for path in out.glob("*.gif")} == {"mine.gif"}
    assert not (out / "report.html").exists()


def test_what_is_still_true_stays(run, capture, tmp_path):
    out = tmp_path / "o"
    common = ("reconstruct", capture, "-o", out, *MODEL)
    run(*common, "--report")
    before = {path: path.read_bytes() for path in out.glob("*.[gh]*")}
    changed = out / "scene_0.gif"
    run(*common, "--resume", "--preview", "none")
    assert {path: path.read_bytes() for path in out.glob("*.[gh]*")} == before
    # A picture that somebody has changed since is not ours to take away.
    changed.write_bytes(b"annotated")
    (out / "report.html").write_text("notes")
    run(*common, "--overwrite", "--scale", "400", "--preview", "none")
    assert changed.read_bytes() == b"annotated" and not (out / "scene_1.gif").exists()
    assert (out / "report.html").read_text() == "notes"


def test_films_of_a_capture_that_has_shrunk_are_named(run, capture, tmp_path):
    out = tmp_path / "o"
    common = ("reconstruct", capture, "-o", out, *MODEL, "--preview", "none")
    run(*common)
    content = scipy.io.loadmat(capture)
    arrays = {name: content[name] for name in ("meas", "mask", "orig")}
    scipy.io.savemat(capture, arrays | {"meas": content["meas"][..., :1]})
    told = run(*common, "--resume").stderr
    for name in ("scene_0.tif", "scene_1.tif"):
        assert f"{name} is of what its input held before" in told
    # A part of the measurements is no reason to doubt the others.
    scipy.io.savemat(capture, arrays)
    run(*common, "--overwrite")
    assert "scene_1.tif" not in run(*common, "--overwrite", "--measurements", "0").stderr
