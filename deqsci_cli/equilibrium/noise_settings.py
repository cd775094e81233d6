"""How far a measurement is trusted: the relaxation that suits its noise.

Exact consistency puts the noise of the measurement into the film. The relaxed map trusts the
measurement the less, the larger r is; the r that serves best grows with the noise's variance.
Tuned on held-out clips with total variation (benchmarks/README.md).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from deqsci_cli.equilibrium.held_out import HELD_OUT_TV, held_out_score
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.equilibrium.window import brightest
from deqsci_cli.networks.denoiser import Denoiser
from deqsci_cli.physics.sensing import SensingOperator

# Plain GAP serves best from this noise on: its part of the root of gram, which is the length of a
# pixel's codes.
_PLAIN_FROM = 0.06
# The noise levels that are tried where none is known, in those units: relaxations 0, 0.1, … 1.
_TRIED = (0.0, 0.019, 0.03, 0.0425, _PLAIN_FROM)
# Of noisy ones, the largest is taken whose score lies so little above the best: the hidden pixels'
# own noise hides a part of what the film gains.
_SLACK = 1.06
# Clean is what exact consistency predicts best, but for so little.
_CLEAN = 1.01
_SIDE = 128
# The least relaxations with several arms, without and with weights: what is accumulated stays
# bounded, and evaluations are few.
_ARMS, _ARMS_LEARNED = 0.01, 0.05
_SOLVE = replace(HELD_OUT_TV, max_iter=10)


def noise_by_held_out(operator: SensingOperator, measurement: Tensor) -> list[float]:
    """The noise of each measurement, as far as it matters to the choice of settings.

    Of a few levels, the one whose settings let total variation predict hidden pixels of the
    brightest 128x128. It is no estimate of a sensor's noise: what total variation cannot
    describe counts as noise too.

    Args:
        operator: the camera, with the pixels that are seen.
        measurement: `(B, H, W)`.

    Returns:
        Standard deviations, in units of the root of the mean gram; 0 for a clean measurement, or
        where nothing can be told.
    """
    samples = torch.arange(len(measurement), device=measurement.device)
    return [
        _noise_of_one(operator.subset(sample), measurement[sample]) for sample in samples.split(1)
    ]


def relative_noise(operator: SensingOperator, noise: float) -> list[float]:
    """A known noise level in the units of `noise_by_held_out`, for each camera of the batch.

    Args:
        operator: the camera.
        noise: standard deviation in the measurement, in units of one frame's white.
    """
    length = (operator.gram.sum((1, 2)) / operator.open.sum((1, 2)).clamp(min=1)).sqrt()
    return [noise / value if value > 0 else 0.0 for value in length.tolist()]


def relaxation_for(noise: float) -> float:
    """The r that suits total variation: the noise's variance, 1 from where plain GAP serves best.

    Args:
        noise: as `relative_noise` gives it.
    """
    return min(1.0, (noise / _PLAIN_FROM) ** 2)


def settings_for_arms(settings: EquilibriumSettings, network: Denoiser) -> EquilibriumSettings:
    """A model's settings for several measurements of the same frames.

    Together they also tell detail that rests, from pixel to pixel. A denoiser may hold that back
    however much of it is accumulated, which at r = 0 then grows with every evaluation.

    Args:
        settings: those for one measurement.
        network: the model.
    """
    least = _ARMS_LEARNED if any(True for _ in network.parameters()) else _ARMS
    amount = max(least, settings.consistency_relaxation)
    return replace(settings, consistency_relaxation=amount)


def _tv_settings(noise: float) -> EquilibriumSettings:
    """A few evaluations of total variation, as it suits this noise."""
    return replace(_SOLVE, consistency_relaxation=relaxation_for(noise))


def _noise_of_one(operator: SensingOperator, measurement: Tensor) -> float:
    """Of one measurement `(1, H, W)`."""
    part = brightest(torch.where(operator.open, measurement, 0.0)[0], _SIDE)
    seen = None if operator.seen is None else part.cut(operator.seen)
    cut = SensingOperator(part.cut(operator.mask), seen)
    scores = [
        float(held_out_score(cut, part.cut(measurement), settings=_tv_settings(noise)))
        for noise in _TRIED
    ]
    if scores[0] <= _CLEAN * min(scores):
        return 0.0
    good = [n for n, score in zip(_TRIED, scores, strict=True) if score <= _SLACK * min(scores)]
    return max(good, default=0.0)
