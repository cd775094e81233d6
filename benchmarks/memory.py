"""The most memory that `deqsci reconstruct` holds, by frames, picture size and evaluations.

    python benchmarks/memory.py [--models pnp,rnn,gap-tv]

One process for each row, of a made-up capture; the whole of the process, with Python and PyTorch.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from deqsci_cli.io import write_capture
from deqsci_cli.physics.masks import make_mask

ROWS = (
    *((frames, 128, 5) for frames in (8, 14, 20, 50)),
    *((8, side, 5) for side in (256, 512)),
    *((8, 128, evaluations) for evaluations in (20, 80)),
)


def capture(path: Path, frames: int, side: int) -> None:
    """A bright square that moves, and its measurement."""
    video = np.zeros((frames, side, side), np.float32)
    for t, frame in enumerate(video):
        frame[side // 4 + t : side // 2 + t, side // 4 : side // 2] = 0.8
    mask = make_mask("binary", video.shape, np.random.default_rng(0))
    write_capture(
        path,
        measurements=(mask * video).sum(0)[None],
        mask=mask,
        truth=None,
        scale=1,
        provenance={},
        overwrite=False,
    )


def held(model: str, frames: int, side: int, evaluations: int) -> float:
    """MB at the most."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "capture.h5"
        capture(file, frames, side)
        command = [sys.executable, "-m", "deqsci_cli", "reconstruct", str(file), "-o", folder]
        command += ["--model", model, "--tol", "1e-12", "--max-iter", str(evaluations), "--quiet"]
        program = (
            "import resource, subprocess, sys; "
            "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); "
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
        )
        found = subprocess.run(
            [sys.executable, "-c", program, *command], check=True, capture_output=True, text=True
        )
    return int(found.stdout) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default="pnp,rnn,gap-tv")
    models = parser.parse_args().models.split(",")
    print(f"| T | picture | evaluations | {' MB | '.join(models)} MB |")
    print("|---|---|---|" + "---|" * len(models))
    for frames, side, evaluations in ROWS:
        cells = [f"{held(model, frames, side, evaluations):.0f}" for model in models]
        print(f"| {frames} | {side}×{side} | {evaluations} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
