"""A coarse precision far from the fixed point, the exact one near it."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from deqsci_cli.equilibrium.maps import GAPMap
from deqsci_cli.equilibrium.solvers import norms

# A sample whose residual stays large is not helped by more coarse evaluations.
_MOST_COARSE = 20


@dataclass(eq=False)
class _Course:
    """How far a batch has come: which samples are near their fixed points, how many evaluations."""

    near: Tensor
    count: int = 0


class CoarseFirst:
    """A map that is computed coarsely until a sample's residual is small.

    From there on, or after twenty evaluations, that sample is computed exactly, so that its fixed
    point and what is said of it are those of the exact map. The value of the evaluation at which a
    sample comes near is already exact.

    Args:
        coarse: the map with the network in a faster precision.
        exact: the map.
        tol: relative residual at which a sample is near.
    """

    def __init__(self, coarse: GAPMap, exact: GAPMap, tol: float):
        self.coarse, self.exact, self.tol = coarse, exact, tol
        self._samples = torch.arange(len(exact.measurement))
        self._course = _Course(torch.zeros(len(self._samples), dtype=torch.bool))

    def select(self, samples: Tensor) -> CoarseFirst:
        """The map of some samples of the batch, given by their indices."""
        part = copy(self)
        part.coarse, part.exact = self.coarse.select(samples), self.exact.select(samples)
        part._samples = self._samples[samples]
        return part

    def __call__(self, state: Tensor) -> Tensor:
        course, samples = self._course, self._samples
        course.count += 1
        if course.count > _MOST_COARSE:
            course.near[:] = True
        value, far = torch.empty_like(state), ~course.near[samples]
        if bool(far.any()):
            _evaluate(self.coarse, state, far, value)
            residual = norms(value - state) / norms(value)
            far &= (residual > self.tol).cpu()
            course.near[samples] = ~far
        if not bool(far.all()):
            _evaluate(self.exact, state, ~far, value)
        return value


def _evaluate(f: GAPMap, state: Tensor, where: Tensor, value: Tensor) -> None:
    """Put the values of some samples, told by booleans on the host, in their places."""
    if bool(where.all()):
        value.copy_(f(state))
        return
    places = where.nonzero()[:, 0].to(state.device)
    value[places] = f.select(places)(state[places])
