"""`rsn-cnn`: the same network under real spectral normalisation."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from deqsci_cli.networks.cnn import CNN

# A 3×3 kernel's transfer function is a trigonometric polynomial of degree 1 on either axis, so
# that its largest singular value is at most 1 / cos(pi / 24)**2 (1.7 %) above that on a grid of
# 24×24 frequencies (M. Riesz).
_GRID = 24
_MARGIN = math.cos(math.pi / _GRID) ** 2
# Power iterations for the first state of weights in training.
_FIRST_ROUNDS = 100


def transfer_matrices(weight: Tensor, grid: int = _GRID) -> Tensor:
    """The convolution as one matrix a frequency.

    Args:
        weight: kernel `(out, in, k, k)`.
        grid: frequencies an axis.

    Returns:
        Complex `(grid * (grid // 2 + 1), out, in)`: a real kernel's other half is the conjugate.
    """
    spectrum: Tensor = torch.fft.rfft2(weight, s=(grid, grid))
    return spectrum.flatten(2).permute(2, 0, 1)


def operator_norm(weight: Tensor, grid: int = _GRID) -> Tensor:
    """Norm of the convolution operator: the largest singular value over all frequencies.

    It bounds the zero-padded convolution on pictures of every size (that is a compression of
    the convolution on the whole plane), which the norm of the reshaped kernel does not.
    Source: Sedghi, Gupta & Long, arXiv 1805.10408; Ryu et al., arXiv 1905.05406 ("real" SN).
    """
    singular_values: Tensor = torch.linalg.svdvals(transfer_matrices(weight, grid))
    return singular_values.amax()


class SpectralConv2d(nn.Conv2d):
    """A 3×3 convolution whose operator norm is at most 1; larger kernels are scaled down.

    The norm is bounded by that on a grid of frequencies, over a margin. While training, it
    follows the weights by one power iteration for each of their states (many for the first), at
    every frequency, and is differentiated; for use it is computed exactly, once. Either way the
    convolution is the same for as long as the weights are: a fixed point is sought of one map.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(in_channels, out_channels, 3, padding=1, bias=False)
        frequencies = _GRID * (_GRID // 2 + 1)
        self.right: Tensor
        #: singular vectors, one a frequency; zeros until the weights are first trained
        none_yet = torch.zeros(frequencies, in_channels, 1, dtype=torch.complex64)
        self.register_buffer("right", none_yet, persistent=False)
        self._left = torch.empty(0)
        self._scaled = torch.empty(0)
        self._scaled_for: tuple[object, ...] = ()

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self._contraction(), padding=1)

    def _contraction(self) -> Tensor:
        """The scaled kernel: from memory, unless gradients are asked for while training."""
        # The address too: a deep copy takes this along, but counts its versions anew.
        state = (self.training, self.weight._version, self.weight.data_ptr())
        if self._scaled_for != state:
            with torch.no_grad():
                norm = self._follow() if self.training else operator_norm(self.weight)
                self._scaled = self._scale(norm)
            self._scaled_for = state
        if self.training and torch.is_grad_enabled():
            matrices = transfer_matrices(self.weight)
            return self._scale((self._left.mH @ matrices @ self.right).real.amax())
        return self._scaled

    def _follow(self) -> Tensor:
        """One power iteration at every frequency; many where none has been done."""
        matrices, rounds = transfer_matrices(self.weight), 1
        if not self._left.numel() and not self.right.any():
            generator = torch.Generator().manual_seed(0)
            start = torch.randn(self.right.shape, dtype=self.right.dtype, generator=generator)
            self.right, rounds = start.to(self.right.device), _FIRST_ROUNDS
        for _ in range(rounds):
            self._left = F.normalize(matrices @ self.right, dim=1)
            self.right = F.normalize(matrices.mH @ self._left, dim=1)
        return (self._left.mH @ matrices @ self.right).real.amax()

    def _scale(self, norm: Tensor) -> Tensor:
        scaled = self.weight / (norm / _MARGIN).clamp(min=1.0)
        return scaled.to(memory_format=torch.channels_last)


class RSNCNN(CNN):
    """`cnn` whose convolutions are non-expansive, so that its noise estimate is 1-Lipschitz.

    Source: DE-GAP-RSN-CNN, arXiv 2201.06931; Ryu et al., arXiv 1905.05406.
    """

    def layer(self, in_channels: int, out_channels: int) -> nn.Conv2d:
        return SpectralConv2d(in_channels, out_channels)
