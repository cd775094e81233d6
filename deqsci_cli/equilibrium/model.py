"""From a measurement to its equilibrium: start, warm-up, fixed point."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from deqsci_cli.config import build
from deqsci_cli.equilibrium.maps import MAPS, GAPMap
from deqsci_cli.equilibrium.solvers import (
    SOLVERS,
    Map,
    OnIteration,
    Solution,
    anderson,
    norms,
    picard,
)
from deqsci_cli.errors import UsageError
from deqsci_cli.networks.denoiser import CPU_CHUNK_PIXELS, Denoiser
from deqsci_cli.networks.symmetric import SYMMETRIES, Symmetric
from deqsci_cli.networks.tv import TotalVariation
from deqsci_cli.physics.sensing import SensingOperator

STARTS = ("average", "adjoint", "gap-tv")
# All of it is held at once; beyond some ten iterates nothing is gained.
_MOST_MEMORY = 1000


@dataclass(frozen=True)
class EquilibriumSettings:
    """How a model is brought to its fixed point.

    Attributes:
        map: `gap` or `accelerated-gap`.
        sigma: the denoiser's noise level at equilibrium, in [0, 1] units.
        symmetries: the denoiser's answer is the mean over so many turned, mirrored and reversed
            films (1, 2, 4 or 8): better, and an evaluation takes so many times as long.
        warmup: pairs (sigma, iterations) of plain iteration before it, falling to `sigma`.
        start: `average` (y / sum of masks), `adjoint`, or `gap-tv` (a total-variation
            reconstruction, for less than the price of one evaluation of most networks).
        solver: `anderson` or `picard`.
        tol: relative residual at which the equilibrium is met.
        max_iter: most evaluations of the solver, after the warm-up.
        relaxation: of the solver's steps, in (0, 1].
        memory: iterates that Anderson mixes.
        anderson_start_tol: the residual below which it begins to; 0 for from the start.
        regularisation: of Anderson's least squares, relative.
        absolute_regularisation: the same as the published code has it; 0 for none.
    """

    map: str = "accelerated-gap"
    sigma: float = 12 / 255
    symmetries: int = 1
    warmup: tuple[tuple[float, int], ...] = ()
    start: str = "average"
    solver: str = "anderson"
    tol: float = 1e-3
    max_iter: int = 100
    relaxation: float = 1.0
    memory: int = 5
    anderson_start_tol: float = 0.0
    regularisation: float = 1e-8
    absolute_regularisation: float = 0.0

    def __post_init__(self) -> None:
        for name, known in (("map", MAPS), ("solver", SOLVERS), ("start", STARTS)):
            if getattr(self, name) not in known:
                raise UsageError(
                    f"there is no {name} '{getattr(self, name)}'", hint=f"one of {', '.join(known)}"
                )
        if self.symmetries not in SYMMETRIES:
            raise UsageError(
                f"symmetries must be 1, 2, 4 or 8, not {self.symmetries}",
                hint="each doubling costs twice the time",
            )
        if not (self.tol > 0 and math.isfinite(self.tol)):
            raise UsageError("the tolerance must be above 0")
        levels = (self.sigma, *(sigma for sigma, _ in self.warmup))
        if not all(0 <= sigma < math.inf for sigma in levels):
            raise UsageError("a noise level must not be negative, nor infinite")
        if self.max_iter < 1:
            raise UsageError("the most iterations must be at least 1")
        if any(iterations < 1 for _, iterations in self.warmup):
            raise UsageError("a level of the warm-up has at least 1 iteration")
        if not 0 < self.relaxation <= 1:
            raise UsageError("the relaxation lies above 0 and at most at 1")
        if not 1 <= self.memory <= _MOST_MEMORY:
            raise UsageError(f"Anderson's memory must be 1 to {_MOST_MEMORY}")
        for name in ("anderson_start_tol", "regularisation", "absolute_regularisation"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UsageError(f"{name} must not be negative, nor infinite")

    @classmethod
    def from_card(cls, equilibrium: dict[str, Any], **changes: Any) -> EquilibriumSettings:
        """A card's settings, with what the user asks for instead (None: nothing asked).

        Raises:
            UsageError: an unknown or impossible setting.
        """
        return build(cls, equilibrium | {k: v for k, v in changes.items() if v is not None})


#: the cheap reconstruction that others may start from
TV_START = EquilibriumSettings(map="accelerated-gap", sigma=0.1, tol=1e-3, max_iter=30)


def solve(
    network: Denoiser,
    operator: SensingOperator,
    measurement: Tensor,
    settings: EquilibriumSettings,
    *,
    on_iteration: OnIteration | None = None,
) -> Solution:
    """Reconstruct a batch of measurements.

    Args:
        network: the denoiser, called as `D(video, sigma)`.
        operator: the camera, on the measurement's device.
        measurement: `(B, H, W)`.
        settings: how.
        on_iteration: told the number of evaluations, the best residuals `(B,)` and the videos
            that would be the answer by now.

    Returns:
        The videos `(B, T, H, W)`, with the trace and the count of every evaluation, those of
        the warm-up among them; residuals and status are of the map at its final noise level.
    """
    with torch.no_grad(), threads_for(network, measurement):
        f = make_map(network, operator, measurement, settings)
        state = start_state(f, settings)
        traces: list[list[float]] = [[] for _ in range(len(measurement))]
        spent = 0

        def report(count: int, residual: Tensor, best: Tensor) -> None:
            if on_iteration is not None:
                on_iteration(spent + count, residual, f.video(best))

        for sigma, iterations in settings.warmup:
            step = make_map(network, operator, measurement, replace(settings, sigma=sigma))
            for count in range(1, iterations + 1):
                after = step(state)
                residual = norms(after - state) / norms(after).clamp(min=1e-30)
                finite = torch.isfinite(residual).view(-1, 1, 1, 1)
                state = torch.where(finite, after, state)
                for trace, value in zip(traces, residual.tolist(), strict=True):
                    trace.append(value)
                report(count, residual, state)
            spent += iterations
        found = iterate(f, state, settings, on_iteration=report)
    return Solution(
        f.video(found.x),
        found.residual,
        [warm + trace for warm, trace in zip(traces, found.residual_trace, strict=True)],
        [spent + count for count in found.evaluations],
        found.status,
    )


@contextmanager
def threads_for(network: Denoiser, measurement: Tensor) -> Iterator[None]:
    """Have one thread compute what is arithmetic alone, on small pictures.

    A network without weights is thousands of operations of microseconds. To share them out gains
    next to nothing where cores are free, and on a shared machine each may wait for a thread that
    does not run (benchmarks/README.md). The number of threads is put back at the end.
    """
    small = measurement.device.type == "cpu" and measurement[0].numel() <= CPU_CHUNK_PIXELS
    if not small or any(True for _ in network.parameters()):
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def make_map(
    network: Denoiser,
    operator: SensingOperator,
    measurement: Tensor,
    settings: EquilibriumSettings,
) -> GAPMap:
    """The map of a batch of measurements, at its final noise level."""
    if settings.symmetries > 1:
        network = Symmetric(network, settings.symmetries)
    return MAPS[settings.map](operator, measurement, network, settings.sigma)


def start_state(f: GAPMap, settings: EquilibriumSettings) -> Tensor:
    """Where a map's iteration starts."""
    operator, measurement = f.operator, f.measurement
    if settings.start == "adjoint":
        video = operator.A_adjoint(measurement)
    elif settings.start == "gap-tv":
        video = solve(TotalVariation(iterations=3), operator, measurement, TV_START).x
    else:
        video = operator.average_frame(measurement)
    return f.start(video)


def iterate(
    f: Map, state: Tensor, settings: EquilibriumSettings, *, on_iteration: OnIteration | None = None
) -> Solution:
    """Bring a map to its fixed point as the settings say."""
    common: dict[str, Any] = {
        "tol": settings.tol,
        "max_iter": settings.max_iter,
        "relaxation": settings.relaxation,
        "on_iteration": on_iteration,
    }
    if settings.solver == "picard":
        return picard(f, state, **common)
    return anderson(
        f,
        state,
        memory=settings.memory,
        anderson_start_tol=settings.anderson_start_tol,
        regularisation=settings.regularisation,
        absolute_regularisation=settings.absolute_regularisation,
        **common,
    )
