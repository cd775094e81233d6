"""`evaluate` of films: in which unit, against which frames, and what is no film."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.io

from deqsci_cli.errors import InputError
from deqsci_cli.io import read_film
from deqsci_cli.report.metrics import psnr

FAST = ("--model", "gap-tv", "--preview", "none")


def evaluated(run, film, truth) -> dict:
    return json.loads(run("evaluate", film, "--truth", truth, "--json").stdout)


@pytest.mark.parametrize("where", ["in the capture", "beside it"])
def test_a_film_at_another_white_is_compared_in_stored_values(run, capture, tmp_path, where):
    """By hand: the stored film against the stored truth, both in counts of 255."""
    truth = scipy.io.loadmat(capture)["orig"].transpose(2, 0, 1)
    file = capture
    if where == "beside it":
        file = tmp_path / "truth.mat"
        scipy.io.savemat(file, {"orig": truth.transpose(1, 2, 0)})
    run("reconstruct", capture, "--measurements", "0", "--no-truth", "--scale", "100", *FAST,
        "-o", tmp_path / "o")  # fmt: skip
    film = tmp_path / "o" / "scene_0.tif"
    found = evaluated(run, film, file)
    stored = read_film(film).frames * 100
    expected = np.mean(psnr((stored / 255).astype(np.float32), (truth / 255).astype(np.float32)))
    assert found["psnr"] == pytest.approx(expected, abs=1e-3) and expected > 25
    assert "white is 100, that of the truth 255" in found["note"]


def test_files_of_their_own_units_are_compared_by_their_whites(run, capture, tmp_path):
    content = scipy.io.loadmat(capture)
    counts = {k: content[k] for k in ("meas", "mask")}
    floats = counts | {"meas": content["meas"][..., :1] / 255}
    scipy.io.savemat(tmp_path / "floats.mat", floats)
    run("reconstruct", tmp_path / "floats.mat", "--scale", "1", *FAST, "-o", tmp_path / "o")
    found = evaluated(run, tmp_path / "o" / "floats.tif", capture)
    assert found["psnr"] > 25 and found["note"] == ""


@pytest.mark.parametrize("chosen", [":", "1:3"])
def test_a_recording_is_compared_with_the_measurements_that_it_has(run, tmp_path, chosen):
    film = (np.random.default_rng(0).random((16, 20, 12)) * 255).astype(np.uint8)
    scipy.io.savemat(tmp_path / "film.mat", {"video": film})
    run("simulate", tmp_path / "film.mat", "--frames", "4", "-o", tmp_path / "c.h5")
    run("reconstruct", tmp_path / "c.h5", "--sequence", "--measurements", chosen, *FAST,
        "-o", tmp_path / "o")  # fmt: skip
    record = json.loads((tmp_path / "o" / "report.json").read_text())["measurements"][0]
    found = evaluated(run, record["output"], tmp_path / "c.h5")
    assert found["frames"] == found["of"] == 4 * {":": 3, "1:3": 2}[chosen]
    assert found["psnr"] == pytest.approx(record["psnr"], abs=1e-3)


def test_a_preview_is_no_film(run, capture, tmp_path):
    run("reconstruct", capture, *FAST[:2], "--preview", "gif,png,gif", "-o", tmp_path / "o")
    for suffix in ("gif", "png"):
        done = run("evaluate", tmp_path / "o" / f"scene_1.{suffix}", "--truth", capture)
        assert done.exit_code == InputError.exit_code and "this is a preview" in done.stderr
