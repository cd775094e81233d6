"""Random cameras: their masks, and what their sensors make of what reaches them.

What a setting leaves out draws no random number, so that captures without it are as they were.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from deqsci_cli.physics.masks import make_mask, one_hot_mask
from deqsci_cli.training.capture_settings import CaptureSettings

# Greatest shares of pixels that are closed, and that clip.
_CLOSED, _CLIPPED = 0.05, 0.1


def draw_mask(
    shape: tuple[int, int, int], settings: CaptureSettings, rng: np.random.Generator
) -> np.ndarray:
    """A mask `(T, H, W)`, as a calibration would show it."""
    if settings.one_hot_prob and rng.random() < settings.one_hot_prob:
        mask = one_hot_mask(shape, rng)
    else:
        kind, (least, most) = str(rng.choice(settings.masks)), settings.density_range
        density = least if least == most else rng.uniform(least, most)
        mask = make_mask(kind, shape, rng, density=density)
    if settings.mask_blur:
        sigma = rng.uniform(0, settings.mask_blur)
        mask = gaussian_filter(mask, (0, sigma, sigma), mode="reflect")
    if settings.closed_prob and rng.random() < settings.closed_prob:
        mask = mask * (rng.random(mask.shape[1:]) >= rng.uniform(0, _CLOSED))
    return mask


def expose(
    video: np.ndarray, mask: np.ndarray, settings: CaptureSettings, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A film's N measurements by a sensor with faults.

    Args:
        video: `(N, T, H, W)` in [0, 1], the frames of each.
        mask: `(T, H, W)`, that of every measurement.
        settings: which faults.
        rng: draws them.

    Returns:
        The measurements `(N, H, W)`, and the mask of each `(N, T, H, W)`, closed where the sensor
        has clipped.
    """
    low, high = settings.noise_range
    level = np.exp(rng.uniform(np.log(low), np.log(high))) if low else rng.uniform(0, high)
    measurement = (mask * video).sum(1)
    noise = rng.standard_normal(measurement.shape, dtype=np.float32)
    masks = np.broadcast_to(mask, video.shape)
    if settings.prnu:
        spread = np.float32(rng.uniform(0, settings.prnu))
        measurement *= 1 + spread * rng.standard_normal(mask.shape[1:], dtype=np.float32)
    if settings.black_level:
        measurement += np.float32(rng.uniform(-1, 1) * settings.black_level)
    measurement = measurement + np.float32(level) * noise
    if settings.hot_pixel_prob and rng.random() < settings.hot_pixel_prob:
        places = rng.integers(measurement.size, size=rng.integers(1, 4))
        measurement.flat[places] += rng.uniform(1, 5, len(places)).astype(np.float32)
    if settings.clipped_prob and rng.random() < settings.clipped_prob:
        whole = measurement < np.quantile(measurement, 1 - rng.uniform(0, _CLIPPED))
        if whole.mean() > 1 - 2 * _CLIPPED:  # not a plain surface, all of which would be gone
            measurement, masks = measurement * whole, masks * whole[:, None]
    return measurement, masks
