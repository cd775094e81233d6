"""The stage `denoiser` for a network that sees films."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from deqsci_cli import zoo
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.errors import DeqsciError
from deqsci_cli.networks.denoiser import Denoiser
from deqsci_cli.networks.registry import build
from deqsci_cli.physics.sensing import SensingOperator
from deqsci_cli.training.capture_settings import CaptureSettings
from deqsci_cli.training.captures import CaptureSampler
from deqsci_cli.training.denoiser import LEVELS, DenoiserSettings
from deqsci_cli.training.equilibrium import StabilitySettings
from deqsci_cli.training.patches import load_clips
from deqsci_cli.training.settings import TrainConfig
from deqsci_cli.training.train import train
from deqsci_cli.training.video_denoising import VideoDenoiserStage, VideoDenoiserValidation

SMALL = {"features": 4, "state": 4, "blocks": 1, "channels": 4, "depth": 2}
CAPTURES = CaptureSettings(frames=(3,))
GAP = EquilibriumSettings(consistency_relaxation=1.0, max_iter=8)
each = pytest.mark.parametrize(
    ("architecture", "options"), [("rnn", SMALL), ("video", {"widths": [8, 8]})]
)


def config(films: tuple[Path, Path], out: Path, **changes) -> TrainConfig:
    base = TrainConfig(
        data=(films[0],), validation=films[1], out=out, stage="denoiser", architecture="rnn",
        options=SMALL, steps=6, batch_size=2, patch_size=12, learning_rate=3e-3, validate_every=4,
        validation_side=16, device="cpu", captures=CAPTURES, solve=GAP,
    )  # fmt: skip
    return replace(base, **changes)


class Offset(Denoiser):
    """Adds a number, sees the measurement, and remembers which noise level it was told."""

    uses_measurement = True

    def __init__(self, by: float):
        super().__init__()
        self.by = torch.nn.Parameter(torch.tensor(by))
        self.told: list[Tensor] = []

    def forward(
        self,
        video: Tensor,
        sigma: Tensor | float,
        normalized_measurement: Tensor,
        per_frame_residual: Tensor,
    ) -> Tensor:
        self.told.append(torch.as_tensor(sigma))
        return video + self.by


def test_the_network_meets_projected_noise_of_the_level_that_it_is_told(films):
    """With D(x) = x + c the loss is that of projected noise, taken by the operator alone."""
    sample = CaptureSampler(load_clips([films[0]]), CAPTURES, patch_size=12, batch_size=3, seed=4)
    network = Offset(0.01)
    loss, _ = VideoDenoiserStage(network, sample, GAP, DenoiserSettings((0.1, 0.3)))(7)
    batch = sample(7)
    levels = 0.1 + 0.2 * sample.uniform(7).float()
    assert ((levels >= 0.1) & (levels <= 0.3)).all() and len(set(levels.tolist())) == 3
    torch.testing.assert_close(network.told, [levels])
    probe = sample.probe(7, batch.video.shape).float()
    errors = []
    for b in range(3):
        alone = SensingOperator(batch.mask[b])
        noisy = batch.video[b] + levels[b] * probe[b]
        projected = alone.project(noisy[None], batch.measurement[b])[0]
        errors.append((projected + 0.01 - batch.video[b]).abs().mean())
    assert loss.item() == pytest.approx(float(torch.stack(errors).mean()), rel=1e-4)


def test_the_validation_looks_at_fixed_levels(films):
    """The plain map removes a part of white noise, the accelerated one mirrors it: none is lost."""
    seen = {}
    for r in (0.0, 1.0):
        solve = EquilibriumSettings(consistency_relaxation=r)
        validation = VideoDenoiserValidation(load_clips([films[1]]), frames=3, side=16, solve=solve)
        seen[r] = validation(Offset(0.0))
        assert set(seen[r]) == {*(f"psnr-{level}" for level in LEVELS), "psnr"}
    for level in LEVELS:
        white = 20 * math.log10(255 / level)
        assert seen[0.0][f"psnr-{level}"] == pytest.approx(white, abs=0.4)
        assert white + 0.5 < seen[1.0][f"psnr-{level}"] < white + 3


@each
def test_the_network_learns(films, tmp_path, architecture, options):
    run = config(films, tmp_path / "m", architecture=architecture, options=options, batch_size=4)
    run = replace(run, steps=150, validate_every=1, learning_rate=1e-2)
    first = train(replace(run, steps=1, out=tmp_path / "first")).figures
    best = train(replace(run, validate_every=150)).figures
    assert best["psnr"] > first["psnr"] + 1
    card = zoo.read_card(run.out)
    assert card.architecture == architecture and card.training["stage"] == "denoiser"
    assert card.equilibrium["consistency_relaxation"] == 1


def test_a_resumed_run_ends_like_an_uninterrupted_one(films, tmp_path, stop_at):
    whole, parts = (config(films, tmp_path / name) for name in ("whole", "parts"))
    expected = train(whole)
    for step in (1, 5):
        with pytest.raises(KeyboardInterrupt):
            train(parts, stop_at(step))
        parts = replace(parts, resume=True)
    assert train(parts).figures == expected.figures
    assert (parts.out / zoo.WEIGHTS).read_bytes() == (whole.out / zoo.WEIGHTS).read_bytes()


@each
def test_then_comes_the_equilibrium(films, tmp_path, architecture, options):
    train(config(films, tmp_path / "warm", architecture=architecture, options=options))
    run = config(
        films, tmp_path / "m", stage="equilibrium", architecture=None, options={},
        init_from=str(tmp_path / "warm"),
        stability=StabilitySettings(max_iter=3, reuse_steps=2, max_residual=1.0),
    )  # fmt: skip
    figures = train(run).figures
    assert math.isfinite(figures["psnr"]) and 0 < figures["spectral_radius"] < 10
    assert zoo.load(str(run.out)).card.options == options


def test_a_model_that_sees_the_measurement_and_has_more_blocks_begins_as_a_smaller_one(
    films, tmp_path
):
    small, large = {"widths": [8, 8]}, {"widths": [8, 8], "blocks": 2, "measurement": True}
    train(config(films, tmp_path / "small", architecture="video", options=small))
    run = config(
        films, tmp_path / "large", architecture=None, options={"blocks": 2, "measurement": True},
        init_from=str(tmp_path / "small"), steps=1, learning_rate=1e-12,
    )  # fmt: skip
    train(run)
    grown, first = zoo.load(str(run.out)), zoo.load(str(tmp_path / "small"))
    assert grown.card.options == large
    seen = torch.rand(3, 1, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(
            grown.network(seen[0], 0.1, *seen[1:]), first.network(seen[0], 0.1)
        )


@pytest.fixture
def frames(films, tmp_path) -> zoo.Model:
    """A frame denoiser."""
    options = {"channels": 4, "depth": 2}
    out = tmp_path / "frames"
    train(config(films, out, architecture="ffdnet", options=options, steps=2))
    return zoo.load(str(out))


def test_a_frame_denoiser_becomes_a_part_and_stays_as_it_is(films, frames, tmp_path):
    run = config(
        films, tmp_path / "m", init_from=str(tmp_path / "frames"), frozen=("frames",), steps=3
    )
    train(run)
    found = zoo.load(str(run.out)).network.state_dict()
    for name, weight in frames.network.state_dict().items():
        assert torch.equal(found.pop(f"frames.{name}"), weight)
    torch.manual_seed(run.seed)
    fresh = build("rnn", SMALL).state_dict()
    moved = [name for name, weight in found.items() if not torch.equal(weight, fresh[name])]
    assert len(moved) == len(found)
    # Left free, it moves along.
    free = replace(run, out=tmp_path / "free", frozen=())
    train(free)
    other = zoo.load(str(free.out)).network.get_submodule("frames").state_dict()
    assert not any(torch.equal(other[k], w) for k, w in frames.network.state_dict().items())


def test_parts_that_do_not_fit(films, frames, tmp_path):
    given = {"init_from": str(tmp_path / "frames")}
    for changes, message in (
        (given | {"architecture": "cnn", "options": {}}, "ffdnet is no part of cnn"),
        (given | {"options": SMALL | {"depth": 3}}, "weights of frames do not fit"),
        ({"frozen": ("frame",)}, "rnn has no part 'frame'"),
        (
            {"architecture": "ffdnet", "options": {"depth": 2}, "frozen": ("layers",)},
            "nothing to train",
        ),
    ):
        with pytest.raises(DeqsciError, match=message):
            train(config(films, tmp_path / "m", **changes))
        assert not (tmp_path / "m").exists()
