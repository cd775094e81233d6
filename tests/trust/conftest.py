"""A small camera, captures saved by scipy alone, and the command line run inside this process."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.io
import torch
from typer.testing import CliRunner

from deqsci_cli.cli.app import app
from deqsci_cli.errors import DeqsciError


@pytest.fixture
def deqsci():
    """Run the command line: its exit code, and what it told."""
    torch.set_num_threads(1)

    def invoke(*arguments: object) -> SimpleNamespace:
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        error = result.exception
        if isinstance(error, DeqsciError):
            return SimpleNamespace(code=error.exit_code, told=str(error))
        if error is not None and not isinstance(error, SystemExit):
            raise error
        return SimpleNamespace(code=result.exit_code, told=result.output)

    return invoke


@pytest.fixture
def coded(moving_scene):
    """A camera of 4 frames of 32×40 pixels: mask, film of 8 frames, two measurements; white 255."""
    rng = np.random.default_rng(4)
    mask = (rng.random((4, 32, 40)) < 0.5).astype(np.float64)
    film = np.rint(255 * moving_scene).astype(np.float64)
    return SimpleNamespace(mask=mask, film=film, meas=(mask * film.reshape(2, 4, 32, 40)).sum(1))


@pytest.fixture
def save(tmp_path):
    """Save stacks (·, H, W) as MATLAB users have them."""

    def write(name: str, **arrays: np.ndarray):
        path = tmp_path / name
        scipy.io.savemat(path, {key: array.transpose(1, 2, 0) for key, array in arrays.items()})
        return path

    return write
