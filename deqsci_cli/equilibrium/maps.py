"""The maps whose fixed points are the answers: data consistency, then a denoiser.

Every map has `start(video)` and `video(state)` between videos and its own state, and
`select(samples)` for a part of the batch. A state is one tensor `(B, …)`, which is all that a
solver asks for.
"""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from deqsci_cli.networks.denoiser import Denoiser
from deqsci_cli.physics.protocol import Physics
from deqsci_cli.physics.unmeasured import fill_unmeasured


class GAPMap:
    """DE-GAP: `f(x) = D(project(x), sigma)`, the state being the video `(B, T, H, W)`.

    Source: arXiv 2201.06931, equation 9.

    Args:
        operator: the camera.
        measurement: `(B, …)`, of any size.
        denoiser: called as `D(video, sigma)`, or with the measurement where it uses it.
        sigma: noise level of the denoiser, in [0, 1] units; one number, or one a sample `(B,)`.
    """

    def __init__(
        self,
        operator: Physics,
        measurement: Tensor,
        denoiser: Denoiser,
        sigma: Tensor | float,
    ):
        self.operator = operator
        self.measurement = measurement
        self.denoiser = denoiser
        self.sigma = sigma

    def start(self, video: Tensor) -> Tensor:
        return video

    def video(self, state: Tensor) -> Tensor:
        return state

    def select(self, samples: Tensor) -> GAPMap:
        operator, sigma = self.operator.subset(samples), self.sigma
        if isinstance(sigma, Tensor) and sigma.numel() > 1:
            sigma = sigma[samples]
        return type(self)(operator, self.measurement[samples], self.denoiser, sigma)

    def denoise(self, video: Tensor) -> Tensor:
        """The denoiser on a video, with the measurement where it uses it."""
        if not self.denoiser.uses_measurement:
            return self.denoiser(video, self.sigma)
        per_frame_residual = self.operator.per_frame_residual(video, self.measurement)
        return self.denoiser(video, self.sigma, self._normalized, per_frame_residual)

    @cached_property
    def _normalized(self) -> Tensor:
        return self.operator.normalized_measurement(self.measurement)

    def __call__(self, state: Tensor) -> Tensor:
        return self.denoise(self.operator.project(state, self.measurement))


class AcceleratedGAPMap(GAPMap):
    """Accelerated GAP as a map on a pair: the video and an accumulated measurement.

    `y1 <- y1 + y - A x;  x <- D(x + A_adjoint((y1 - A x) / gram), sigma)`. At a fixed point
    `A x = y` holds after the denoiser, not only before it. The state `(B, n)` is the video and
    y1 behind each other, y1 in units of a white video's measurement, so that both parts have the
    units of intensities whatever the mask's scale.
    Source: Liao, Li & Carin, SIAM J. Imaging Sci. 7 (2014) 797; PnP-GAP: arXiv 2003.13654.
    """

    def start(self, video: Tensor) -> Tensor:
        normalized = self.measurement / self._white
        return _pack(video, fill_unmeasured(normalized, self.operator.gram > 0))

    def video(self, state: Tensor) -> Tensor:
        return state[:, : self._shape.numel()].unflatten(1, self._shape)

    def accumulated(self, state: Tensor) -> Tensor:
        """y1 of a state, in units of a white video's measurement."""
        return state[:, self._shape.numel() :].unflatten(1, self.measurement.shape[1:])

    def __call__(self, state: Tensor) -> Tensor:
        operator, video = self.operator, self.video(state)
        seen = operator.A(video)
        accumulated = self.accumulated(state) + (self.measurement - seen) / self._white
        # Nothing is accumulated where nothing is measured: it would be an eigenvalue of 1.
        accumulated = torch.where(operator.gram > 0, accumulated, 0.0)
        video = video + operator.pseudo_inverse(accumulated * self._white - seen)
        return _pack(self.denoise(video), accumulated)

    @cached_property
    def _shape(self) -> torch.Size:
        return self.operator.A_adjoint(self.operator.gram).shape[1:]

    @cached_property
    def _white(self) -> Tensor:
        """A white video's measurement; at least the root of gram, where weights of A cancel."""
        gram = self.operator.gram
        white = self.operator.A(gram.new_ones(len(gram), *self._shape))
        return torch.maximum(white, gram.sqrt()).clamp(min=1e-20)


def _pack(video: Tensor, accumulated: Tensor) -> Tensor:
    return torch.cat((video.flatten(1), accumulated.flatten(1)), dim=1)


MAPS: dict[str, type[GAPMap]] = {"gap": GAPMap, "accelerated-gap": AcceleratedGAPMap}
