"""`cnn`: the denoiser of DE-GAP-CNN, four bias-free convolutions that predict the noise."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from deqsci_cli.networks.denoiser import FrameDenoiser, ReceptiveField, check_least, initialise


class CNN(FrameDenoiser):
    """A small residual network: `D(x) = x - n(x)`, n of `depth` 3×3 convolutions with ReLU.

    Without biases `D(a x) = a D(x)` for a > 0. It does not look at sigma.
    Source: DE-GAP-CNN, arXiv 2201.06931 (64 channels, 4 convolutions).

    Args:
        channels: width of the hidden layers.
        depth: number of convolutions.
    """

    def __init__(self, channels: int = 64, depth: int = 4):
        super().__init__()
        check_least(1, channels=channels, depth=depth)
        self.channels = channels
        widths = [1, *[channels] * (depth - 1), 1]
        self.layers = nn.ModuleList(self.layer(a, b) for a, b in pairwise(widths))
        initialise(self.layers)

    def layer(self, in_channels: int, out_channels: int) -> nn.Conv2d:
        """One convolution."""
        return nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)

    def denoise(self, frames: Tensor, sigma: Tensor) -> Tensor:
        noise = frames
        for layer in self.layers[:-1]:
            noise = layer(noise).relu_()
        estimate: Tensor = frames - self.layers[-1](noise)
        return estimate

    def receptive_field(self, frames: int) -> ReceptiveField:
        return ReceptiveField(len(self.layers), 1, 4 * 4 * self.channels)
