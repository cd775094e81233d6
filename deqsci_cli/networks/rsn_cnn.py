"""`rsn-cnn`: the same network under real spectral normalisation."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from deqsci_cli.networks.cnn import CNN

# A 3×3 kernel's transfer function is a trigonometric polynomial of degree 1: a grid of 24×24
# frequencies meets its largest singular value to 1 - cos(pi/24)**2, 1.7 %, at the very worst.
_GRID = 24


def transfer_matrices(weight: Tensor, grid: int = _GRID) -> Tensor:
    """The convolution as one matrix a frequency.

    Args:
        weight: kernel `(out, in, k, k)`.
        grid: frequencies an axis.

    Returns:
        Complex `(grid * (grid // 2 + 1), out, in)`: a real kernel's other half is the conjugate.
    """
    spectrum = torch.fft.rfft2(weight, s=(grid, grid))
    return spectrum.flatten(2).permute(2, 0, 1)


def operator_norm(weight: Tensor, grid: int = _GRID) -> Tensor:
    """Norm of the convolution operator: the largest singular value over all frequencies.

    It bounds the zero-padded convolution on pictures of every size (that is a compression of
    the convolution on the whole plane), which the norm of the reshaped kernel does not.
    Source: Sedghi, Gupta & Long, arXiv 1805.10408; Ryu et al., arXiv 1905.05406 ("real" SN).
    """
    return torch.linalg.svdvals(transfer_matrices(weight, grid)).amax()


class SpectralConv2d(nn.Conv2d):
    """A 3×3 convolution whose operator norm is at most 1 (on the grid of frequencies).

    Larger kernels are scaled down.

    While training, the norm follows the weights by one power iteration a step at every
    frequency and is differentiated; for use it is computed exactly, once for each state of
    the weights.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(in_channels, out_channels, 3, padding=1, bias=False)
        frequencies = _GRID * (_GRID // 2 + 1)
        start = torch.randn(frequencies, in_channels, 1, dtype=torch.complex64)
        self.right: Tensor
        self.register_buffer("right", start, persistent=False)
        self._exact: tuple[tuple[int, int], Tensor] | None = None

    def _training_norm(self) -> Tensor:
        matrices = transfer_matrices(self.weight)
        with torch.no_grad():
            left = F.normalize(matrices @ self.right, dim=1)
            self.right = F.normalize(matrices.mH @ left, dim=1)
        return (left.mH @ matrices @ self.right).real.amax()

    def _exact_norm(self) -> Tensor:
        # The address too: a deep copy takes this along, but counts its versions anew.
        state = (self.weight._version, self.weight.data_ptr())
        if self._exact is None or self._exact[0] != state:
            self._exact = (state, operator_norm(self.weight.detach()))
        return self._exact[1].to(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        norm = self._training_norm() if self.training else self._exact_norm()
        weight = self.weight / norm.clamp(min=1.0)
        return F.conv2d(x, weight.to(memory_format=torch.channels_last), padding=1)


class RSNCNN(CNN):
    """`cnn` whose convolutions are non-expansive, so that its noise estimate is 1-Lipschitz.

    Source: DE-GAP-RSN-CNN, arXiv 2201.06931; Ryu et al., arXiv 1905.05406.
    """

    def __init__(self, **options: Any):
        super().__init__(convolution=SpectralConv2d, **options)
