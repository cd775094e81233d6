"""`ffdnet`: a fast denoiser for any noise level, at half resolution."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from deqsci_cli.networks.denoiser import (
    FrameDenoiser,
    ReceptiveField,
    check_least,
    initialise,
    pad_to_multiple,
)


class FFDNet(FrameDenoiser):
    """FFDNet for grey frames: 2×2 pixel-unshuffle, a noise-level map, `depth` convolutions.

    `D(x, sigma) = x - n(x, sigma)`. Batch normalisation, which the first published weights
    have, is folded into the convolutions.
    Source: Zhang, Zuo & Zhang, arXiv 1710.04026 (grey: 15 convolutions, 64 channels).

    Args:
        channels: width of the hidden layers.
        depth: number of convolutions.
    """

    def __init__(self, channels: int = 64, depth: int = 15):
        super().__init__()
        check_least(1, channels=channels, depth=depth)
        self.channels = channels
        widths = [5, *[channels] * (depth - 1), 4]
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths))
        initialise(self.layers)

    def denoise(self, frames: Tensor, sigma: Tensor) -> Tensor:
        h, w = frames.shape[-2:]
        # An odd size gets one more row or column, which is taken off at the end.
        small = F.pixel_unshuffle(pad_to_multiple(frames, 2), 2)
        level = sigma.expand(-1, 1, *small.shape[-2:])
        features = torch.cat((level, small), dim=1)
        for layer in self.layers[:-1]:
            features = layer(features).relu_()
        noise = F.pixel_shuffle(self.layers[-1](features), 2)
        return frames - noise[..., :h, :w]

    def receptive_field(self, frames: int) -> ReceptiveField:
        # Features are at half resolution, a quarter of the pixels of four bytes each.
        return ReceptiveField(2 * len(self.layers), 2, 4 * self.channels)
