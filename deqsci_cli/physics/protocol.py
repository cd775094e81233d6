"""What a camera offers to be reconstructed from: all that a map knows of an operator."""

from __future__ import annotations

from typing import Any, Protocol, Self

import torch
from torch import Tensor

_TINY = 1e-30


class Physics(Protocol):
    """A linear camera `y = A x` of a batch of videos.

    A video is `(B, T, H, W)`; a spectral cube is one too, of T bands. A measurement is `(B, …)` and
    may have any size. Each sample is measured by itself.
    """

    @property
    def gram(self) -> Tensor:
        """The diagonal of `A A^T`, `(B or 1, …)` as a measurement; 0 where nothing is measured."""

    def A(self, video: Tensor) -> Tensor:
        """The measurement of a video."""

    def A_adjoint(self, measurement: Tensor) -> Tensor:
        """The adjoint of `A`, from a measurement to a video."""

    def pseudo_inverse(self, measurement: Tensor) -> Tensor:
        """The video of least norm with this measurement."""

    def project(self, video: Tensor, measurement: Tensor) -> Tensor:
        """The video nearest to a given one among those with this measurement."""

    def normalized_measurement(self, measurement: Tensor) -> Tensor:
        """A first estimate of the video: the measurement, divided by that of a white video."""

    def per_frame_residual(self, video: Tensor, measurement: Tensor) -> Tensor:
        """What the measurement leaves for each frame when all other frames are taken out."""

    def subset(self, samples: Tensor) -> Self:
        """The operator of some samples of the batch, given by their indices."""

    def to(self, target: torch.device | torch.dtype) -> Self:
        """The same operator on another device, or in another precision."""


def adjoint_test(operator: Physics, *, probes: int = 4, seed: int = 0) -> float:
    """Check `<A x, y> = <x, A_adjoint(y)>` on random videos and measurements, in float64.

    Args:
        operator: the camera.
        probes: how many pairs are drawn for each sample.
        seed: of the random numbers.

    Returns:
        The largest difference between the two sides, relative to the norms of their factors. A
        correct adjoint stays near 1e-16.
    """
    operator = operator.to(torch.float64)
    rng = torch.Generator().manual_seed(seed)
    shape = operator.A_adjoint(operator.gram).shape

    def draw(size: Any) -> Tensor:
        return torch.randn(size, generator=rng, dtype=torch.float64).to(operator.gram.device)

    largest = 0.0
    for _ in range(probes):
        x, y = draw(shape), draw(operator.gram.shape)
        forth, back = operator.A(x), operator.A_adjoint(y)
        difference = (forth * y).flatten(1).sum(1) - (x * back).flatten(1).sum(1)
        sizes = torch.maximum(_norms(forth) * _norms(y), _norms(x) * _norms(back))
        largest = max(largest, float((difference.abs() / sizes.clamp(min=_TINY)).max()))
    return largest


def _norms(x: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(x.flatten(1), dim=1)
    return norms
