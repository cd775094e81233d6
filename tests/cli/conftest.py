"""A small capture, and ways to run the command line on it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import scipy.io
import torch
from typer.testing import CliRunner

from deqsci_cli import zoo
from deqsci_cli.cli.app import app
from deqsci_cli.errors import DeqsciError
from deqsci_cli.networks.registry import build


@pytest.fixture
def capture(tmp_path, moving_scene):
    """A .mat as MATLAB users have it, written by scipy alone: 2 measurements, truth of 1."""
    rng = np.random.default_rng(1)
    mask = (rng.random(moving_scene.shape) < 0.5).astype(np.uint8)
    video = np.rint(moving_scene * 255)
    meas = np.stack([(video * mask).sum(0), (video[::-1] * mask).sum(0)])
    path = tmp_path / "scene.mat"
    scipy.io.savemat(
        path,
        {
            "meas": meas.transpose(1, 2, 0).astype(np.uint16),
            "mask": mask.transpose(1, 2, 0),
            "orig": video.transpose(1, 2, 0).astype(np.uint8),
        },
    )
    return path


@pytest.fixture
def run():
    """Run the command line inside this process; a user's error is raised."""
    torch.set_num_threads(1)

    def invoke(*arguments):
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        if isinstance(result.exception, DeqsciError):
            raise result.exception
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return invoke


@pytest.fixture
def deqsci(environment, tmp_path):
    """Run the command line as a user does, in a process of its own."""

    def invoke(*arguments):
        command = [sys.executable, "-m", "deqsci_cli", *map(str, arguments)]
        return subprocess.run(
            command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=120
        )

    return invoke


@pytest.fixture
def exploding_model(tmp_path):
    """A model whose denoiser triples its input: f(x) = 3 x on what the mask leaves open."""
    network = build("cnn", {"channels": 2, "depth": 2})
    state = {k: torch.zeros_like(v) for k, v in network.state_dict().items()}
    state["layers.0.weight"][:, 0, 1, 1] = torch.tensor([1.0, -1.0])
    state["layers.1.weight"][0, :, 1, 1] = torch.tensor([-2.0, 2.0])
    network.load_state_dict(state)
    card = zoo.Card(
        "exploding", "", "cnn", {"channels": 2, "depth": 2}, {"consistency_relaxation": 1.0}
    )
    zoo.save_model(tmp_path / "exploding", network, card, overwrite=False)
    return tmp_path / "exploding"


@pytest.fixture
def run_code(run):
    """The exit code of a run inside this process."""

    def invoke(*arguments):
        try:
            return run(*arguments).exit_code
        except DeqsciError as error:
            return error.exit_code

    return invoke
