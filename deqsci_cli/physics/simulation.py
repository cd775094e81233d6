"""A coded measurement of a film whose frames are known."""

from __future__ import annotations

import numpy as np

from deqsci_cli.errors import InputError
from deqsci_cli.physics.noise import Pixels, SensorNoise


def simulate(
    film: np.ndarray,
    mask: np.ndarray,
    noise: SensorNoise | None = None,
    *,
    seed: int | np.random.Generator = 0,
    pixels: Pixels | None = None,
) -> np.ndarray:
    """Measure a film: y = dark + answers * sum_t mask_t x_t + noise.

    Args:
        film: `(T, H, W)`, or `(B, T, H, W)` for several under one mask; intensities in [0, 1].
        mask: `(T, H, W)`.
        noise: the sensor; None for one without noise.
        seed: of the noise.
        pixels: in what they differ; None if they do not.

    Returns:
        The measurement, `(H, W)` or `(B, H, W)`, float32.

    Raises:
        InputError: the film and the mask are not of the same size.
    """
    film, mask = np.asarray(film), np.asarray(mask)
    if mask.ndim != 3 or film.ndim not in (3, 4) or film.shape[-3:] != mask.shape:
        raise InputError(
            f"the film is {film.shape}, the mask {mask.shape}",
            hint="the mask must be (T, H, W), the film (T, H, W) or (B, T, H, W)",
        )
    clean = (film * mask).sum(-3)
    full_range = (pixels or Pixels()).most(mask.sum(0))
    rng = np.random.default_rng(seed)
    return (noise or SensorNoise()).apply(clean, rng, full_range=full_range, pixels=pixels)
