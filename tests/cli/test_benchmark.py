"""`evaluate --benchmark`: the table agrees with `reconstruct`, and what disturbs shows in it."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from deqsci_cli.cli import console
from deqsci_cli.engine.benchmark import shifted
from deqsci_cli.errors import OutputExistsError, UsageError


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
    assert score["status"] == "converged" and len(score["psnrs"]) == score["evaluations"]
    assert score["psnrs"][-1] == pytest.approx(score["psnr"], abs=1e-4)
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


@pytest.mark.parametrize("sweep", ["noise=0,0.1,0.3", "shift=0,0.5,1"])
def test_what_disturbs_more_costs_more(run, capture, tmp_path, sweep):
    pytest.importorskip("matplotlib")
    run(
        *("evaluate", "--benchmark", capture, "--models", "gap-tv", "-o", tmp_path / "b"),
        *("--sweep", sweep),
    )
    scores = json.loads((tmp_path / "b" / "benchmark.json").read_text())["scores"]
    quality = [score["psnr"] for score in scores]
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
    assert ">0.001</text>" in drawn and ">0.005</text>" in drawn  # numbers, and not too many
    assert ">0.004</text>" not in drawn


def test_a_shifted_mask():
    mask = np.zeros((1, 5, 5), np.float32)
    mask[0, 2, 2] = 1
    assert shifted(mask, 1.0)[0, 3, 3] == 1 and shifted(mask, 0.0)[0, 2, 2] == 1
    np.testing.assert_allclose(shifted(mask, 0.5)[0, 2:4, 2:4], 0.25)


@pytest.mark.parametrize("wrong", ["speed=1", "noise=", "noise=a", "shift=-1", "tol=inf"])
def test_sweeps_that_cannot_be_meant(run, capture, wrong):
    with pytest.raises(UsageError):
        run("evaluate", "--benchmark", capture, "--models", "gap-tv", "--sweep", wrong)


def test_either_films_or_a_benchmark(run, capture):
    for arguments in ((), (capture,), ("--benchmark", capture, capture)):
        with pytest.raises(UsageError):
            run("evaluate", *arguments)


def test_what_is_not_finite_is_null_in_json(capsys):
    console.json_line({"residuals": (1.5, float("inf")), "psnr": float("nan")})
    assert json.loads(capsys.readouterr().out) == {"residuals": [1.5, None], "psnr": None}
