"""The stage `denoiser`: a network learns to take Gaussian noise off single frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from deqsci_cli.networks.denoiser import FrameDenoiser

#: noise levels of the validation, standard deviations out of 255
LEVELS = (5, 12, 25, 50)


def denoising_loss(
    network: FrameDenoiser,
    clean: Tensor,
    rng: np.random.Generator,
    sigma_range: tuple[float, float],
) -> Tensor:
    """Mean absolute error of the denoised patches, a noise level drawn for each.

    The absolute error weighs the levels more evenly than the square, which would leave the low
    levels, where an equilibrium lives, to the high ones.

    Args:
        network: called as `D(x, sigma)`.
        clean: patches `(B, 1, h, w)`.
        rng: draws levels and noise.
        sigma_range: least and greatest standard deviation, in [0, 1] units.
    """
    low, high = sigma_range
    sigma = torch.from_numpy(rng.uniform(low, high, clean.shape[0]).astype(np.float32))
    noise = torch.from_numpy(rng.standard_normal(clean.shape, dtype=np.float32))
    noisy = clean + sigma.view(-1, 1, 1, 1) * noise
    device = next(network.parameters()).device
    return F.l1_loss(network(noisy.to(device), sigma.to(device)), clean.to(device))


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
            _, h, w = clip.shape
            y, x = max(0, h - side) // 2, max(0, w - side) // 2
            crops += [clip[t, y : y + side, x : x + side] for t in (0, len(clip) // 2)]
        self.crops = [torch.from_numpy(c.astype(np.float32) / 255)[None, None] for c in crops]
        self.levels = levels

    @torch.no_grad()
    def __call__(self, network: FrameDenoiser) -> dict[str, float]:
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
                values.append(-10 * float(torch.log10(F.mse_loss(answer.cpu(), crop))))
            figures[f"psnr-{level}"] = float(np.mean(values))
        network.train()
        figures["psnr"] = float(np.mean(list(figures.values())))
        return figures
