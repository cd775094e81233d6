"""From a measurement to its equilibrium: start, warm-up, fixed point."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from deqsci_cli.equilibrium.maps import GAPMap
from deqsci_cli.equilibrium.mixed_precision import CoarseFirst
from deqsci_cli.equilibrium.registries import MAPS, SOLVERS, STARTS
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.equilibrium.solvers import Map, OnIteration, Solution, norms
from deqsci_cli.networks.denoiser import (
    CPU_CHUNK_PIXELS,
    Coarse,
    Denoiser,
    DenoiserLike,
    as_denoiser,
)
from deqsci_cli.networks.options import WHOLE
from deqsci_cli.networks.symmetric import Symmetric
from deqsci_cli.networks.tiled import Tiled
from deqsci_cli.networks.tv import TotalVariation
from deqsci_cli.physics.protocol import Physics
from deqsci_cli.registry import named_settings


def solve(
    network: DenoiserLike,
    operator: Physics,
    measurement: Tensor,
    settings: EquilibriumSettings,
    *,
    coarse: Coarse | None = None,
    on_iteration: OnIteration | None = None,
) -> Solution:
    """Reconstruct a batch of measurements.

    Args:
        network: the denoiser, anything called as `D(video, sigma)`.
        operator: the camera, on the measurement's device.
        measurement: `(B, …)`, `(B, H, W)` for a `SensingOperator`.
        settings: how.
        coarse: the network in a faster precision, for as long as the fixed point is far.
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
        walked: Map = f
        if coarse is not None:
            rough = make_map(coarse.network, operator, measurement, settings)
            walked = CoarseFirst(rough, f, max(coarse.tol, settings.tol))
        found = iterate(walked, state, settings, on_iteration=report)
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
