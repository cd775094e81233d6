"""What every model reaches on captures with truth, what it costs, and how well it uses the machine.

    python benchmarks/models.py ../shared/data/bench [--models pnp,rnn] [--measurements 0]

PSNR, SSIM, evaluations and seconds are means over the measurements, memory is the most that one
held beyond the start. The operations are those of the networks alone; the ceiling is what the
machine makes of a large convolution or matrix product.
"""

from __future__ import annotations

import argparse
import platform
from datetime import date
from pathlib import Path

import torch
from machine import ceiling, gflop

from deqsci_cli import zoo
from deqsci_cli.cli.options import expand
from deqsci_cli.engine.benchmark import BenchmarkConfig, benchmark
from deqsci_cli.equilibrium.model import make_map
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.io import load_capture
from deqsci_cli.physics.sensing import SensingOperator
from deqsci_cli.report.scores import mean_scores
from deqsci_cli.runtime.device import keep_freed_memory


@torch.no_grad()
def work(name: str, captures: tuple[Path, ...]) -> float:
    """GFLOP of one evaluation, the mean over the captures."""
    model, total = zoo.load(name), 0.0
    settings = EquilibriumSettings.from_card(model.card.equilibrium)
    for path in captures:
        video = torch.rand(1, *(mask := load_capture(path).mask).shape)
        operator = SensingOperator(torch.as_tensor(mask))
        f = make_map(model.network, operator, operator.A(video), settings)
        state = f.start(video)
        total += gflop(lambda f=f, state=state: f(state))
    return total / len(captures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("captures")
    parser.add_argument("--models", default=",".join(zoo.released()))
    parser.add_argument("--measurements", default="0")
    options = parser.parse_args()
    keep_freed_memory()
    captures, most = expand([options.captures]), ceiling()
    print(
        f"{date.today()}, {platform.machine()}, {torch.get_num_threads()} threads, "
        f"ceiling {most:.0f} GFLOP/s"
    )
    print("| model | PSNR dB | SSIM | converged | evaluations | seconds | MB | GFLOP/s | of it |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in options.models.split(","):
        found = benchmark(BenchmarkConfig(captures, (name,), measurements=options.measurements))
        (row,) = mean_scores(found.scores)
        rate = work(name, captures) * row["evaluations"] / row["seconds"]
        print(
            f"| {name} | {row['psnr']:.2f} | {row['ssim']:.4f} | {row['converged']:.0%} "
            f"| {row['evaluations']:.1f} | {row['seconds']:.1f} | {row['memory'] / 2**20:.0f} "
            f"| {rate:.0f} | {rate / most:.0%} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
