"""`evaluate --benchmark`: the table agrees with `reconstruct`, and what disturbs shows in it."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pytest
import scipy.io

from deqsci_cli.cli import console
from deqsci_cli.engine.sweep import displaced, flickering
from deqsci_cli.errors import InputError, OutputExistsError, UsageError


def lines(result, *, told=None):
    """The objects of `--json`; those alone where the camera was told, or was not."""
    found = [json.loads(line) for line in result.stdout.splitlines()]
    return [score for score in found if told in (None, score["told"])]


def test_the_table_has_the_figures_of_reconstruct(run, capture, tmp_path):
    run("reconstruct", capture, "--model", "gap-tv", "-o", tmp_path / "o", "--preview", "none")
    record = json.loads((tmp_path / "o" / "report.json").read_text())["measurements"][0]
    out = tmp_path / "b"
    shown = run("evaluate", "--benchmark", capture, "--models", "gap-tv", "-o", out)
    content = json.loads((out / "benchmark.json").read_text())
    (score,) = content["scores"]
    for name in ("psnr", "ssim", "status", "evaluations", "residual", "frame_psnr", "frame_ssim"):
        assert score[name] == record[name]
    assert content["means"][0]["psnr"] == score["psnr"]
    # By every evaluation, of which the last one met the tolerance here.
    assert score["status"] == "converged" and len(score["psnr_trace"]) == score["evaluations"]
    assert score["psnr_trace"][-1] == pytest.approx(score["psnr"], abs=1e-4)
    (row,) = csv.DictReader((out / "benchmark.csv").read_text().splitlines())
    assert float(row["psnr"]) == score["psnr"]
    assert f"{score['psnr']:.2f}" in shown.stdout
    assert f"| {score['psnr']:.2f} |" in (out / "benchmark.md").read_text()
    assert "1 of 2 measurements have no truth" in shown.stderr
    with pytest.raises(OutputExistsError):
        run("evaluate", "--benchmark", capture, "--models", "gap-tv", "-o", out)


def test_what_another_precision_costs(run, capture, tmp_path):
    quality = {}
    for dtype in ("float32", "bfloat16"):
        out, alike = tmp_path / dtype, ("--max-iter", "4", "--dtype", dtype)
        run("reconstruct", capture, "--model", "pnp-cnn", "-o", out, "--preview", "none", *alike)
        shown = run("evaluate", "--benchmark", capture, "--models", "pnp-cnn", "--json", *alike)
        quality[dtype] = json.loads(shown.stdout)["psnr"]
        report = json.loads((out / "report.json").read_text())
        assert quality[dtype] == report["measurements"][0]["psnr"]
    assert 0 < abs(quality["float32"] - quality["bfloat16"]) < 0.5
    with pytest.raises(UsageError):
        run("evaluate", "--benchmark", capture, "--models", "gap-tv", "--dtype", "float16")


@pytest.mark.parametrize(
    "sweep",
    [
        *("noise=0,0.1,0.3", "shift=0,0.1,0.25,0.5,1", "offset=0,0.1,0.3", "gains=0,0.1,0.3,0.6"),
    ],
)
def test_what_disturbs_more_costs_more(run, capture, tmp_path, sweep):
    pytest.importorskip("matplotlib")
    run(
        *("evaluate", "--benchmark", capture, "--models", "gap-tv", "-o", tmp_path / "b"),
        *("--sweep", sweep),
    )
    scores = json.loads((tmp_path / "b" / "benchmark.json").read_text())["scores"]
    quality = [score["psnr"] for score in scores if not score["told"]]
    assert quality == sorted(quality, reverse=True) and quality[0] > quality[-1] + 1
    assert (tmp_path / "b" / "benchmark.svg").read_text().count("<svg") == 1


def test_a_sweep_of_the_tolerance(run, capture, tmp_path):
    pytest.importorskip("matplotlib")
    command = ("evaluate", "--benchmark", capture, "--models", "gap-tv", "-o", tmp_path / "b")
    run(*command, "--sweep", "tol=1e-2,3e-3,3e-4")
    scores = json.loads((tmp_path / "b" / "benchmark.json").read_text())["scores"]
    assert all(score["residual"] <= score["value"] for score in scores)
    assert sorted({score["evaluations"] for score in scores}) == [s["evaluations"] for s in scores]
    drawn = (tmp_path / "b" / "benchmark.svg").read_text()
    numbers = re.findall(r">(\d+e.\d+)</text>", drawn)
    assert 2 <= len(numbers) <= 4  # of one style, and not too many
    assert not re.search(r">0\.00\d", drawn)


def test_a_shift_is_the_cameras(run, capture, tmp_path):
    """The measurement is of the displaced mask, the model is told the file's."""
    content = scipy.io.loadmat(capture)
    video = content["orig"].astype(float)
    away = np.roll(content["mask"], (2, 2), axis=(0, 1))
    content["meas"] = (video * away).sum(2, keepdims=True)
    scipy.io.savemat(tmp_path / "away.mat", {k: content[k] for k in ("meas", "mask", "orig")})
    common = ("--models", "gap-tv", "--json")
    (expected,) = lines(run("evaluate", "--benchmark", tmp_path / "away.mat", *common))
    shown = run("evaluate", "--benchmark", capture, *common, "--sweep", "shift=0,2")
    still, moved = lines(shown, told=False)
    assert moved["psnr"] == pytest.approx(expected["psnr"], abs=0.01)
    (plain,) = lines(run("evaluate", "--benchmark", capture, *common))
    assert still["psnr"] == pytest.approx(plain["psnr"], abs=0.01)
    assert "from its truth" in shown.stderr


@pytest.mark.parametrize(("sweep", "gain"), [("shift=1", 10), ("offset=0.2", 3), ("gains=0.4", 2)])
def test_a_camera_that_is_told_costs_nothing(run, capture, tmp_path, sweep, gain):
    """Told, it is as good as the file's own measurement; tables, page and plot show both."""
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    common = ("evaluate", "--benchmark", capture, "--models", "gap-tv", "--tol", "1e-4")
    (plain,) = lines(run(*common, "--json"))
    run(*common, "--sweep", sweep, "-o", tmp_path / "b")
    content = json.loads((tmp_path / "b" / "benchmark.json").read_text())
    untold, told = content["scores"]
    what, _, value = sweep.partition("=")
    label = f"gap-tv, {what} {value}"
    assert (untold["label"], told["label"]) == (label, f"{label}, told")
    assert (untold["told"], told["told"]) == (False, True)
    assert told["psnr"] > untold["psnr"] + gain
    # The camera's mask is another one here, and so is the answer, a little.
    assert told["psnr"] == pytest.approx(plain["psnr"], abs=0.02 if what == "offset" else 2)
    assert [row["told"] for row in content["means"]] == [False, True]
    texts = [(tmp_path / "b" / f"benchmark.{kind}").read_text() for kind in ("md", "csv", "svg")]
    assert "| gap-tv, told |" in texts[0] and f"{told['psnr']:.2f}" in texts[0]
    assert [row["told"] for row in csv.DictReader(texts[1].splitlines())] == ["False", "True"]
    assert ">gap-tv, told</text>" in texts[2]
    assert f"{label}, told" in (tmp_path / "b" / "report.html").read_text()


def test_clipped_pixels_are_found_or_told(run, capture):
    """The brightest tenth is flat; not looked at, it costs less than believed."""
    content = scipy.io.loadmat(capture)
    common = ("--models", "gap-tv", "--json")
    shown = run("evaluate", "--benchmark", capture, *common, "--sweep", "saturation=0,0.1")
    clean, found = lines(shown, told=False)
    nothing, told = lines(shown, told=True)
    assert clean["psnr"] == nothing["psnr"] and found["psnr"] == told["psnr"] < clean["psnr"]
    meas = content["meas"].astype(float)
    level = np.quantile(meas[..., 0], 0.9, method="lower")
    content["meas"] = np.minimum(meas, level)
    scipy.io.savemat(capture, {k: content[k] for k in ("meas", "mask", "orig")})
    believed, same = (
        lines(run("evaluate", "--benchmark", capture, *common, "--saturation", level))[0]["psnr"]
        for level in ("none", "auto")
    )
    assert believed < found["psnr"] - 0.5
    assert same == pytest.approx(found["psnr"], abs=0.01)


@pytest.mark.parametrize("value", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("frames", [1, 2, 8])
def test_gains_of_a_lamp_that_flickers(frames, value):
    mask = np.ones((frames, 3, 4), np.float32)
    gains = flickering(mask, value, seed=3)[:, 0, 0]
    assert gains.mean() == pytest.approx(1, abs=1e-6)
    assert np.abs(gains - 1).max() == pytest.approx(value if frames > 1 else 0, abs=1e-6)
    np.testing.assert_array_equal(gains, flickering(mask, value, seed=3)[:, 0, 0])


def test_noise_of_the_file_does_not_come_into_a_shift(run, capture):
    content = scipy.io.loadmat(capture)
    common = ("--benchmark", capture, "--models", "gap-tv", "--json", "--sweep", "shift=0,0.5")
    clean = [score["psnr"] for score in lines(run("evaluate", *common))]
    rng = np.random.default_rng(0)
    content["meas"] = content["meas"] + rng.normal(0, 20, content["meas"].shape)
    scipy.io.savemat(capture, {k: content[k] for k in ("meas", "mask", "orig")})
    assert [score["psnr"] for score in lines(run("evaluate", *common))] == clean


def test_a_measurement_without_all_its_truth_cannot_be_coded_anew(run, capture):
    content = scipy.io.loadmat(capture)
    content["orig"] = content["orig"][..., :5]
    scipy.io.savemat(capture, {k: content[k] for k in ("meas", "mask", "orig")})
    common = ("evaluate", "--benchmark", capture, "--models", "gap-tv", "--json")
    assert lines(run(*common))[0]["frames"] == 5
    with pytest.raises(InputError, match="no capture has truth"):
        run(*common, "--sweep", "shift=0,1")


@pytest.mark.parametrize("shape", [(2, 31, 41), (2, 32, 40)])
def test_a_displaced_mask_keeps_its_contrast(shape):
    rng = np.random.default_rng(0)
    mask = (rng.random(shape) < 0.5).astype(np.float32)
    for pixels in (0, 1, 3):
        np.testing.assert_array_equal(displaced(mask, pixels), np.roll(mask, pixels, (1, 2)))
    for pixels in (0.1, 0.25, 0.5, 0.75, 1.5):
        assert displaced(mask, pixels).std() == pytest.approx(mask.std(), rel=0.03)
    y, x = np.mgrid[: shape[1], : shape[2]]

    def wave(d: float) -> np.ndarray:
        phase = 3 * (y - d) / shape[1] - 5 * (x - d) / shape[2]
        return np.broadcast_to(0.5 + 0.4 * np.cos(2 * np.pi * phase), shape).astype(np.float32)

    np.testing.assert_allclose(displaced(wave(0), 1.3), wave(1.3), atol=1e-5)


def test_further_than_a_pixel_nothing_is_left_to_lose(run, capture):
    """Half pixels beyond are as bad as whole ones: what differs is the place alone."""
    common = ("--benchmark", capture, "--models", "gap-tv", "--json")
    shown = run("evaluate", *common, "--sweep", "shift=0,1,1.5,2,2.5,3")
    scores = lines(shown, told=False)
    near, *far = [score["psnr"] for score in scores]
    assert max(far) - min(far) < 1.5 and near > max(far) + 5


def test_the_options_that_reconstruct_has(run, capture, tmp_path):
    content = scipy.io.loadmat(capture)
    mine = tmp_path / "mine.mat"
    names = {"snap": "meas", "code": "mask", "film": "orig"}
    others = {k: np.flip(content[v]) for k, v in names.items()}  # of the same shapes
    arrays = {k: content[v] for k, v in names.items()} | {f"{k}2": v for k, v in others.items()}
    scipy.io.savemat(mine, arrays)
    keys = ("--measurement-key", "snap", "--mask-key", "code", "--truth-key", "film")
    how = ("--solver", "picard", "--tol", "1e-2", "--max-iter", "7", "--scale", "255")
    run("reconstruct", mine, "--model", "gap-tv", "-o", tmp_path / "o", "--preview", "none",
        "--measurements", "0", *keys, *how)  # fmt: skip
    (record,) = json.loads((tmp_path / "o" / "report.json").read_text())["measurements"]
    shown = run("evaluate", "--benchmark", mine, "--models", "gap-tv", "--json", *keys, *how)
    (score,) = lines(shown)
    for name in ("psnr", "evaluations", "residual"):
        assert score[name] == record[name]


def test_the_seed_is_of_the_added_noise(run, capture):
    common = ("--benchmark", capture, "--models", "gap-tv", "--json", "--sweep", "noise=0.1")
    seeds = [lines(run("evaluate", *common, "--seed", seed))[0]["psnr"] for seed in (0, 1, 1)]
    assert seeds[0] != seeds[1] == seeds[2]


@pytest.mark.parametrize(
    "wrong", ["speed=1", "noise=", "noise=a", "shift=-1", "tol=inf", "gains=1", "saturation=1"]
)
def test_sweeps_that_cannot_be_meant(run, capture, wrong):
    with pytest.raises(UsageError):
        run("evaluate", "--benchmark", capture, "--models", "gap-tv", "--sweep", wrong)


def test_either_films_or_a_benchmark(run, capture):
    for arguments in ((), (capture,), ("--benchmark", capture, capture)):
        with pytest.raises(UsageError):
            run("evaluate", *arguments)


@pytest.mark.parametrize("option", [("--solver", "picard"), ("--scale", 1), ("-o", "x")])
def test_options_that_films_leave_without_a_meaning(run, capture, option):
    with pytest.raises(UsageError, match=option[0] if len(option[0]) > 2 else "--out"):
        run("evaluate", capture, "--truth", capture, *option)


def test_what_is_not_finite_is_null_in_json(capsys):
    console.json_line({"residual_trace": (1.5, float("inf")), "psnr": float("nan")})
    assert json.loads(capsys.readouterr().out) == {"residual_trace": [1.5, None], "psnr": None}
