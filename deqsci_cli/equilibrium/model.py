"""From a measurement to its equilibrium: start, warm-up, fixed point."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
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
    norms,
)
from deqsci_cli.errors import UsageError
from deqsci_cli.networks.denoiser import CPU_CHUNK_PIXELS, Denoiser, DenoiserLike, as_denoiser
from deqsci_cli.networks.symmetric import SYMMETRIES, Symmetric
from deqsci_cli.networks.tiled import AUTO, WHOLE, Tiled, check_tile
from deqsci_cli.networks.tv import TotalVariation
from deqsci_cli.physics.protocol import Physics
from deqsci_cli.registry import Registry, named_settings

# All of it is held at once; beyond some ten iterates nothing is gained.
_MOST_MEMORY = 1000
#: called as `start(operator, measurement)`; gives the video that a map starts from
STARTS: Registry[Callable[[Physics, Tensor], Tensor]] = Registry("start")


# Two maps of former versions, and the setting that each has become.
_FORMER_MAPS = {"gap": 1.0, "accelerated-gap": 0.0}


@dataclass(frozen=True)
class EquilibriumSettings:
    """How a model is brought to its fixed point.

    Attributes:
        map: `relaxed-gap`.
        consistency_relaxation: r of that map, in [0, 1]. At 0 (accelerated GAP) the video agrees
            with the measurement after the denoiser; at 1 (plain GAP) only before it; in between
            the measurement is trusted less the larger r is.
        sigma: the denoiser's noise level at equilibrium, in [0, 1] units.
        symmetries: the denoiser's answer is the mean over so many turned, mirrored and reversed
            films (1, 2, 4 or 8): better, and an evaluation takes so many times as long.
        tile: side of the tiles by which the denoiser is evaluated, which changes its answer by no
            more than rounding: pixels, `none` for whole pictures, or `auto` for tiles where whole
            features would take more than a fixed amount of memory (see `networks.tiled`).
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

    map: str = "relaxed-gap"
    consistency_relaxation: float = 0.0
    sigma: float = 12 / 255
    symmetries: int = 1
    tile: str = AUTO
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
        if self.map in _FORMER_MAPS:
            raise UsageError(
                f"the map '{self.map}' has become a setting of the map relaxed-gap",
                hint=f"in place of `map` set consistency_relaxation = {_FORMER_MAPS[self.map]}",
            )
        MAPS.find(self.map)
        SOLVERS.find(self.solver)
        STARTS.find(self.start)
        if not 0 <= self.consistency_relaxation <= 1:
            raise UsageError("consistency_relaxation must be between 0 and 1")
        if self.symmetries not in SYMMETRIES:
            raise UsageError(
                f"symmetries must be 1, 2, 4 or 8, not {self.symmetries}",
                hint="each doubling costs twice the time",
            )
        check_tile(self.tile)
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


def solve(
    network: DenoiserLike,
    operator: Physics,
    measurement: Tensor,
    settings: EquilibriumSettings,
    *,
    on_iteration: OnIteration | None = None,
) -> Solution:
    """Reconstruct a batch of measurements.

    Args:
        network: the denoiser, anything called as `D(video, sigma)`.
        operator: the camera, on the measurement's device.
        measurement: `(B, …)`, `(B, H, W)` for a `SensingOperator`.
        settings: how.
        on_iteration: told the number of evaluations, the best residuals `(B,)` and the videos
            that would be the answer by now.

    Returns:
        The videos `(B, T, H, W)`, with the trace and the count of every evaluation, those of
        the warm-up among them; residuals and status are of the map at its final noise level.
    """
    network = as_denoiser(network)
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
                finite = torch.isfinite(residual).view(-1, *[1] * (state.ndim - 1))
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
    network: DenoiserLike,
    operator: Physics,
    measurement: Tensor,
    settings: EquilibriumSettings,
) -> GAPMap:
    """The map of a batch of measurements, at its final noise level."""
    network, make = as_denoiser(network), MAPS.find(settings.map)
    if settings.tile != WHOLE:
        network = Tiled(network, settings.tile)
    if settings.symmetries > 1:
        network = Symmetric(network, settings.symmetries)
    return make(operator, measurement, network, **named_settings(make, settings))


def start_state(f: GAPMap, settings: EquilibriumSettings) -> Tensor:
    """Where a map's iteration starts."""
    return f.start(STARTS.find(settings.start)(f.operator, f.measurement))


@STARTS.register("average")
def _average(operator: Physics, measurement: Tensor) -> Tensor:
    return operator.normalized_measurement(measurement).contiguous()


@STARTS.register("adjoint")
def _adjoint(operator: Physics, measurement: Tensor) -> Tensor:
    return operator.A_adjoint(measurement)


#: the cheap reconstruction that others may start from
TV_START = EquilibriumSettings(sigma=0.1, tol=1e-3, max_iter=30)


@STARTS.register("gap-tv")
def _gap_tv(operator: Physics, measurement: Tensor) -> Tensor:
    return solve(TotalVariation(iterations=3), operator, measurement, TV_START).x


def iterate(
    f: Map, state: Tensor, settings: EquilibriumSettings, *, on_iteration: OnIteration | None = None
) -> Solution:
    """Bring a map to its fixed point as the settings say."""
    solver = SOLVERS.find(settings.solver)
    return solver(f, state, on_iteration=on_iteration, **named_settings(solver, settings))
