"""The maps whose fixed points are the answers: data consistency, then a denoiser.

Every map has `start(video)` and `video(state)` between videos and its own state, and
`select(samples)` for a part of the batch.
"""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from deqsci_cli.networks.denoiser import Denoiser
from deqsci_cli.physics.sensing import SensingOperator


class GAPMap:
    """DE-GAP: `f(x) = D(project(x), sigma)`, the state being the video `(B, T, H, W)`.

    Source: arXiv 2201.06931, equation 9.

    Args:
        operator: the camera.
        measurement: `(B, H, W)`.
        denoiser: of single frames, or one that sees the measurement too.
        sigma: noise level of the denoiser, in [0, 1] units; one number, or one a sample `(B,)`.
    """

    def __init__(
        self,
        operator: SensingOperator,
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
        """The denoiser on a video, with all that it wants to see."""
        if not self.denoiser.sees_measurement:
            return self.denoiser(video, self.sigma)
        rest = self.operator.left_over(video, self.measurement)
        return self.denoiser(video, self.sigma, self._average, rest)

    @cached_property
    def _average(self) -> Tensor:
        return self.operator.average_frame(self.measurement)

    def __call__(self, state: Tensor) -> Tensor:
        return self.denoise(self.operator.project(state, self.measurement))


class AcceleratedGAPMap(GAPMap):
    """Accelerated GAP as a map on a pair: the video and a measurement that gathers what was missed.

    `y1 <- y1 + y - A x;  x <- D(x + A_adjoint((y1 - A x) / gram), sigma)`. At a fixed point
    `A x = y` holds after the denoiser, not only before it. The state `(B, T + 1, H, W)` is the
    video with `y1 / sum_t mask_t` behind it as one more frame, so that both parts have the
    units of intensities whatever the mask's scale.
    Source: Liao, Li & Carin, SIAM J. Imaging Sci. 7 (2014) 797; PnP-GAP: arXiv 2003.13654.
    """

    def start(self, video: Tensor) -> Tensor:
        gathered = self.operator.average_frame(self.measurement)[:, :1]
        return torch.cat((video, gathered), dim=1)

    def video(self, state: Tensor) -> Tensor:
        return state[:, :-1]

    def __call__(self, state: Tensor) -> Tensor:
        operator, video, gathered = self.operator, state[:, :-1], state[:, -1]
        energy = operator.mask.sum(1)
        seen = operator.A(video)
        missed = (self.measurement - seen) / energy.clamp(min=1e-20)
        # Where no mask is open nothing is gathered; to carry it along would be an eigenvalue of 1.
        gathered = torch.where(operator.open, gathered + missed, 0.0)
        video = video + operator.pseudo_inverse(gathered * energy - seen)
        video = self.denoise(video)
        return torch.cat((video, gathered.unsqueeze(1)), dim=1)


MAPS: dict[str, type[GAPMap]] = {"gap": GAPMap, "accelerated-gap": AcceleratedGAPMap}
