"""The camera's forward model: T coded frames add up to one measurement."""

from __future__ import annotations

from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from deqsci_cli.physics.unmeasured import fill_unmeasured


class SensingOperator:
    """`y = sum_t mask_t * x_t`, its adjoint and the projections that go with it.

    Shapes: video `(B, T, H, W)`, measurement `(B, H, W)`. Any T, any picture size, 0/1 and grey
    masks. `A A^T` is diagonal, with `gram` on the diagonal, so that every projection is a
    closed form. Pixels that no mask opens carry no data: nothing is projected there.
    Source: arXiv 2201.06931, equations 1 to 7.

    Args:
        mask: `(T, H, W)`, one camera for the whole batch, or `(B, T, H, W)`.
        seen: booleans `(B, H, W)`, shaped as a measurement: pixels whose value tells something.
            The others (clipped, broken) count as closed, for their own measurement alone: the
            mask stays shared. None for all.
    """

    def __init__(self, mask: Tensor, seen: Tensor | None = None):
        if mask.ndim not in (3, 4):
            raise ValueError(f"a mask is (T, H, W) or (B, T, H, W), not {tuple(mask.shape)}")
        self.mask = mask if mask.ndim == 4 else mask.unsqueeze(0)
        self.seen = seen
        #: `sum_t mask_t**2`, `(B or 1, H, W)`: the diagonal of `A A^T`
        self.gram = self._of_seen(self._add_up(self.mask.square()))
        self.open = self.gram > 0
        self._inverse_gram = torch.where(self.open, 1 / self.gram.clamp(min=1e-20), 0.0)

    def A(self, video: Tensor) -> Tensor:
        """Code the frames and add them up: `(B, T, H, W)` to `(B, H, W)`."""
        return self._of_seen(self._add_up(self.mask * video))

    def A_adjoint(self, measurement: Tensor) -> Tensor:
        """The adjoint: `(B, H, W)` to `(B, T, H, W)`."""
        return self.mask * self._spread(self._of_seen(measurement))

    def pseudo_inverse(self, measurement: Tensor) -> Tensor:
        """The least-norm video with this measurement, `A_adjoint(y / gram)`."""
        return self.A_adjoint(measurement * self._inverse_gram)

    def project(self, video: Tensor, measurement: Tensor) -> Tensor:
        """The nearest video that agrees with the measurement (the data-consistency step)."""
        return video + self.pseudo_inverse(measurement - self.A(video))

    def normalized_measurement(self, measurement: Tensor) -> Tensor:
        """`y / sum_t mask_t` in every frame: the energy-normalised measurement, `(B, T, H, W)`.

        Closed pixels get the mean over the open ones. Frames that are alike share their memory.
        """
        total = self._add_up(self.mask).clamp(min=1e-20)
        frame = fill_unmeasured(measurement / total, self.open)
        return self._spread(frame).expand(-1, self.mask.shape[1], -1, -1)

    def per_frame_residual(self, video: Tensor, measurement: Tensor) -> Tensor:
        """What is left of the measurement for each frame when all others are taken out.

        `(y - sum_{s != t} mask_s x_s) / max mask`, `(B, T, H, W)`: of a video that agrees with
        the measurement, each frame as its mask shows it.
        """
        coded = self.mask * video
        coded = coded + self._spread(measurement - self._add_up(coded))
        return (coded if self.seen is None else coded * self._spread(self.seen)) / self._peak

    @cached_property
    def _peak(self) -> Tensor:
        return self.mask.amax((1, 2, 3), keepdim=True).clamp(min=1e-20)

    def subset(self, samples: Tensor) -> Self:
        """The operator of some samples of the batch (indices)."""
        seen = None if self.seen is None else self.seen[samples]
        if self.mask.shape[0] == 1:
            return self if seen is None else self._of(self.mask, seen)
        return self._of(self.mask[samples], seen)

    def to(self, target: torch.device | torch.dtype) -> Self:
        """The same operator on another device, or in another precision."""
        seen = self.seen
        if seen is not None and isinstance(target, torch.device):
            seen = seen.to(target)
        return self._of(self.mask.to(target), seen)

    def with_seen(self, seen: Tensor | None) -> Self:
        """The same camera for measurements of which only these pixels `(B, H, W)` tell something.

        The mask is shared, not copied.
        """
        return self._of(self.mask, seen)

    def _of_seen(self, measurement: Tensor) -> Tensor:
        """A measurement with zeros where nothing is seen."""
        return measurement if self.seen is None else torch.where(self.seen, measurement, 0.0)

    def _add_up(self, coded: Tensor) -> Tensor:
        """Coded frames `(B, T, H, W)` to the measurement that they make."""
        return coded.sum(1)

    def _spread(self, measurement: Tensor) -> Tensor:
        """The adjoint of `_add_up`; frames that are all alike may be given once, `(B, 1, H, W)`."""
        return measurement.unsqueeze(1)

    def _of(self, mask: Tensor, seen: Tensor | None) -> Self:
        """An operator of this kind with another mask."""
        return type(self)(mask, seen)
