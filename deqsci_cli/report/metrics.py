"""PSNR and SSIM by the field's protocol."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

# Wang et al., IEEE TIP 13 (2004) 600: an 11×11 Gaussian window of sigma 1.5, K1 and K2.
_SIGMA, _RADIUS = 1.5, 5
_C1, _C2 = 0.01**2, 0.03**2


def psnr(frames: np.ndarray, truth: np.ndarray) -> list[float]:
    """Peak signal-to-noise ratio of every frame in dB, peak 1; infinite where nothing differs.

    Args:
        frames: `(T, H, W)`, intensities in [0, 1].
        truth: the same shape.
    """
    error = np.square(frames.astype(np.float64) - truth).mean(axis=(1, 2))
    return [psnr_of(float(value)) for value in error]


def psnr_of(error: float) -> float:
    """The PSNR of a mean square error in dB, peak 1; infinite for 0, NaN for NaN."""
    return -10 * math.log10(error) if error else math.inf


def ssim(frames: np.ndarray, truth: np.ndarray) -> list[float] | None:
    """Structural similarity of every frame, data range 1, mean over the valid region.

    Args:
        frames: `(T, H, W)`, intensities in [0, 1].
        truth: the same shape.

    Returns:
        One number a frame, or None where the frames are smaller than the window of 11 pixels.
    """
    if min(frames.shape[1:]) <= 2 * _RADIUS:
        return None
    return [_ssim(a, b) for a, b in zip(frames, truth, strict=True)]


def compute_metrics(video: np.ndarray, truth: np.ndarray | None) -> dict[str, Any]:
    """PSNR and SSIM of the frames that have truth, by a record's names; empty without truth.

    Args:
        video: `(T, H, W)`; clipped to [0, 1], as any display does.
        truth: `(k, H, W)`, k <= T.
    """
    if truth is None:
        return {}
    seen = np.clip(video[: len(truth)], 0, 1)
    frame_psnr, frame_ssim = psnr(seen, truth), ssim(seen, truth)
    return {
        "psnr": float(np.mean(frame_psnr)),
        "ssim": None if frame_ssim is None else float(np.mean(frame_ssim)),
        "frame_psnr": tuple(frame_psnr),
        "frame_ssim": None if frame_ssim is None else tuple(frame_ssim),
    }


def _blur(picture: np.ndarray) -> np.ndarray:
    valid = slice(_RADIUS, -_RADIUS)
    return np.asarray(gaussian_filter(picture, _SIGMA, radius=_RADIUS))[valid, valid]


def _ssim(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    mean_a, mean_b = _blur(a), _blur(b)
    variance_a = _blur(a * a) - mean_a**2
    variance_b = _blur(b * b) - mean_b**2
    covariance = _blur(a * b) - mean_a * mean_b
    numerator = (2 * mean_a * mean_b + _C1) * (2 * covariance + _C2)
    denominator = (mean_a**2 + mean_b**2 + _C1) * (variance_a + variance_b + _C2)
    return float((numerator / denominator).mean())
