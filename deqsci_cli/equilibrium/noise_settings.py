"""How far a measurement is trusted: settings that suit its noise.

Exact consistency puts the noise of the measurement into the film. The relaxed map trusts the
measurement the less, the larger r is; the r that serves best grows with the noise's variance.
Tuned on held-out clips with total variation and with the default model (benchmarks/README.md).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from deqsci_cli.equilibrium.held_out import HELD_OUT_TV, held_out_score
from deqsci_cli.equilibrium.model import EquilibriumSettings
from deqsci_cli.equilibrium.window import brightest
from deqsci_cli.networks.denoiser import Denoiser
from deqsci_cli.physics.sensing import SensingOperator

# Plain GAP serves best from this noise on: its part of the root of gram, which is the length of a
# pixel's codes.
_PLAIN_FROM = 0.06
# From this noise on a learned denoiser gets this relaxation, and its level times so much. Below, it
# does better as it is; at a higher level, worse and worse.
_LEARNED_FROM, _LEARNED, _LEARNED_LEVEL = 0.045, 0.2, 1.3
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


def settings_for_noise(
    settings: EquilibriumSettings, network: Denoiser, noise: float, *, arms: int = 1
) -> EquilibriumSettings:
    """A model's settings for a measurement with this noise; a clean one leaves them as they are.

    Args:
        settings: those of a clean measurement.
        network: the model. One without weights gets the relaxation that suits the noise. A learned
            one removes a little noise as it is; from a certain noise on it gets a relaxation and a
            higher level.
        noise: as `relative_noise` gives it, of one arm.
        arms: measurements of the same frames. Where there are several, their noise is most of what
            a learned denoiser has to remove; it gets the relaxation at its own level.
    """
    if arms == 1 and any(True for _ in network.parameters()):
        if noise < _LEARNED_FROM:
            return settings
        amount, settings = _LEARNED, replace(settings, sigma=_LEARNED_LEVEL * settings.sigma)
    else:
        amount = _amount(noise)
    return replace(settings, consistency_relaxation=max(amount, settings.consistency_relaxation))


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
    return replace(_SOLVE, consistency_relaxation=_amount(noise))


def _amount(noise: float) -> float:
    """The noise's variance, 1 from where plain GAP serves best."""
    return min(1.0, (noise / _PLAIN_FROM) ** 2)


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
