"""How a noisy measurement is solved, where its noise is told or is to be found."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from deqsci_cli.equilibrium.noise_settings import (
    noise_by_held_out,
    relative_noise,
    relaxation_for,
)
from deqsci_cli.equilibrium.noisy_measurement import nearer_to_total_variation
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.io import Capture
from deqsci_cli.io.camera import level_of
from deqsci_cli.networks.denoiser import Denoiser
from deqsci_cli.physics.sensing import SensingOperator
from deqsci_cli.reconstructor import as_tensor

# Up to this noise, in units of the root of gram, learned denoisers lose nothing.
_HARMLESS = 0.01


@dataclass(frozen=True, eq=False)
class Suited:
    """A measurement and settings that suit its noise.

    Attributes:
        measurement: `(H, W)`, what is to be solved for.
        settings: with which.
        notes: what was changed, as sentences.
    """

    measurement: np.ndarray
    settings: EquilibriumSettings
    notes: tuple[str, ...] = ()


def suited(
    capture: Capture, index: int, network: Denoiser, settings: EquilibriumSettings
) -> Suited:
    """How a measurement is to be solved.

    Total variation gets a relaxed consistency, and so do all models where a camera has several
    arms. A learned denoiser of one keeps its settings, and gets a measurement with less noise.

    Args:
        capture: with what is known of the camera's noise.
        index: which measurement; of several arms, the first one's tells the noise.
        network: the model, with
        settings: those that suit a clean measurement. They stay where nothing is known of noise.
    """
    whole = capture.measurements[index]
    known = level_of(capture.noise)
    if known is None and capture.photons is None:
        return Suited(whole, settings)
    y, mask, seen = capture.each_arm(index)[0]
    operator = SensingOperator(
        as_tensor(mask), None if seen is None else torch.from_numpy(seen[None])
    )
    batch, noise = as_tensor(y)[None], None
    if isinstance(known, str):
        (level,) = noise_by_held_out(operator, batch)
    else:
        shot = 0.0 if capture.photons is None else max(0.0, float(y.mean())) / capture.photons
        noise = math.hypot(known or 0.0, math.sqrt(shot))
        (level,) = relative_noise(operator, noise)
    if capture.arms > 1 or not any(True for _ in network.parameters()):
        r = max(relaxation_for(level), settings.consistency_relaxation)
        changed = replace(settings, consistency_relaxation=r)
        told = f"noisy: solved with consistency_relaxation {r:.2g}"
        return Suited(whole, changed, (told,) if changed != settings else ())
    if level <= _HARMLESS:
        return Suited(whole, settings)
    with torch.no_grad():
        nearer = nearer_to_total_variation(operator, batch, level, noise)[0].numpy()
    told = "noisy: a part of what total variation does not explain was taken off the measurement"
    return Suited(nearer, settings, (told,))
