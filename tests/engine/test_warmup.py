"""The stage `warmup`, for the recurrent network and for any other."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from deqsci_cli import zoo
from deqsci_cli.engine.train import train
from deqsci_cli.engine.training.clips import load_clips
from deqsci_cli.engine.training.equilibrium import StabilitySettings
from deqsci_cli.engine.training.settings import TrainConfig
from deqsci_cli.engine.training.videos import CaptureSampler, CaptureSettings
from deqsci_cli.engine.training.warmup import WarmupSettings, WarmupStage, WarmupValidation
from deqsci_cli.equilibrium.model import EquilibriumSettings
from deqsci_cli.errors import UsageError
from deqsci_cli.networks.denoiser import FrameDenoiser
from deqsci_cli.physics.sensing import SensingOperator

SMALL = {"features": 4, "state": 4, "blocks": 1}
CAPTURES = CaptureSettings(frames=(3,))
GAP = EquilibriumSettings(map="gap", max_iter=8)


def config(films: tuple[Path, Path], out: Path, **changes) -> TrainConfig:
    base = TrainConfig(
        data=(films[0],), validation=films[1], out=out, stage="warmup", architecture="rnn",
        options=SMALL, steps=6, batch=2, patch=12, learning_rate=3e-3, validate_every=4,
        validation_side=16, device="cpu", captures=CAPTURES, solve=GAP,
    )  # fmt: skip
    return replace(base, **changes)


class Offset(FrameDenoiser):
    """Adds a number, and is one that can be trained."""

    def __init__(self, by: float):
        super().__init__()
        self.by = torch.nn.Parameter(torch.tensor(by))

    def denoise(self, frames: Tensor, sigma: Tensor) -> Tensor:
        return frames + self.by


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_the_states_lie_between_the_start_and_the_truth(films, noise):
    """With D(x) = x + c the loss is that of a projected error, taken by the operator alone."""
    sample = CaptureSampler(load_clips([films[0]]), CAPTURES, patch=12, batch=3, seed=4)
    stage = WarmupStage(Offset(0.01), sample, GAP, WarmupSettings(noise))
    loss, _ = stage(7)
    batch = sample(7)
    operator = SensingOperator(batch.mask)
    shares, levels = sample.uniform(7, 2).float().unbind(1)
    assert ((shares >= 0) & (shares <= 1)).all() and len(set(shares.tolist())) == 3
    probe = sample.probe(7, batch.video.shape).float()
    squares = []
    for b in range(3):
        average = operator.average_frame(batch.measurement)[b]
        state = batch.video[b] + shares[b] * (average - batch.video[b])
        state = state + noise * levels[b] * probe[b]
        alone = SensingOperator(batch.mask[b])
        projected = alone.project(state[None], batch.measurement[b : b + 1])[0]
        squares.append((projected + 0.01 - batch.video[b]).square().mean())
    assert loss.item() == pytest.approx(float(torch.stack(squares).log10().mean()), rel=1e-4)


def test_the_validation_looks_at_fixed_distances(films):
    """Without a denoiser the projected error is as long as the state's, so are the decibels."""
    validation = WarmupValidation(load_clips([films[1]]), frames=3, side=16, solve=GAP)
    figures = validation(Offset(0.0))
    assert set(figures) == {"psnr-0.1", "psnr-0.3", "psnr-1.0", "psnr"}
    assert figures["psnr-0.1"] - figures["psnr-1.0"] == pytest.approx(20, abs=1e-2)
    assert figures["psnr-0.3"] - figures["psnr-1.0"] == pytest.approx(
        20 * math.log10(1 / 0.3), abs=1e-2
    )
    assert figures["psnr"] == pytest.approx(np.mean([v for k, v in figures.items() if k != "psnr"]))


def test_the_network_learns(films, tmp_path):
    run = config(films, tmp_path / "m", steps=60, batch=4, validate_every=1, learning_rate=1e-2)
    first = train(replace(run, steps=1, out=tmp_path / "first")).figures
    best = train(replace(run, validate_every=60)).figures
    assert best["psnr"] > first["psnr"] + 1
    card = zoo.read_card(run.out)
    assert card.architecture == "rnn" and card.training["stage"] == "warmup"
    assert card.equilibrium["map"] == "gap"


def test_a_resumed_run_ends_like_an_uninterrupted_one(films, tmp_path, stop_at):
    whole, parts = (config(films, tmp_path / name) for name in ("whole", "parts"))
    expected = train(whole)
    for step in (1, 5):
        with pytest.raises(KeyboardInterrupt):
            train(parts, stop_at(step))
        parts = replace(parts, resume=True)
    assert train(parts).figures == expected.figures
    assert (parts.out / zoo.WEIGHTS).read_bytes() == (whole.out / zoo.WEIGHTS).read_bytes()


def test_then_comes_the_equilibrium(films, tmp_path):
    train(config(films, tmp_path / "warm"))
    run = config(
        films, tmp_path / "m", stage="equilibrium", architecture=None, options={},
        initial=str(tmp_path / "warm"),
        stability=StabilitySettings(max_iter=3, visits=2, skip_above=1.0),
    )  # fmt: skip
    figures = train(run).figures
    assert math.isfinite(figures["psnr"]) and 0 < figures["contraction"] < 10
    assert zoo.load(str(run.out)).card.options == SMALL


def test_any_denoiser_can_be_warmed_up(films, tmp_path):
    run = config(films, tmp_path / "m", architecture="cnn", options={"channels": 4, "depth": 2})
    assert math.isfinite(train(run).figures["psnr"])


def test_no_single_frames_for_a_network_that_sees_the_measurement(films, tmp_path):
    with pytest.raises(UsageError, match="warmup"):
        train(config(films, tmp_path / "m", stage="denoiser"))
    assert not (tmp_path / "m").exists()


def test_impossible_noise():
    with pytest.raises(UsageError, match="noise"):
        WarmupSettings(-0.1)
