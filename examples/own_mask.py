"""Own mask: a shifting one, as many cameras have it, and what the sensor's noise costs."""

from __future__ import annotations

import sys

import numpy as np

import deqsci_cli as deqsci

FRAMES = 8


def ball(side: int) -> np.ndarray:
    """A bright ball that crosses a shaded ground, `(T, H, W)` in [0, 1]."""
    time, y, x = np.mgrid[:FRAMES, :side, :side] / side
    distance = np.hypot(y - 0.5, x - 0.25 - 2 * time)
    return 0.2 + 0.2 * x + 0.5 / (1 + np.exp(60 * (distance - 0.15)))


def main(side: int = 128) -> None:
    film = ball(side)
    pattern = np.random.default_rng(0).random((side, side)) < 0.5
    # The pattern moves down by one pixel a frame.
    mask = np.stack([np.roll(pattern, t, axis=0) for t in range(FRAMES)]).astype(np.float32)
    for read in (0.0, 0.05):
        measurement = deqsci.simulate(film, mask, deqsci.SensorNoise(read=read), seed=1)
        result = deqsci.reconstruct(measurement, mask, model="gap-tv")
        quality = np.mean(deqsci.psnr(result.video.clip(0, 1), film))
        print(f"read noise {read:g}: {quality:.2f} dB, {result.status[0]}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
