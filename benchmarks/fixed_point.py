"""Whether a model has one fixed point: answers from several starts, and far beyond its training.

    python benchmarks/fixed_point.py CAPTURE… --models pnp,pnp-cnn --unit 10 [--plot FILE.svg]

For each model and capture: how far the answers from the adjoint, from GAP-TV and from noise are
apart at the model's own settings, and the PSNR after 1, 2, 5 and 20 times `unit` evaluations. The
plot is of the first capture.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import torch

from deqsci_cli import zoo
from deqsci_cli.engine.diagnose import centre
from deqsci_cli.equilibrium.model import iterate, make_map, start_state
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.io import load_capture
from deqsci_cli.physics.sensing import SensingOperator
from deqsci_cli.report.metrics import psnr
from deqsci_cli.runtime.device import keep_freed_memory

TIMES = (1, 2, 5, 20)


def look(file: Path, name: str, side: int, unit: int) -> tuple[str, list[float], list[float]]:
    """A row of the table, and by evaluation the PSNR and the residual of the map's value."""
    capture, model = load_capture(file), zoo.load(name)
    settings = EquilibriumSettings.from_card(model.card.equilibrium)
    truth_frames = capture.truth_of(0)
    assert truth_frames is not None, f"{file} has no truth"
    truth, y, mask = (
        centre(torch.as_tensor(x), side)
        for x in (truth_frames, capture.measurements[:1], capture.mask)
    )
    f = make_map(model.network, SensingOperator(mask), y, settings)
    answers = []
    with torch.no_grad():
        noise = torch.rand(1, *truth.shape, generator=torch.Generator().manual_seed(0))
        starts = [start_state(f, replace(settings, start=s)) for s in ("adjoint", "gap-tv")]
        for start in (*starts, f.start(noise)):
            answers.append(f.video(iterate(f, start, settings).x))
        quality: list[float] = []

        def watched(x: torch.Tensor) -> torch.Tensor:
            value = f(x)
            quality.append(
                float(np.mean(psnr(f.video(value)[0].numpy().clip(0, 1), truth.numpy())))
            )
            return value

        longest = replace(settings, tol=1e-12, max_iter=unit * TIMES[-1])
        found = iterate(watched, start_state(f, settings), longest)
    apart = max(float((a - b).norm() / b.norm()) for a, b in combinations(answers, 2))
    later = " | ".join(f"{quality[min(unit * n, len(quality)) - 1]:.2f}" for n in TIMES)
    figures = f"{apart:.1e} | {apart / settings.tol:.1f} | {later}"
    row = f"| {model.card.name} | {file.stem} | {figures} |"
    return row, quality, found.residual_trace[0]


def plot(curves: dict[str, tuple[list[float], list[float]]], target: Path) -> None:
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), constrained_layout=True)
    for name, (quality, residuals) in curves.items():
        left.plot(range(1, len(quality) + 1), quality, label=name)
        right.semilogy(range(1, len(residuals) + 1), residuals, label=name)
    left.set(xlabel="evaluations", ylabel="PSNR (dB)", xscale="log")
    right.set(xlabel="evaluations", ylabel="relative residual", xscale="log")
    left.legend(frameon=False)
    for axes in (left, right):
        axes.grid(alpha=0.3)
    target.parent.mkdir(exist_ok=True)
    figure.savefig(target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("captures", nargs="+", type=Path)
    parser.add_argument("--models", default="pnp")
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--unit", type=int, default=10)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    keep_freed_memory()
    counts = " | ".join(f"PSNR after {n * options.unit}" for n in TIMES)
    print(f"| model | capture | apart | in tolerances | {counts} |")
    print("|---|---|---|---|" + "---|" * len(TIMES), flush=True)
    curves: dict[str, tuple[list[float], list[float]]] = {}
    for file in options.captures:
        for name in options.models.split(","):
            row, quality, residuals = look(file, name, options.side, options.unit)
            print(row, flush=True)
            curves.setdefault(Path(name).name, (quality, residuals))
    if options.plot:
        plot(curves, options.plot)


if __name__ == "__main__":
    main()
