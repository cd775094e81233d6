"""The stage `denoiser` for a network that sees films: Gaussian noise on all frames of a capture."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from deqsci_cli.equilibrium.maps import GAPMap
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.networks.denoiser import Denoiser
from deqsci_cli.training.captures import CaptureSampler
from deqsci_cli.training.denoiser import LEVELS, DenoiserSettings
from deqsci_cli.training.equilibrium import CaptureStage, mean_psnr
from deqsci_cli.training.validation import EquilibriumValidation


class VideoDenoiserStage(CaptureStage):
    """The mean absolute error of one evaluation of the map, from the truth under Gaussian noise.

    The network meets the noise as it will in a reconstruction: after data consistency, with what
    the measurement tells of the film beside it.

    Args:
        network: the denoiser.
        sample: draws the captures of a step.
        solve: the map.
        settings: which noise, a level drawn for each capture.
    """

    def __init__(
        self,
        network: Denoiser,
        sample: CaptureSampler,
        solve: EquilibriumSettings,
        settings: DenoiserSettings,
    ):
        super().__init__(network, sample, solve)
        self.settings = settings

    def forward(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """The mean loss of a step, and its PSNR."""
        f, truth = self.film(step)
        self.ahead.prepare(step + 1)
        low, high = self.settings.sigma_range
        sigma = (low + (high - low) * self.sample.uniform(step)).to(truth)
        noise = self.sample.probe(step, truth.shape).to(truth)
        video = evaluate_at(f, truth, noise, sigma)
        return F.l1_loss(video, truth), {"psnr": mean_psnr(video.detach(), truth)}


class VideoDenoiserValidation(EquilibriumValidation):
    """PSNR after one evaluation, under fixed noise, on the equilibrium's held-out captures."""

    @torch.no_grad()
    def __call__(self, network: Denoiser) -> dict[str, float]:
        """Mean PSNR in dB by level (`psnr-12` …), and over all levels (`psnr`)."""
        network.eval()
        seen: dict[str, list[float]] = {f"psnr-{level}": [] for level in LEVELS}
        noises = torch.Generator().manual_seed(0)
        for f, truth in self.maps(network):
            noise = torch.randn(truth.shape, generator=noises).to(truth)
            for level in LEVELS:
                video = evaluate_at(f, truth, noise, truth.new_tensor([level / 255]))
                seen[f"psnr-{level}"].append(mean_psnr(video, truth))
        network.train()
        figures = {name: sum(values) / len(values) for name, values in seen.items()}
        return figures | {"psnr": sum(figures.values()) / len(figures)}


def evaluate_at(f: GAPMap, truth: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """One evaluation of a map from the truth under noise of standard deviation `sigma`, `(B,)`."""
    f.sigma = sigma
    return f.video(f(f.start(truth + sigma.view(-1, 1, 1, 1) * noise)))
