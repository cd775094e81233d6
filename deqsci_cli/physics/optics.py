"""The mask that a camera really had, from the one on file: moved, turned, scaled, blurred, lit.

Conventions. Rows count downwards, columns to the right, the centre of the picture is at
`((H - 1) / 2, (W - 1) / 2)`. The true mask is the one on file, first scaled about the centre, then
turned about it, then moved: what the file has at `q` (from the centre) the camera has at
`scale * R q + shift`. A positive shift moves down and right, a positive rotation turns
counter-clockwise as the picture is shown (as `numpy.rot90` does), a scale above 1 enlarges.

What a mask is between its pixels has to be assumed, and three assumptions are kept (`BETWEEN`).
`band`: the trigonometric polynomial through the values, for a mask with soft edges. It loses no
contrast, so that its own blur is the same wherever the mask is moved to; interpolation from
neighbours blurs half-way the most, and would draw a search to or from these places. `cells`:
elements as large as a pixel with sharp edges, of which a displaced pixel sees parts (bilinear,
exact for such a mask). `cubic`: the cubic spline through the values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F  # noqa: N812
from scipy.ndimage import spline_filter1d
from torch import Tensor

#: what a mask may be between its pixels, and the degree of the spline through them
BETWEEN: dict[str, int | None] = {"band": None, "cells": 1, "cubic": 3}

# Mirrored pixels beyond the border: what moves in, and what keeps the seam of the period away.
_PAD = 16


@dataclass(frozen=True, eq=False)
class Optics:
    """What became of a mask on its way from its file into the camera; tensors may have gradients.

    Attributes:
        shift: pixels down and right, `(2,)`.
        rotation: degrees counter-clockwise, a scalar.
        scale: factor of enlargement, a scalar.
        blur: standard deviation of a Gaussian, in pixels, a scalar.
        gains: illumination of each frame, `(T,)`. None stands for no change, here and above.
        between: what the mask is between its pixels, one of `BETWEEN`.
    """

    shift: Tensor | None = None
    rotation: Tensor | None = None
    scale: Tensor | None = None
    blur: Tensor | None = None
    gains: Tensor | None = None
    between: str = "band"

    def __call__(self, mask: Tensor) -> Tensor:
        """The mask `(T, H, W)` that the camera has, the same shape; differentiable in all.

        Beyond the border the mask on file is mirrored; `margin` says how far in that is felt.
        """
        moved = mask
        places = (self.shift, self.rotation, self.scale)
        if any(p is not None for p in (*places, self.blur)):
            moved, pad = _padded(mask)
            degree = BETWEEN[self.between]
            if degree is None:
                moved = self._along_both(moved)
            else:
                if any(p is not None for p in places):
                    moved = _spline(moved, self._sources(moved), degree)
                if self.blur is not None:
                    moved = Optics(blur=self.blur)._along_both(moved)
            moved = moved[:, pad[0] : -pad[0] or None, pad[1] : -pad[1] or None]
        return moved if self.gains is None else moved * self.gains[:, None, None]

    def margin(self, shape: tuple[int, int]) -> int:
        """Pixels at each border of a picture `(H, W)` that are not to be trusted.

        Those that came in from outside, and three more for what is felt of the seam.
        """
        ys, xs = (torch.tensor([-1.0, 1.0]) * (size - 1) / 2 for size in shape)
        corner = torch.cartesian_prod(ys, xs)
        at = corner
        if self.scale is not None:
            at = at * self.scale.detach().cpu()
        if self.rotation is not None:
            at = at @ _rotation(torch.deg2rad(self.rotation.detach().cpu())).T
        if self.shift is not None:
            at = at + self.shift.detach().cpu()
        blur = 0.0 if self.blur is None else 3 * float(self.blur)
        return math.ceil(float((at - corner).abs().max()) + blur - 1e-4) + 3

    def inside(self, shape: tuple[int, int]) -> Tensor:
        """Where a mask `(T, H, W)` comes from inside its file, booleans `(H, W)`."""
        some = [p for p in (self.shift, self.rotation, self.scale) if p is not None]
        if not some:
            return torch.ones(shape, dtype=torch.bool)
        with torch.no_grad():
            at = self._sources(some[0].new_empty(1, *shape))
        # A thousandth of a pixel more is rounding.
        return torch.stack(
            [(a >= -1e-3) & (a <= size - 1 + 1e-3) for a, size in zip(at, shape, strict=True)]
        ).all(0)

    def of_part(self, off_centre: tuple[float, float]) -> Optics:
        """The same for a part of the picture, about that part's own centre.

        Args:
            off_centre: pixels that the part's centre lies below and right of the picture's.
        """
        if self.rotation is None and self.scale is None:
            return self
        some = self.rotation if self.rotation is not None else self.scale
        assert some is not None
        place = some.new_tensor(off_centre)
        moved = place if self.scale is None else place * self.scale
        if self.rotation is not None:
            moved = _rotation(torch.deg2rad(self.rotation)) @ moved
        shift = moved - place
        return replace(self, shift=shift if self.shift is None else shift + self.shift)

    def _sources(self, stack: Tensor) -> Tensor:
        """Where each pixel of `(T, H, W)` comes from, `(2, H, W)`: rows and columns."""
        centre = [(size - 1) / 2 for size in stack.shape[-2:]]
        rows, columns = (
            torch.arange(size, dtype=stack.dtype, device=stack.device) - middle
            for size, middle in zip(stack.shape[-2:], centre, strict=True)
        )
        at = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))
        if self.shift is not None:
            at = at - self.shift[:, None, None]
        if self.rotation is not None:
            back = _rotation(-torch.deg2rad(self.rotation))
            at = torch.einsum("ij,jhw->ihw", back, at)
        if self.scale is not None:
            at = at / self.scale
        return at + at.new_tensor(centre)[:, None, None]

    def _along_both(self, stack: Tensor) -> Tensor:
        """All but the gains, on `(T, H, W)`, by trigonometric polynomials."""
        if self.rotation is not None:
            stack = _turned(stack, torch.deg2rad(self.rotation))
        shift = stack.new_zeros(2) if self.shift is None else self.shift
        stack = self._along_rows(stack, shift[1])
        return self._along_rows(stack.mT, shift[0]).mT

    def _along_rows(self, stack: Tensor, shift: Tensor) -> Tensor:
        """Scale, move and blur `(T, H, W)` along the columns' axis."""
        size = stack.shape[-1]
        spectrum = torch.fft.rfft(stack, dim=-1)
        frequency = 2 * math.pi * torch.fft.rfftfreq(size, device=stack.device, dtype=stack.dtype)
        at = torch.arange(size, device=stack.device, dtype=stack.dtype) - shift
        if self.scale is not None:
            centre = (size - 1) / 2
            at = (at - centre) / self.scale + centre
        # A real series: each frequency stands for itself and its mirror image.
        weight = torch.full_like(frequency, 2 / size)
        weight[0] = 1 / size
        if size % 2 == 0:
            weight[-1] = 1 / size
        if self.blur is not None:
            weight = weight * torch.exp(-((self.blur * frequency) ** 2) / 2)
        phase = at[:, None] * frequency
        cosine, sine = weight * torch.cos(phase), weight * torch.sin(phase)
        moved: Tensor = spectrum.real @ cosine.T - spectrum.imag @ sine.T
        return moved


def _padded(stack: Tensor) -> tuple[Tensor, list[int]]:
    """Mirrored at its borders, the outermost fading into the mean, so that the period has no seam.

    Returns the padded stack, and the pixels added to each side, down and right.
    """
    pad = [min(_PAD, size - 1) for size in stack.shape[-2:]]
    mean = stack.mean((1, 2), keepdim=True)
    wide = F.pad((stack - mean)[None], (pad[1], pad[1], pad[0], pad[0]), mode="reflect")[0]
    for axis, width in enumerate(pad, 1):
        if width:
            ramp = torch.arange(1, width + 1, dtype=stack.dtype, device=stack.device) / (width + 1)
            ramp = torch.sin(ramp * math.pi / 2).square()
            fade = torch.cat((ramp, stack.new_ones(stack.shape[axis]), ramp.flip(0)))
            wide = wide * fade.view(-1, *[1] * (2 - axis))
    return wide + mean, pad


def _spline(stack: Tensor, at: Tensor, degree: int) -> Tensor:
    """The spline through `(T, H, W)` at places `(2, H', W')`: `(T, H', W')`.

    Differentiable in the places; the stack is a constant.
    """
    height, width = stack.shape[-2:]
    coefficients = stack.detach().cpu().numpy()
    if degree > 1:
        for axis in (1, 2):
            coefficients = spline_filter1d(coefficients, degree, axis, stack.cpu().numpy().dtype)
    flat = torch.as_tensor(coefficients, device=stack.device).flatten(1)
    first = torch.floor(at.detach() - (degree - 1) / 2)
    total = stack.new_zeros(len(stack), *at.shape[1:])
    offsets = range(degree + 1)
    weights = [
        [_b_spline(a - f - k, degree) for k in offsets] for a, f in zip(at, first, strict=True)
    ]
    rows, columns = ([f.long() + k for k in offsets] for f in first)
    for row, row_weight in zip(rows, weights[0], strict=True):
        for column, column_weight in zip(columns, weights[1], strict=True):
            index = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
            total = total + flat[:, index] * (row_weight * column_weight)
    return total


def _b_spline(x: Tensor, degree: int) -> Tensor:
    """The B-spline of degree 1 or 3 at distances within its support."""
    x = x.abs()
    if degree == 1:
        return 1 - x
    return torch.where(x < 1, 2 / 3 - x**2 + x**3 / 2, (2 - x).clamp(min=0) ** 3 / 6)


def _rotation(angle: Tensor) -> Tensor:
    """The matrix on (row, column) that turns counter-clockwise, rows counting downwards."""
    c, s = torch.cos(angle), torch.sin(angle)
    return torch.stack((torch.stack((c, -s)), torch.stack((s, c))))


def _turned(stack: Tensor, angle: Tensor) -> Tensor:
    """`(T, H, W)` turned by an angle in radians: three shears, each a shift of lines by phases.

    Source: Unser, Thevenaz & Yaroslavsky, IEEE TIP 4 (1995) 1371.
    """
    tangent, sine = torch.tan(angle / 2), torch.sin(angle)
    stack = _sheared(stack, tangent)
    stack = _sheared(stack.mT, -sine).mT
    return _sheared(stack, tangent)


def _sheared(stack: Tensor, slope: Tensor) -> Tensor:
    """Move each row to the right by `slope` times its distance below the centre."""
    height, width = stack.shape[-2:]
    rows = torch.arange(height, device=stack.device, dtype=stack.dtype) - (height - 1) / 2
    frequency = 2 * math.pi * torch.fft.rfftfreq(width, device=stack.device, dtype=stack.dtype)
    phase = -slope * rows[:, None] * frequency
    turned = torch.fft.rfft(stack, dim=-1) * torch.complex(torch.cos(phase), torch.sin(phase))
    sheared: Tensor = torch.fft.irfft(turned, n=width, dim=-1)
    return sheared
