"""Eigenvalues of a map's Jacobian: whether an iteration near its fixed point converges."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from deqsci_cli.equilibrium.gradients import Linearised
from deqsci_cli.equilibrium.solvers import Map, unit


@dataclass(frozen=True)
class Spectrum:
    """The outer eigenvalues of a Jacobian, for one sample.

    Attributes:
        dominant: the eigenvalue of the largest modulus.
        rightmost: the one of the largest real part.
        error: how far the dominant one may be off (the norm of its Ritz residual; for a normal
            matrix a bound).
        max_relaxation: the largest relaxation with which plain iteration converges on all Ritz
            values; 0 if there is none. It is above 1 where the undamped iteration converges.
    """

    dominant: complex
    rightmost: complex
    error: float
    max_relaxation: float

    @property
    def spectral_radius(self) -> float:
        """The largest modulus: below 1, plain iteration converges near the fixed point."""
        return abs(self.dominant)


def spectrum(f: Map, x: Tensor, *, steps: int = 30, seed: int = 0) -> list[Spectrum]:
    """Estimate the outer eigenvalues of df/dx, of every sample by itself.

    Arnoldi's method on the transposed Jacobian (which has the same eigenvalues): a power
    iteration that keeps what it has seen, and so finds complex pairs as well.
    Source: Saad, Numerical Methods for Large Eigenvalue Problems (2011), chapter 6.

    Args:
        f: the map, whose samples do not touch each other.
        x: the point, `(B, …)`.
        steps: products with the transposed Jacobian; as many states are held in memory.
        seed: of the first vector.
    """
    at = Linearised(f, x)
    rng = torch.Generator().manual_seed(seed)
    first = torch.randn(x.shape, generator=rng, dtype=torch.float64).to(x)
    steps = min(steps, x[0].numel())
    basis = [unit(first.flatten(1))[0]]
    hessenberg = torch.zeros(x.shape[0], steps + 1, steps, dtype=torch.float64)
    for j in range(steps):
        image = at.vjp(basis[j].view_as(x)).flatten(1)
        for _ in range(2):  # a second pass, for what rounding leaves of the first
            for i, vector in enumerate(basis):
                share = (vector * image).sum(1, keepdim=True)
                image = image - share * vector
                hessenberg[:, i, j] += share[:, 0].double().cpu()
        direction, length = unit(image)
        hessenberg[:, j + 1, j] = length.double().cpu()
        basis.append(direction)
    return [_read(h, 100 * torch.finfo(x.dtype).eps) for h in hessenberg]


def _read(hessenberg: Tensor, rounding: float) -> Spectrum:
    if not torch.isfinite(hessenberg).all():
        infinite = complex(float("inf"))
        return Spectrum(infinite, infinite, float("inf"), 0.0)
    # Where the space closes every eigenvalue is found; what follows is rounding or zeros.
    closed = hessenberg.diagonal(-1) <= rounding * hessenberg.abs().max()
    if bool(closed.any()):
        size = int(closed.int().argmax()) + 1
        hessenberg = hessenberg[: size + 1, :size]
    values, vectors = torch.linalg.eig(hessenberg[:-1])
    first = int(values.abs().argmax())
    error = float(hessenberg[-1, -1] * vectors[-1, first].abs())
    # |1 - d (1 - v)| < 1 holds for 0 < d < 2 Re(1 - v) / |1 - v|^2.
    away = 1 - values
    limits = 2 * away.real / away.abs().square().clamp(min=1e-30)
    return Spectrum(
        complex(values[first]),
        complex(values[int(values.real.argmax())]),
        error,
        max(0.0, float(limits.min())),
    )
