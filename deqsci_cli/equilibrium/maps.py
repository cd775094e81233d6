"""The maps whose fixed points are the answers: data consistency, then a denoiser.

Every map has `start(video)` and `video(state)` between videos and its own state, and
`select(samples)` for a part of the batch. A state is one tensor `(B, …)`, which is all that a
solver asks for.
"""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from deqsci_cli.equilibrium.registries import MAPS
from deqsci_cli.networks.denoiser import DenoiserLike, as_denoiser
from deqsci_cli.physics.protocol import Physics
from deqsci_cli.physics.unmeasured import fill_unmeasured


@MAPS.register("relaxed-gap")
class GAPMap:
    """Relaxed GAP: data consistency with an accumulated measurement y1, then the denoiser.

    `y1 <- (1 - r) (y1 + y - A x) + r y;  x <- D(x + A_adjoint((y1 - A x) / gram), sigma)`.

    r = 0 is accelerated GAP: at a fixed point `A x = y` holds after the denoiser, not only before
    it. r = 1 is plain GAP, as in DE-GAP: y1 is y throughout, and the state is the video alone.
    Otherwise the state `(B, n)` is the video and y1 behind each other, y1 in units of a white
    video's measurement, so that both parts have the units of intensities whatever the mask's scale.
    Sources: Liao, Li & Carin, SIAM J. Imaging Sci. 7 (2014) 797; PnP-GAP: arXiv 2003.13654;
    DE-GAP: arXiv 2201.06931, equation 9.

    Args:
        operator: the camera.
        measurement: `(B, …)`, of any size.
        denoiser: called as `D(video, sigma)`, or with the measurement where it uses it.
        sigma: noise level of the denoiser, in [0, 1] units; one number, or one a sample `(B,)`.
        consistency_relaxation: r, in [0, 1].
    """

    def __init__(
        self,
        operator: Physics,
        measurement: Tensor,
        denoiser: DenoiserLike,
        sigma: Tensor | float,
        consistency_relaxation: float = 0.0,
    ):
        self.operator = operator
        self.measurement = measurement
        self.denoiser = as_denoiser(denoiser)
        self.sigma = sigma
        self.consistency_relaxation = consistency_relaxation

    def start(self, video: Tensor) -> Tensor:
        """The state of a video, with y1 = y."""
        if self.consistency_relaxation == 1:
            return video
        return _pack(video, fill_unmeasured(self._target, self._measured))

    def video(self, state: Tensor) -> Tensor:
        """The video of a state."""
        if self.consistency_relaxation == 1:
            return state
        video: Tensor = state[:, : self._shape.numel()].unflatten(1, self._shape)
        return video

    def accumulated(self, state: Tensor) -> Tensor:
        """y1 of a state, in units of a white video's measurement."""
        if self.consistency_relaxation == 1:
            return self._target
        rest = state[:, self._shape.numel() :]
        accumulated: Tensor = rest.unflatten(1, self.measurement.shape[1:])
        return accumulated

    def select(self, samples: Tensor) -> GAPMap:
        """The map of some samples of the batch, given by their indices."""
        operator, sigma = self.operator.subset(samples), self.sigma
        if isinstance(sigma, Tensor) and sigma.numel() > 1:
            sigma = sigma[samples]
        measurement, r = self.measurement[samples], self.consistency_relaxation
        return type(self)(operator, measurement, self.denoiser, sigma, r)

    def denoise(self, video: Tensor) -> Tensor:
        """The denoiser on a video, with the measurement where it uses it."""
        if not self.denoiser.uses_measurement:
            return self.denoiser(video, self.sigma)
        per_frame_residual = self.operator.per_frame_residual(video, self.measurement)
        return self.denoiser(video, self.sigma, self._normalized, per_frame_residual)

    def __call__(self, state: Tensor) -> Tensor:
        operator, r = self.operator, self.consistency_relaxation
        if r == 1:
            return self.denoise(operator.project(state, self.measurement))
        video = self.video(state)
        measured = operator.A(video)
        missing = (self.measurement - measured) / self._white
        accumulated = (1 - r) * (self.accumulated(state) + missing) + r * self._target
        # Nothing is accumulated where nothing is measured: it would be an eigenvalue of 1 - r.
        accumulated = torch.where(self._measured, accumulated, 0.0)
        video = video + operator.pseudo_inverse(accumulated * self._white - measured)
        return _pack(self.denoise(video), accumulated)

    @cached_property
    def _normalized(self) -> Tensor:
        return self.operator.normalized_measurement(self.measurement)

    @cached_property
    def _shape(self) -> torch.Size:
        return self.operator.A_adjoint(self.operator.gram).shape[1:]

    @cached_property
    def _measured(self) -> Tensor:
        return self.operator.gram > 0

    @cached_property
    def _white(self) -> Tensor:
        """A white video's measurement; at least the root of gram, where weights of A cancel."""
        gram = self.operator.gram
        white = self.operator.A(gram.new_ones(len(gram), *self._shape))
        return torch.maximum(white, gram.sqrt()).clamp(min=1e-20)

    @property
    def _target(self) -> Tensor:
        """y in units of a white video's measurement."""
        return self.measurement / self._white


def _pack(video: Tensor, accumulated: Tensor) -> Tensor:
    return torch.cat((video.flatten(1), accumulated.flatten(1)), dim=1)
