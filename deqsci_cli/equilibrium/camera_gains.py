"""How bright the lamp was in each frame, from the reconstructed video."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from deqsci_cli.equilibrium.model import solve
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.networks.tv import TotalVariation
from deqsci_cli.physics.sensing import SensingOperator

#: what stands behind them; nothing else tells a lamp from a scene
GAINS_ASSUME = "most of what is bright keeps its brightness over the frames of a measurement"

# The regulariser takes back a part of each correction, hence several.
_ROUNDS = 6
# Pixels on a side that are averaged before frames are compared.
_POOL = 4
# Shares of the picture, for the uncertainty: it is cut in so many rows and columns.
_CUTS = 4
_TV = EquilibriumSettings(sigma=0.1, tol=1e-3, max_iter=30)


def find_gains(measured: Tensor, mask: Tensor, seen: Tensor | None) -> tuple[Tensor, Tensor]:
    """The gains of the frames, their mean 1, and their standard errors, `(T,)` each.

    Each frame is compared with the frames' median, place by place; the gain is the median of these
    ratios, each with the weight of its brightness. What moves changes some ratios, not the median.

    Args:
        measured: `(B, H, W)`, without a black level.
        mask: `(B, T, H, W)` or `(1, T, H, W)`.
        seen: booleans `(B, H, W)`.
    """
    gains = mask.new_ones(mask.shape[1])
    for _ in range(_ROUNDS):
        operator = SensingOperator(mask * gains[:, None, None], seen)
        video = solve(TotalVariation(iterations=3), operator, measured, _TV).x
        gains = gains * _ratios(video)
        gains = gains / gains.mean()
    pieces = [
        column
        for row in video.tensor_split(_CUTS, dim=2)
        for column in row.tensor_split(_CUTS, dim=3)
        if min(column.shape[2:]) >= _POOL
    ]
    each = torch.stack([_ratios(piece[i : i + 1]) for piece in pieces for i in range(len(piece))])
    error: Tensor = 1.25 * each.std(0) / len(each) ** 0.5  # of a median, by that of a mean
    return gains, error


def _ratios(video: Tensor) -> Tensor:
    """The brightness of each frame beside the median over frames, of videos `(B, T, H, W)`."""
    pooled = F.avg_pool2d(video.clamp(min=0), _POOL)
    typical = pooled.median(1, keepdim=True).values
    ratio = (pooled / typical.clamp(min=1e-3)).transpose(0, 1).flatten(1)
    ratio, order = ratio.sort(1)
    weight = typical.flatten()[order].cumsum(1)
    middle = (weight < weight[:, -1:] / 2).sum(1, keepdim=True).clamp(max=ratio.shape[1] - 1)
    return ratio.gather(1, middle)[:, 0]
