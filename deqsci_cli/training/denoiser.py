"""The stage `denoiser`: a network learns to take Gaussian noise off single frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from deqsci_cli.errors import UsageError
from deqsci_cli.io.axes import centre_crop
from deqsci_cli.networks.denoiser import Denoiser
from deqsci_cli.report.metrics import psnr_of
from deqsci_cli.training.ahead import Ahead
from deqsci_cli.training.patches import PatchSampler

#: noise levels of the validation, standard deviations out of 255
LEVELS = (5, 12, 25, 50)


@dataclass(frozen=True)
class DenoiserSettings:
    """Of the stage `denoiser`.

    Attributes:
        sigma_range: noise levels, standard deviations in [0, 1] units.
    """

    sigma_range: tuple[float, float] = (0.0, 55 / 255)

    def __post_init__(self) -> None:
        if not 0 <= self.sigma_range[0] <= self.sigma_range[1] <= 1:
            raise UsageError("sigma_range must be two rising numbers between 0 and 1")


class DenoiserStage(nn.Module):
    """The mean absolute error of denoised patches, a noise level drawn for each.

    The absolute error weighs the levels more evenly than the square, which would leave the low
    levels, where an equilibrium lives, to the high ones.

    Args:
        network: called as `D(x, sigma)`.
        sample: draws the patches of a step.
        settings: which noise.
    """

    def __init__(self, network: Denoiser, sample: PatchSampler, settings: DenoiserSettings):
        super().__init__()
        self.network = network
        self.ahead = Ahead(sample)
        self.settings = settings

    def forward(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """The loss of a step, and what else was seen: nothing."""
        clean, rngs = self.ahead(step)
        self.ahead.prepare(step + 1)
        sigma = torch.tensor([rng.uniform(*self.settings.sigma_range) for rng in rngs]).float()
        drawn = [rng.standard_normal(clean.shape[1:], dtype=np.float32) for rng in rngs]
        noisy = clean + sigma.view(-1, 1, 1, 1) * torch.from_numpy(np.stack(drawn))
        device = next(self.network.parameters()).device
        answer = self.network(noisy.to(device), sigma.to(device))
        return F.l1_loss(answer, clean.to(device)), {}


class DenoiserValidation:
    """PSNR on fixed crops of held-out clips under fixed noise.

    Args:
        clips: arrays `(F, H, W)`, uint8.
        levels: noise levels out of 255.
        side: of the centred crop, pixels.
    """

    def __init__(
        self, clips: Sequence[np.ndarray], levels: Sequence[int] = LEVELS, side: int = 160
    ):
        crops = []
        for clip in clips:
            crops += [centre_crop(clip[t], side) for t in (0, len(clip) // 2)]
        self.crops = [torch.from_numpy(c.astype(np.float32) / 255)[None, None] for c in crops]
        self.levels = levels

    @torch.no_grad()
    def __call__(self, network: Denoiser) -> dict[str, float]:
        """Mean PSNR in dB by level (`psnr-12` …), and over all levels (`psnr`)."""
        network.eval()
        device = next(network.parameters()).device
        figures = {}
        for level in self.levels:
            rng = np.random.default_rng(level)
            values = []
            for crop in self.crops:
                noise = torch.from_numpy(rng.standard_normal(crop.shape, dtype=np.float32))
                answer = network((crop + noise * level / 255).to(device), level / 255)
                values.append(psnr_of(float(F.mse_loss(answer.cpu(), crop))))
            figures[f"psnr-{level}"] = float(np.mean(values))
        network.train()
        figures["psnr"] = float(np.mean(list(figures.values())))
        return figures
