"""Clips small enough to train on in a second, and what tests of training do with runs."""

from __future__ import annotations

import json
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from deqsci_cli.runtime.events import Stepped
from deqsci_cli.training.log import LOG
from deqsci_cli.training.settings import TrainConfig
from deqsci_cli.training.train import train


def clip(frames: int, height: int, width: int, seed: int) -> np.ndarray:
    """Smooth waves that travel, with a sharp edge between them."""
    rng = np.random.default_rng(seed)
    t, y, x = np.mgrid[:frames, :height, :width]
    a, b, c = rng.uniform(0.1, 0.4, 3)
    waves = 0.5 + 0.25 * np.sin(a * x + b * y + t) + 0.2 * ((x - 2 * t) % 23 < 9) * np.cos(c * y)
    return np.rint(255 * np.clip(waves, 0, 1)).astype(np.uint8)


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> tuple[Path, Path]:
    """Folders `train` (a GIF, a PNG, a folder of PNGs) and `held` (a PNG)."""
    root = tmp_path_factory.mktemp("data")
    (root / "train" / "sequence").mkdir(parents=True)
    (root / "held").mkdir()
    iio.imwrite(root / "train" / "a.gif", clip(4, 40, 48, 0))
    iio.imwrite(root / "train" / "b.png", clip(1, 33, 37, 1)[0])
    for n, frame in enumerate(clip(3, 36, 36, 2)):
        iio.imwrite(root / "train" / "sequence" / f"{n}.png", frame)
    iio.imwrite(root / "held" / "c.png", clip(1, 40, 40, 3)[0])
    return root / "train", root / "held"


@pytest.fixture(scope="session")
def films(tmp_path_factory) -> tuple[Path, Path]:
    """Folders `train` (two GIFs) and `held` (one), with frames enough for captures."""
    root = tmp_path_factory.mktemp("films")
    for name, seed in (("train/a", 0), ("train/b", 1), ("held/c", 2)):
        path = root / f"{name}.gif"
        path.parent.mkdir(exist_ok=True)
        iio.imwrite(path, clip(6, 28, 32, seed))
    return root / "train", root / "held"


@pytest.fixture(scope="session")
def denoiser(films, tmp_path_factory) -> Path:
    """The folder of a small model, to start from; its map contracts."""
    out = tmp_path_factory.mktemp("denoiser") / "small"
    train(
        TrainConfig(
            data=(films[0],), validation=films[1], out=out, architecture="cnn",
            options={"channels": 4, "depth": 2}, steps=60, batch_size=8, patch_size=16,
            learning_rate=1e-2, validate_every=60, validation_side=16, device="cpu",
        )
    )  # fmt: skip
    return out


@pytest.fixture
def stop_at():
    """Make a listener that presses Ctrl-C at an event, as a user would while it is shown."""

    def make(step: int, kind: type = Stepped):
        def listen(event) -> None:
            if isinstance(event, kind) and event.step == step:
                raise KeyboardInterrupt

        return listen

    return make


@pytest.fixture
def read_log():
    """The lines of a run's log."""

    def read(out: Path) -> list[dict[str, float]]:
        return [json.loads(line) for line in (out / LOG).read_text().splitlines()]

    return read
