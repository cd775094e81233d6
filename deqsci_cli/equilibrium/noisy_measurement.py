"""A noisy measurement, brought nearer to what a total-variation film has.

Exact consistency puts a measurement's noise into the film, and learned denoisers, which are trained
with little of it, do worse the more there is. Total variation under the relaxed map is robust. What
its film misses of the measurement is noise and its own error; of that, the share that is not noise
is kept, as Wiener's filter does. Measured on held-out clips (benchmarks/README.md).
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from deqsci_cli.equilibrium.model import solve
from deqsci_cli.equilibrium.noise_settings import relaxation_for
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.networks.tv import TotalVariation
from deqsci_cli.physics.sensing import SensingOperator

# Share of the pixels that are hidden to tell what a film misses; of these, the quietest share in
# which only noise is missed; and how far around a pixel quiet means.
_HIDDEN, _QUIET, _AROUND = 0.1, 0.25, 5
# Something is always kept: a film of total variation is no measurement.
_LEAST = 0.2
_TV = EquilibriumSettings(sigma=0.1, tol=1e-3, max_iter=30)
# The median of what is normally distributed, without its sign, in standard deviations.
_MEDIAN = 0.6745


def nearer_to_total_variation(
    operator: SensingOperator, measurement: Tensor, level: float, noise: float | None = None
) -> Tensor:
    """The measurement without a part of its noise.

    Args:
        operator: the camera of this one measurement.
        measurement: `(1, H, W)`.
        level: the noise in units of the root of gram, which tells total variation's relaxation.
        noise: its standard deviation; None for what hidden pixels tell where little happens.
    """
    settings = replace(_TV, consistency_relaxation=relaxation_for(level))
    network = TotalVariation(iterations=3)
    hidden = _hidden(operator)
    shown = operator.with_seen(operator.open & ~hidden)
    film = solve(network, shown, measurement, settings).x
    missed = (measurement - operator.A(film))[hidden]
    if missed.numel() == 0:
        return measurement
    if noise is None:
        activity = _activity(film)[hidden]
        quiet = activity <= torch.quantile(activity, _QUIET)
        noise = float(missed[quiet].abs().median()) / _MEDIAN
    kept = 1 - noise**2 / float(missed.square().mean().clamp(min=1e-30))
    smooth = operator.A(solve(network, operator, measurement, settings).x)
    return torch.lerp(smooth, measurement, min(1.0, max(_LEAST, kept)))


def _hidden(operator: SensingOperator) -> Tensor:
    """A fixed random choice of the pixels that tell something, booleans `(1, H, W)`."""
    generator = torch.Generator().manual_seed(0)
    chosen = torch.rand(operator.open.shape[-2:], generator=generator) < _HIDDEN
    return operator.open & chosen.to(operator.open.device)


def _activity(film: Tensor) -> Tensor:
    """How much differs from pixel to pixel and from frame to frame around each, `(1, H, W)`."""
    padded = F.pad(film.diff(dim=-1).abs(), (1, 0)) + F.pad(film.diff(dim=-2).abs(), (0, 0, 1, 0))
    total = padded.mean(1)
    if film.shape[1] > 1:
        total = total + film.diff(dim=1).abs().mean(1)
    return F.avg_pool2d(total, _AROUND, 1, _AROUND // 2, count_include_pad=False)
