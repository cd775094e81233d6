"""Own denoiser: one of the library deepinv at the fixed point, where deepinv is installed."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from torch import Tensor

from deqsci_cli import EquilibriumSettings, load_capture, psnr, reconstruct

if find_spec("deepinv") is None:
    print("deepinv is not installed; `pip install deepinv`, then run this again")
    sys.exit(0)

from deepinv.models import TVDenoiser

tv = TVDenoiser(n_it_max=20)


def denoiser(video: Tensor, sigma: float) -> Tensor:
    """Deepinv's denoisers take pictures `(N, C, H, W)`: each frame is one."""
    return tv(video.flatten(0, 1).unsqueeze(1), sigma).view_as(video)


capture = load_capture(Path(__file__).parents[1] / "sample_data" / "wheel.mat")
measurement, mask, truth = (
    x[..., :64, :64] for x in (capture.measurements[0], capture.mask, capture.truth_of(0))
)
settings = EquilibriumSettings(sigma=0.05, tol=1e-2, max_iter=20)
found = reconstruct(measurement, mask, denoiser, settings)
quality = np.mean(psnr(found.video.clip(0, 1), truth))
print(f"{quality:.2f} dB, {found.status[0]} in {found.evaluations[0]} evaluations")
