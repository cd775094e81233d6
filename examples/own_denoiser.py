"""Own denoiser: any function of a video and a noise level serves, here a small Gaussian blur."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import deqsci_cli as deqsci

SAMPLE = Path(__file__).parents[1] / "sample_data" / "wheel.mat"


def blur(video: Tensor, sigma: Tensor | float) -> Tensor:
    """Each frame of `(B, T, H, W)`, blurred along its rows and then along its columns."""
    offsets = torch.arange(-2, 3, dtype=video.dtype)
    kernel = torch.softmax(-(offsets**2) / 2 / 0.6**2, 0)
    frames = video.flatten(0, 1).unsqueeze(1)
    frames = torch.nn.functional.conv2d(frames, kernel.view(1, 1, 1, 5), padding="same")
    frames = torch.nn.functional.conv2d(frames, kernel.view(1, 1, 5, 1), padding="same")
    return frames.view_as(video)


def main(side: int = 128) -> None:
    capture = deqsci.load_capture(SAMPLE)
    measurement, mask, truth = (
        array[..., :side, :side]
        for array in (capture.measurements[0], capture.mask, capture.truth_of(0))
    )
    for name, model in (("own blur", blur), ("gap-tv", "gap-tv")):
        result = deqsci.reconstruct(measurement, mask, model)
        quality = np.mean(deqsci.psnr(result.video.clip(0, 1), truth))
        print(f"{name}: {quality:.2f} dB, {result.status[0]}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
