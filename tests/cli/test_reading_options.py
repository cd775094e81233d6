"""How captures are to be read: the same options for every command, and mistakes told once."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
import scipy.io
import tifffile

from deqsci_cli.errors import UsageError

FAST = ("--model", "gap-tv", "--max-iter", 3, "--preview", "none")


@pytest.fixture
def longer(capture, tmp_path):
    """The capture with a mask of 30 frames, of which 5 to 12 are its own, and coloured truth."""
    content = scipy.io.loadmat(capture)
    mask = np.random.default_rng(0).random((*content["mask"].shape[:2], 30))
    mask[..., 5:13] = content["mask"]
    colour = np.stack([content["orig"]] * 3, axis=2)
    path = tmp_path / "longer.mat"
    scipy.io.savemat(path, {"meas": content["meas"], "mask": mask, "orig": colour})
    return path


def test_reconstruct(run, longer, capture, tmp_path):
    run("reconstruct", longer, "-o", tmp_path / "a", *FAST, "--frames", "5:13", "--scale", 255)
    run("reconstruct", capture, "-o", tmp_path / "b", *FAST, "--no-truth", "--scale", 255)
    films = [tmp_path / "a" / "longer_0.tif", tmp_path / "b" / "scene_0.tif"]
    np.testing.assert_array_equal(*[tifffile.imread(film) for film in films])
    report = json.loads((tmp_path / "a" / "report.json").read_text())
    assert report["config"]["read_options"]["frames"] == "5:13"
    for record in report["measurements"]:
        assert record["psnr"] is None and record["replaced"] == []
        truth, frames = record["notes"]
        assert truth.startswith("truth not used") and "5 to 12" in frames
    other = json.loads((tmp_path / "b" / "report.json").read_text())
    assert other["config"]["read_options"]["truth"] is False
    assert all(r["psnr"] is None and r["notes"] == [] for r in other["measurements"])


def test_notes_are_told_by_every_command(run, longer, tmp_path):
    cut = ("--frames", "5:13")
    commands = [
        ("reconstruct", longer, "-o", tmp_path / "o", *FAST, *cut),
        ("inspect", longer, *cut),
        ("convert", longer, tmp_path / "c.h5", *cut),
        ("models", "diagnose", "gap-tv", longer, *cut, "--side", 16, "--evaluations", 3),
    ]
    for command in commands:
        told = run(*command).output
        assert "truth not used" in told and "5 to 12" in told, command[0]
    with h5py.File(tmp_path / "c.h5") as file:
        assert file["mask"].shape[0] == 8 and "orig" not in file


def test_a_benchmark_cuts_the_mask(run, longer, capture):
    arrays = {name: scipy.io.loadmat(longer)[name] for name in ("meas", "mask")}
    scipy.io.savemat(longer, arrays | {"orig": scipy.io.loadmat(capture)["orig"]})
    fast = ("--models", "gap-tv", "--max-iter", 3, "--json", "-q")
    one = run("evaluate", "--benchmark", longer, *fast, "--mask-frames", "5:13").stdout
    other = run("evaluate", "--benchmark", capture, *fast).stdout
    assert json.loads(one)["psnr"] == json.loads(other)["psnr"]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--scale", 0),
        ("--scale", 1e39),
        ("--axes", "ABC"),
        ("--nan", "mean"),
        ("--frames", "5:2"),
        ("--no-truth", "--truth-key=orig"),
    ],
)
def test_a_mistake_of_an_option_is_no_fault_of_the_files(run, capture, tmp_path, option, value):
    with pytest.raises(UsageError) as told:
        run("reconstruct", capture, capture, "-o", tmp_path / "o", *FAST, option, value)
    assert option in str(told.value) and told.value.path is None
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("value", ["many", "1e9", "-1", "0", "", "²", "9" * 5000])
def test_a_nonsense_limit_is_no_fault_of_the_files(run, capture, tmp_path, monkeypatch, value):
    monkeypatch.setenv("DEQSCI_MAX_BYTES", value)
    other = tmp_path / "other.mat"
    other.write_bytes(capture.read_bytes())
    for command in (
        ("reconstruct", capture, other, "-o", tmp_path / "o", *FAST),
        ("inspect", capture),
        ("convert", capture, tmp_path / "c.h5"),
    ):
        with pytest.raises(UsageError, match="DEQSCI_MAX_BYTES") as told:
            run(*command)
        assert told.value.path is None and len(str(told.value)) < 300
    assert not (tmp_path / "o").exists()
