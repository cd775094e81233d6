"""How well a camera explains its captures, with the gradient in what the camera is.

The score of a measurement is the logarithm of what plain GAP minimises with total variation,
`1/2 ||y - A x||^2 / gram + sigma TV(x)`, at its fixed point x. It is the misfit, and the price of
the video that has it. Of the scores that were measured (the misfit alone, the error of predicted
hidden pixels) its minimum lies closest to the truth. Logarithms, so that measurements of any
brightness and noise count alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad

from deqsci_cli.equilibrium.gradients import GradientForm, Linearised, differentiable
from deqsci_cli.equilibrium.model import iterate, make_map, start_state, threads_for
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.equilibrium.solvers import norms
from deqsci_cli.networks.tv import TotalVariation
from deqsci_cli.physics.optics import Optics
from deqsci_cli.physics.sensing import SensingOperator

# Pixels of the mask around a part that are moved with it, so that nothing comes from outside.
_AROUND = 12
# A blur has no slope at 0: it is sought as a variance, from a little above.
_LEAST_VARIANCE = 1e-6
# The share of a measurement below which its misfit counts for nothing: it may be 0.
_FLOOR = 1e-5
# Pixels on a side of the blocks whose slopes are taken to be independent.
_BLOCK = 16
TV = TotalVariation(iterations=3)
SETTINGS = EquilibriumSettings(consistency_relaxation=1, sigma=0.03, tol=3e-4, max_iter=60)
ROUGH = EquilibriumSettings(consistency_relaxation=1, sigma=0.03, tol=1e-2, max_iter=15)


@dataclass(frozen=True)
class CapturePart:
    """A part of one of the measurements: which one, its rows and its columns."""

    index: int
    rows: slice
    columns: slice


class CameraScore:
    """The score as a function of the parameters' values, with its gradient.

    Args:
        measurements: `(N, H, W)`.
        mask: `(T, H, W)`, as on file.
        parts: of the measurements, all of one size.
        names: of the parameters, in the order of their values: `rows` and `columns` (of the shift,
            pixels) or `across` (the shift across the motion, pixels), `rotation` (degrees),
            `scale` (minus 1), `variance` (of the blur, pixels^2), `offset` (black level, in units
            of white).
        seen: booleans `(N, H, W)`.
        between: what the mask is between its pixels.
        blur: a blur that every candidate has, in pixels.
        motion: pixels (down, right) a frame by which the mask translates, for `across`.
    """

    def __init__(
        self,
        measurements: Tensor,
        mask: Tensor,
        parts: list[CapturePart],
        names: tuple[str, ...],
        seen: Tensor | None = None,
        between: str = "band",
        blur: float = 0.0,
        motion: tuple[float, float] | None = None,
    ):
        self.mask, self.parts, self.names = mask, parts, names
        self.between, self.blur, self.motion = between, blur, motion
        self.measured = torch.stack([measurements[p.index, p.rows, p.columns] for p in parts])
        self.seen = None
        if seen is not None:
            self.seen = torch.stack([seen[p.index, p.rows, p.columns] for p in parts])
        self.white = white_of(mask)
        self.evaluations = 0
        self._state: Tensor | None = None

    def __call__(self, values: np.ndarray) -> tuple[float, np.ndarray]:
        """The score and its gradient."""
        at = self._tensor(values).requires_grad_()
        camera = self._camera(at)
        score, slopes = self._differentiated(*camera)
        needed = [(c, s) for c, s in zip(camera, slopes, strict=True) if c.requires_grad]
        outputs, cotangents = zip(*needed, strict=True)
        (gradient,) = torch.autograd.grad(outputs, at, cotangents)
        return score, gradient.double().numpy()

    def value(
        self, values: np.ndarray, settings: EquilibriumSettings = SETTINGS, *, afresh: bool = False
    ) -> float:
        """The score alone; `afresh` from the start, not from the last fixed point."""
        if afresh:
            self._state = None
        with torch.no_grad():
            mask, measured = self._camera(self._tensor(values))
            operator = SensingOperator(mask, self.seen)
            video = self._solved(operator, measured, settings)
            return float(self._score(operator, measured, video))

    def _differentiated(
        self, mask: Tensor, measured: Tensor
    ) -> tuple[float, tuple[Tensor, Tensor]]:
        """The score of masks and measurements, and its gradient in both."""
        mask, measured = (part.detach().requires_grad_() for part in (mask, measured))
        operator = SensingOperator(mask, self.seen)
        with threads_for(TV, measured):
            f = make_map(TV, operator, measured, SETTINGS)
            at = Linearised(f, self._solved(operator, measured, SETTINGS))
            video = differentiable(f, at, GradientForm("exact"), tol=1e-2, max_iter=30)
            score = self._score(operator, measured, video)
            by_mask, by_measured = torch.autograd.grad(score, (mask, measured))
        return float(score.detach()), (by_mask, by_measured)

    def slopes(self, values: np.ndarray) -> np.ndarray:
        """What each block of 16 x 16 pixels contributes to the gradient, `(blocks, parameters)`."""
        by_mask, by_measured = self._differentiated(*self.camera(values))[1]
        at, columns = self._tensor(values), []
        for direction in torch.eye(len(values), dtype=at.dtype):
            with torch.no_grad(), forward_ad.dual_level():
                camera = self._camera(forward_ad.make_dual(at, direction))
                by_value = [forward_ad.unpack_dual(part).tangent for part in camera]
                # What does not depend on this parameter has no tangent.
                slope = torch.zeros_like(by_measured)
                if by_value[0] is not None:
                    slope = slope + (by_mask * by_value[0]).sum(1)
                if by_value[1] is not None:
                    slope = slope + by_measured * by_value[1]
            columns.append(torch.cat([_blocks(part) for part in slope.double()]))
        return torch.stack(columns, 1).numpy()

    def camera(self, values: np.ndarray) -> tuple[Tensor, Tensor]:
        """The masks of the parts `(parts, T, h, w)`, and their measurements `(parts, h, w)`."""
        with torch.no_grad():
            return self._camera(self._tensor(values))

    def misfit(self) -> float:
        """`||y - A x|| / ||y||` of plain GAP with the camera on file, the mean over the parts."""
        mask, measured = self.camera(np.zeros(len(self.names)))
        operator = SensingOperator(mask, self.seen)
        left = measured - operator.A(self._solved(operator, measured, SETTINGS))
        if self.seen is not None:
            left = torch.where(self.seen, left, 0.0)
        return float((norms(left) / norms(measured).clamp(min=1e-20)).mean())

    def optics(self, values: Tensor) -> Optics:
        """The optics of the whole picture at these values."""
        named = dict(zip(self.names, values, strict=True))
        variance = named.get("variance")
        blur = values.new_tensor(self.blur) if self.blur else None
        if variance is not None:
            blur = (variance.clamp(min=_LEAST_VARIANCE) + self.blur**2).sqrt()
        shift = None
        if self.motion is not None and "across" in named:
            down, right = self.motion
            length = math.hypot(down, right)
            shift = torch.stack(
                (named["across"] * right / length, named["across"] * -down / length)
            )
        elif {"rows", "columns"} & set(named):
            zero = values.new_zeros(())
            shift = torch.stack((named.get("rows", zero), named.get("columns", zero)))
        return Optics(
            shift=shift,
            rotation=named.get("rotation"),
            scale=named["scale"] + 1 if "scale" in named else None,
            blur=blur,
            between=self.between,
        )

    def offset(self, values: np.ndarray) -> float:
        """The black level at these values, in the measurement's units."""
        named = dict(zip(self.names, values.tolist(), strict=True))
        return self.white * float(named.get("offset", 0.0))

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.as_tensor(values, dtype=self.mask.dtype)

    def _camera(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """The mask of each part `(parts, T, h, w)`, and the measurement less its black level."""
        named = dict(zip(self.names, values, strict=True))
        black = named.get("offset", values.new_zeros(())) * self.white
        optics, known = self.optics(values), {}
        for part in self.parts:
            place = (part.rows.start, part.columns.start)
            if place not in known:
                known[place] = _mask_of(self.mask, optics, part)
        masks = [known[p.rows.start, p.columns.start] for p in self.parts]
        return torch.stack(masks), self.measured - black

    def _solved(
        self, operator: SensingOperator, measured: Tensor, settings: EquilibriumSettings
    ) -> Tensor:
        """The fixed point, from the last one."""
        with torch.no_grad(), threads_for(TV, measured):
            f = make_map(TV, operator, measured, settings)
            start = start_state(f, settings) if self._state is None else self._state
            found = iterate(f, start, settings).x
        self.evaluations += 1
        self._state = found if bool(found.isfinite().all()) else None
        return found

    def _score(self, operator: SensingOperator, measured: Tensor, video: Tensor) -> Tensor:
        weight = torch.where(operator.open, operator.gram.clamp(min=1e-20).rsqrt(), 0.0)
        misfit, all_of_it = (
            ((part * weight) ** 2).sum((1, 2)) / 2
            for part in (measured - operator.A(video), measured.detach())
        )
        variation = sum(video.diff(dim=d).abs().sum((1, 2, 3)) for d in (-1, -2))
        score = misfit + SETTINGS.sigma * variation + _FLOOR * all_of_it
        return torch.log(score).mean()


def white_of(mask: Tensor) -> float:
    """What a white scene measures, the mean over the picture: the unit of a black level."""
    return float(mask.sum(0).mean())


def _mask_of(mask: Tensor, optics: Optics, part: CapturePart) -> Tensor:
    """The mask that the camera has in a part; none lets less than nothing through."""
    height, width = mask.shape[-2:]
    rows, columns = _wider(part.rows, height), _wider(part.columns, width)
    off = tuple((s.start + s.stop - size) / 2 for s, size in ((rows, height), (columns, width)))
    moved = optics.of_part((off[0], off[1]))(mask[:, rows, columns])
    top, left = part.rows.start - rows.start, part.columns.start - columns.start
    size = part.rows.stop - part.rows.start, part.columns.stop - part.columns.start
    return moved[:, top : top + size[0], left : left + size[1]].clamp(min=0)


def _wider(part: slice, size: int) -> slice:
    return slice(max(part.start - _AROUND, 0), min(part.stop + _AROUND, size))


def _blocks(picture: Tensor) -> Tensor:
    """The sums of blocks of a picture `(H, W)`, `(blocks,)`."""
    rows = torch.stack([r.sum(0) for r in picture.split(_BLOCK)])
    return torch.stack([c.sum(1) for c in rows.split(_BLOCK, 1)]).flatten()
