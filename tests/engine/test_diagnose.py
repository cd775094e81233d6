"""`models diagnose` on models whose spectrum is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from deqsci_cli import zoo
from deqsci_cli.engine.diagnose import DiagnoseConfig, diagnose, judge_convergence
from deqsci_cli.errors import InputError, UsageError
from deqsci_cli.io import write_capture
from deqsci_cli.networks.registry import build


def scaling_model(folder: Path, factor: float) -> str:
    """A model whose denoiser is `D(x) = factor * x`, made of two convolutions."""
    network = build("cnn", {"channels": 2, "depth": 2})
    with torch.no_grad():
        for layer in network.layers:
            layer.weight.zero_()
        network.layers[0].weight[:, 0, 1, 1] = torch.tensor([1.0, -1.0])
        network.layers[1].weight[0, :, 1, 1] = (1 - factor) * torch.tensor([1.0, -1.0])
    card = zoo.Card(
        folder.name, "", "cnn", {"channels": 2, "depth": 2}, {"consistency_relaxation": 1.0}
    )
    zoo.save_model(folder, network, card, overwrite=True)
    return str(folder)


@pytest.fixture
def capture(tmp_path) -> Path:
    rng = np.random.default_rng(0)
    # Closed elements would rest at 0, where the rectifiers of the model have a kink.
    mask = rng.uniform(0.2, 1, (4, 24, 24)).astype(np.float32)
    video = rng.random((4, 24, 24), dtype=np.float32)
    path = tmp_path / "c.mat"
    measurement = (mask * video).sum(0, keepdims=True)
    write_capture(path, measurements=measurement, mask=mask, truth=None, scale=1.0, provenance={},
                  overwrite=False)  # fmt: skip
    return path


# On the null space of the camera plain GAP is the denoiser itself, so its eigenvalue is the factor.
@pytest.mark.parametrize(
    ("factor", "verdict", "relaxation"),
    [(0.7, "plain", 2 / 1), (-0.6, "plain", 2 / 1.6), (-1.5, "accelerated", 0.8), (1.4, "none", 0)],
)
def test_the_verdict_is_that_of_the_known_eigenvalue(
    tmp_path, capture, factor, verdict, relaxation
):
    name = scaling_model(tmp_path / "m", factor)
    (found,) = diagnose(DiagnoseConfig(name, (capture,), side=16, evaluations=40))
    assert found.spectral_radius == pytest.approx(abs(factor), rel=1e-4)
    assert found.dominant == pytest.approx((factor, 0), abs=1e-4)
    assert found.verdict == verdict
    # The range of the camera has the eigenvalue 0, which allows no more than 2.
    assert found.max_relaxation == pytest.approx(relaxation, rel=1e-3)


def test_the_decay_of_plain_iteration_is_the_spectral_radius(tmp_path, capture):
    name = scaling_model(tmp_path / "m", 0.7)
    (found,) = diagnose(DiagnoseConfig(name, (capture,), side=16, evaluations=30))
    ratios = np.divide(found.plain[6:11], found.plain[5:10])
    assert ratios == pytest.approx(0.7, rel=0.05)
    assert len(found.accelerated) < len(found.plain)


def test_a_map_that_is_nowhere_at_rest(tmp_path, capture):
    name = scaling_model(tmp_path / "m", 0.7)
    (found,) = diagnose(DiagnoseConfig(name, (capture,), side=None, evaluations=2))
    assert found.verdict == "none" and "no fixed point was found" in found.words


@pytest.mark.parametrize(
    ("arguments", "verdict", "words"),
    [((0.9, 0.9, 2.0, 0.01), "plain", "factor of 0.900"),
     ((0.999, 0.9, 2.0, 0.01), "plain", "unless the estimate is off"),
     ((1.2, 0.9, 0.5, 0.01), "accelerated", "a relaxation below 0.50"),
     ((1.2, 1.1, 0.0, 0.01), "none", "unstable")],
)  # fmt: skip
def test_the_words(arguments, verdict, words):
    *values, error = arguments
    said = judge_convergence(*values, error=error, residual=1e-5)
    assert said[0] == verdict and words in said[1]


def test_impossible_requests(tmp_path, capture):
    name = scaling_model(tmp_path / "m", 0.5)
    for wrong in ({"evaluations": 1}, {"side": 4}):
        with pytest.raises(UsageError):
            DiagnoseConfig(name, (capture,), **wrong)
    with pytest.raises(InputError):
        diagnose(DiagnoseConfig(name, (tmp_path / "none.mat",)))


def test_the_command(tmp_path, capture):
    from typer.testing import CliRunner

    from deqsci_cli.cli.app import app

    name = scaling_model(tmp_path / "m", -1.5)
    runner = CliRunner()
    asked = ["models", "diagnose", name, str(capture), "--side", "16", "--evaluations", "30"]
    shown = runner.invoke(app, asked)
    assert shown.exit_code == 0 and "accelerated" in shown.stdout and "1.500" in shown.stdout
    assert "diverges" in shown.stderr
    spoken = json.loads(runner.invoke(app, [*asked, "--json", "--quiet"]).stdout)
    assert spoken["verdict"] == "accelerated" and max(spoken["plain"]) > 1
