"""Several measurements of the same frames at once, each through masks of its own."""

from __future__ import annotations

from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from deqsci_cli.physics.unmeasured import fill_unmeasured

# Inverted at once. A GPU's library refuses batches of several ten thousand (mujocolab/mjlab#732).
_MOST_MATRICES = 16_384


class ArmsOperator:
    """K measurements `y_k = sum_t mask_kt * x_t`: both arms of a micromirror device, say.

    Shapes: video `(B, T, H, W)`, measurement `(B, K, H, W)`. `A A^T` couples the K measurements of
    a pixel by the matrix `sum_t mask_kt mask_lt`, and no pixel with another. These K x K matrices
    are inverted; where masks repeat each other, as Moore and Penrose do.

    Args:
        masks: `(K, T, H, W)`, one camera for the whole batch.
        seen: booleans `(B, K, H, W)`, pixels whose value tells something; None for all.
    """

    def __init__(self, masks: Tensor, seen: Tensor | None = None):
        if masks.ndim != 4:
            raise ValueError(f"masks of several arms are (K, T, H, W), not {tuple(masks.shape)}")
        self.masks = masks
        self.seen = seen
        #: the diagonal of `A A^T`, `(B or 1, K, H, W)`
        self.gram = self._of_seen(masks.square().sum(1)[None])
        self.open = self.gram > 0

    def A(self, video: Tensor) -> Tensor:
        """Code the frames and add them up: `(B, T, H, W)` to `(B, K, H, W)`."""
        return self._of_seen(torch.stack([(mask * video).sum(1) for mask in self.masks], 1))

    def A_adjoint(self, measurement: Tensor) -> Tensor:
        """The adjoint: `(B, K, H, W)` to `(B, T, H, W)`."""
        parts = self._of_seen(measurement).unsqueeze(2).unbind(1)
        return torch.stack([m * part for m, part in zip(self.masks, parts, strict=True)]).sum(0)

    def pseudo_inverse(self, measurement: Tensor) -> Tensor:
        """The least-norm video with this measurement, or the one that comes nearest to it."""
        return self.A_adjoint((self._inverse * measurement.unsqueeze(1)).sum(2))

    def project(self, video: Tensor, measurement: Tensor) -> Tensor:
        """The nearest video that agrees with the measurement (the data-consistency step)."""
        return video + self.pseudo_inverse(measurement - self.A(video))

    def normalized_measurement(self, measurement: Tensor) -> Tensor:
        """All measurements together, divided by those of a white video, in every frame."""
        white = self._of_seen(self.masks.sum(1)[None]).sum(1, keepdim=True)
        whole = self._of_seen(measurement).sum(1, keepdim=True) / white.clamp(min=1e-20)
        frame = fill_unmeasured(whole, white > 0)
        return frame.expand(-1, self.masks.shape[1], -1, -1).contiguous()

    def per_frame_residual(self, video: Tensor, measurement: Tensor) -> Tensor:
        """What is left for each frame when all others are taken out, the mean over the arms.

        `(y_k - sum_{s != t} mask_ks x_s) / max mask`, `(B, T, H, W)`. An arm counts where it sees.
        """
        total = torch.zeros_like(video)
        for arm, mask in enumerate(self.masks):
            coded = mask * video
            coded = coded + (measurement[:, arm, None] - coded.sum(1, keepdim=True))
            total += coded if self.seen is None else coded * self.seen[:, arm, None]
        counted = len(self.masks) if self.seen is None else self.seen.sum(1, True).clamp(min=1)
        peak = self.masks.amax().clamp(min=1e-20)
        return total / counted / peak

    def subset(self, samples: Tensor) -> Self:
        """The operator of some samples of the batch (indices)."""
        return self if self.seen is None else self.with_seen(self.seen[samples])

    def to(self, target: torch.device | torch.dtype) -> Self:
        """The same operator on another device, or in another precision."""
        seen = self.seen
        if seen is not None and isinstance(target, torch.device):
            seen = seen.to(target)
        return type(self)(self.masks.to(target), seen)

    def with_seen(self, seen: Tensor | None) -> Self:
        """The same camera for measurements of which only these pixels tell something."""
        return type(self)(self.masks, seen)

    @cached_property
    def _inverse(self) -> Tensor:
        """Of the K x K matrices, `(B or 1, K, K, H, W)`."""
        coupled = torch.stack([(self.masks * mask).sum(1) for mask in self.masks])[None]
        if self.seen is not None:
            coupled = coupled * (self.seen[:, :, None] & self.seen[:, None])
        matrices = coupled.permute(0, 3, 4, 1, 2)
        parts = matrices.flatten(0, 2).split(_MOST_MATRICES)
        inverse = torch.cat([torch.linalg.pinv(part, hermitian=True) for part in parts])
        return inverse.view(matrices.shape).permute(0, 3, 4, 1, 2).contiguous()

    def _of_seen(self, measurement: Tensor) -> Tensor:
        return measurement if self.seen is None else torch.where(self.seen, measurement, 0.0)
