"""Settings that suit the noise of a capture, where it is told or is to be found."""

from __future__ import annotations

import math

import numpy as np
import torch

from deqsci_cli.equilibrium.model import EquilibriumSettings
from deqsci_cli.equilibrium.noise_settings import (
    noise_by_held_out,
    relative_noise,
    settings_for_noise,
)
from deqsci_cli.io import Capture
from deqsci_cli.io.camera import level_of
from deqsci_cli.networks.denoiser import Denoiser
from deqsci_cli.physics.sensing import SensingOperator


def settings_of(
    capture: Capture, index: int, network: Denoiser, settings: EquilibriumSettings
) -> EquilibriumSettings:
    """How a measurement is to be solved.

    Args:
        capture: with what is known of the camera's noise.
        index: which measurement; of several arms, the first one's tells the noise.
        network: the model, with
        settings: those that suit a clean measurement. They stay where nothing is known of noise.
    """
    level = level_of(capture.noise)
    if level is None and capture.photons is None:
        return settings
    y, mask, seen = capture.each_arm(index)[0]
    operator = SensingOperator(
        torch.from_numpy(mask), None if seen is None else torch.from_numpy(seen[None])
    )
    if isinstance(level, str):
        (noise,) = noise_by_held_out(operator, torch.from_numpy(y[None]))
    else:
        shot = 0.0 if capture.photons is None else float(np.mean(y)) / capture.photons
        (noise,) = relative_noise(operator, math.hypot(level or 0.0, math.sqrt(max(0.0, shot))))
    return settings_for_noise(settings, network, noise, arms=capture.arms)


def told(settings: EquilibriumSettings, clean: EquilibriumSettings) -> tuple[str, ...]:
    """A sentence on settings that were chosen, none where they are those of a clean measurement."""
    if settings == clean:
        return ()
    return (
        f"noisy: solved with consistency_relaxation {settings.consistency_relaxation:.2g} "
        f"(else {clean.consistency_relaxation:g}) and sigma {settings.sigma:.3g} "
        f"(else {clean.sigma:.3g})",
    )
