"""A small camera, captures saved by scipy alone, and the command line as it is."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.io
import torch

from deqsci_cli.cli.app import main


@pytest.fixture
def deqsci(monkeypatch, capsys):
    """Run the command line, in this process: its exit code, and what it told."""
    torch.set_num_threads(1)

    def invoke(*arguments: object) -> SimpleNamespace:
        monkeypatch.setattr(sys, "argv", ["deqsci", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        told = capsys.readouterr()
        text = (told.out + told.err).replace("\n", "")
        assert "Traceback" not in text
        return SimpleNamespace(code=end.value.code or 0, told=text)

    return invoke


@pytest.fixture
def coded(moving_scene):
    """A camera of 4 frames of 32×40 pixels: mask, film of 8 frames, two measurements; white 255."""
    rng = np.random.default_rng(4)
    mask = (rng.random((4, 32, 40)) < 0.5).astype(np.float64)
    film = np.rint(255 * moving_scene).astype(np.float64)
    return SimpleNamespace(mask=mask, film=film, meas=(mask * film.reshape(2, 4, 32, 40)).sum(1))


@pytest.fixture
def left():
    """The files of a folder, hidden ones too, by their names in it."""

    def names(folder: Path) -> list[str]:
        files = (p for p in folder.rglob("*") if p.is_file())
        return sorted(str(p.relative_to(folder)) for p in files)

    return names


@pytest.fixture
def save(tmp_path):
    """Save stacks (·, H, W) as MATLAB users have them."""

    def write(name: str, **arrays: np.ndarray):
        path = tmp_path / name
        scipy.io.savemat(path, {key: array.transpose(1, 2, 0) for key, array in arrays.items()})
        return path

    return write
