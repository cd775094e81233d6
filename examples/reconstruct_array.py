"""Arrays in, a film out: one measurement of a sample, and how its reconstruction went."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import deqsci_cli as deqsci

SAMPLE = Path(__file__).parents[1] / "sample_data" / "wheel.mat"


def main(side: int = 128) -> None:
    capture = deqsci.load_capture(SAMPLE)
    window = np.s_[..., :side, :side]  # the camera mixes no pixels, so any window serves
    measurement, mask = capture.measurements[0][window], capture.mask[window]
    result = deqsci.reconstruct(measurement, mask, model="pnp")
    print(f"{result.status[0]} in {result.evaluations[0]} evaluations")
    print(f"residual {result.residual[0]:.1e}, video {result.video.shape}")
    truth = capture.truth_of(0)
    if truth is not None:
        print(f"{np.mean(deqsci.psnr(result.video.clip(0, 1), truth[window])):.2f} dB")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
