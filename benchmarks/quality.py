"""PSNR, SSIM, status and seconds of models on captures with truth.

    python benchmarks/quality.py FOLDER_OR_FILES… --models pnp-ffdnet,pnp-cnn,gap-tv

The first measurement of each capture, at each model's own settings.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from deqsci_cli import zoo
from deqsci_cli.engine.device import keep_freed_memory
from deqsci_cli.engine.solving import reconstruct_array
from deqsci_cli.io import load_capture
from deqsci_cli.report.metrics import judge


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("captures", nargs="+", type=Path)
    parser.add_argument("--models", default="pnp-ffdnet,pnp-cnn,gap-tv")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    keep_freed_memory()
    files = [f for c in options.captures for f in (sorted(c.glob("*.mat")) if c.is_dir() else [c])]
    print("| model | capture | PSNR dB | SSIM | status | evaluations | residual | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    for name in options.models.split(","):
        model = zoo.load(name)
        peaks = []
        for file in files:
            capture = load_capture(file)
            began = time.perf_counter()
            found = reconstruct_array(
                capture.measurements[0], capture.mask, model, device=options.device
            )
            seconds = time.perf_counter() - began
            scores = judge(found.x[0].numpy(), capture.truth_of(0))
            psnr = scores.get("psnr")
            figures = f"{psnr:.2f} | {scores['ssim']:.4f}" if psnr is not None else "– | –"  # noqa: RUF001
            peaks += [] if psnr is None else [psnr]
            print(
                f"| {name} | {file.stem} | {figures} | {found.status[0]} | "
                f"{found.evaluations[0]} | {found.residual[0]:.1e} | {seconds:.1f} |",
                flush=True,
            )
        if len(peaks) > 1:
            print(f"| {name} | **mean** | {np.mean(peaks):.2f} | | | | | |", flush=True)


if __name__ == "__main__":
    main()
