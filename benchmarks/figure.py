"""Draws docs/wheel.png: a measurement, and frames recovered from it.

python benchmarks/figure.py
"""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as iio
import numpy as np

from deqsci_cli.io import load_capture
from deqsci_cli.reconstructor import reconstruct

ROOT = Path(__file__).resolve().parent.parent
GAP = 6


def main() -> None:
    capture = load_capture(ROOT / "sample_data" / "wheel.mat")
    measurement = capture.measurements[0]
    found = reconstruct(measurement, capture.mask, "pnp")
    tiles = [measurement / measurement.max(), *found.video[::2]]
    height = tiles[0].shape[0]
    gap = np.ones((height, GAP))
    row = [part for tile in tiles for part in (tile.clip(0, 1), gap)][:-1]
    picture = np.repeat(np.repeat(np.concatenate(row, axis=1), 2, axis=0), 2, axis=1)
    target = ROOT / "docs" / "wheel.png"
    target.parent.mkdir(exist_ok=True)
    iio.imwrite(target, np.rint(picture * 255).astype(np.uint8))
    print(target)


if __name__ == "__main__":
    main()
