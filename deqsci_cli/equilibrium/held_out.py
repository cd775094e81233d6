"""The held-out score: how well a solve predicts pixels of the measurement that it was not shown.

With exact consistency any mask explains the pixels that a solve uses. The hidden ones tell a right
mask from a wrong one, and a consistency that suits the noise from one that does not.
"""

from __future__ import annotations

import torch
from torch import Tensor

from deqsci_cli.equilibrium.model import solve
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.equilibrium.solvers import Solution, norms
from deqsci_cli.networks.denoiser import DenoiserLike
from deqsci_cli.networks.tv import TotalVariation
from deqsci_cli.physics.sensing import SensingOperator

#: share of the pixels that are hidden
HIDDEN_SHARE = 0.05
#: a total-variation reconstruction, for where no model is given
HELD_OUT_TV = EquilibriumSettings(sigma=0.1, tol=1e-3, max_iter=30)


def held_out_score(
    operator: SensingOperator,
    measurement: Tensor,
    network: DenoiserLike | None = None,
    settings: EquilibriumSettings = HELD_OUT_TV,
    *,
    seed: int = 0,
) -> Tensor:
    """Hide pixels of each measurement, solve with the others, and compare what was hidden.

    Returns:
        `||y - A x|| / ||y||` over the hidden pixels, `(B,)`; NaN where nothing could be hidden,
        or where all that was hidden is 0.
    """
    return held_out_solve(operator, measurement, network, settings, seed=seed)[0]


def held_out_solve(
    operator: SensingOperator,
    measurement: Tensor,
    network: DenoiserLike | None = None,
    settings: EquilibriumSettings = HELD_OUT_TV,
    *,
    seed: int = 0,
) -> tuple[Tensor, Solution]:
    """`held_out_score`, and the solve behind it.

    Either B measurements under one mask, or one measurement under B candidate masks
    `(B, T, H, W)`: the same pixels are hidden for all, as far as they are seen and open.

    Args:
        operator: the camera, with the pixels that are seen.
        measurement: `(B, H, W)`; one alone is taken for each mask.
        network: the denoiser; None for total variation.
        settings: of the solve.
        seed: of the choice of pixels.

    Returns:
        The score `(B,)`, and the solution with the pixels that were shown.
    """
    count = max(len(measurement), len(operator.mask))
    y = measurement.expand(count, -1, -1)
    hidden = hidden_pixels(operator, y, seed)
    shown = operator.with_seen(operator.open.expand_as(y) & ~hidden)
    found = solve(network or TotalVariation(iterations=3), shown, y, settings)
    missed = torch.where(hidden, y - operator.A(found.x), 0.0)
    return norms(missed) / norms(torch.where(hidden, y, 0.0)), found


def hidden_pixels(operator: SensingOperator, measurement: Tensor, seed: int) -> Tensor:
    """Which pixels are hidden, booleans `(B, H, W)`: a fixed random choice of those that tell."""
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.rand(measurement.shape[1:], generator=generator) < HIDDEN_SHARE
    return operator.open & chosen.to(measurement.device).expand_as(measurement)
