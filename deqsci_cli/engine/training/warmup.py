"""The stage `warmup`: one evaluation of the map, from states on the way to the truth."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from deqsci_cli.engine.training.equilibrium import CaptureStage, EquilibriumValidation, badness
from deqsci_cli.engine.training.videos import CaptureSampler
from deqsci_cli.equilibrium.model import EquilibriumSettings, start_state
from deqsci_cli.errors import UsageError
from deqsci_cli.networks.denoiser import Denoiser

#: how far from the truth the validation begins; 1 is where a reconstruction starts
SHARES = (0.1, 0.3, 1.0)


@dataclass(frozen=True)
class WarmupSettings:
    """Of the stage `warmup`.

    Attributes:
        noise: greatest standard deviation of the noise on the states, in [0, 1] units.
    """

    noise: float = 0.1

    def __post_init__(self) -> None:
        if self.noise < 0:
            raise UsageError("noise must not be negative")


class WarmupStage(CaptureStage):
    """The loss of one evaluation, whose state lies between the start and the truth, with noise.

    Cheap, and enough for a network to learn what films look like and how a mask codes them. It
    has not met its own errors yet: that is for the equilibrium.

    Args:
        network: the denoiser.
        sample: draws the captures of a step.
        solve: the map, and where it starts.
        settings: which states.
    """

    def __init__(
        self,
        network: Denoiser,
        sample: CaptureSampler,
        solve: EquilibriumSettings,
        settings: WarmupSettings,
    ):
        super().__init__(network, sample, solve)
        self.settings = settings

    def forward(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """The mean loss of a step, and its PSNR."""
        f, truth = self.film(step)
        shares, noise = self.sample.uniform(step, 2).to(truth).unbind(1)
        error = f.video(start_state(f, self.solve)) - truth
        error = error * shares.view(-1, 1, 1, 1)
        probe = self.sample.probe(step, truth.shape).to(truth)
        error = error + self.settings.noise * noise.view(-1, 1, 1, 1) * probe
        loss = badness(f.video(f(f.start(truth + error))), truth)
        return loss, {"psnr": -10 * float(loss.detach())}


class WarmupValidation(EquilibriumValidation):
    """PSNR after one evaluation, on the captures of the equilibrium's validation."""

    @torch.no_grad()
    def __call__(self, network: Denoiser) -> dict[str, float]:
        """Means in dB by the distance of the state (`psnr-0.3` …), and over these (`psnr`)."""
        network.eval()
        seen: dict[str, list[float]] = {f"psnr-{share}": [] for share in SHARES}
        for f, truth in self.maps(network):
            error = f.video(start_state(f, self.solve)) - truth
            for share in SHARES:
                video = f.video(f(f.start(truth + share * error)))
                seen[f"psnr-{share}"].append(-10 * float(badness(video, truth)))
        network.train()
        figures = {name: sum(values) / len(values) for name, values in seen.items()}
        return figures | {"psnr": sum(figures.values()) / len(figures)}
