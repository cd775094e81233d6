"""Memory and seconds of one training step, by gradient form and number of forward evaluations.

    python benchmarks/training.py [--architecture cnn] [--device cpu]

One capture of 128×128, T = 8. Each figure is of a process of its own, so that peaks do not mix.
Memory is what the step adds to the process: of the step itself, where the C library gives freed
memory back at once (on a GPU: what PyTorch allocated at most), and with freed memory kept, as
`deqsci train` does, which is how the seconds are taken too.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch

from deqsci_cli.equilibrium.gradients import GradientForm, Linearised, differentiable, unroll
from deqsci_cli.equilibrium.maps import GAPMap
from deqsci_cli.equilibrium.solvers import anderson
from deqsci_cli.networks.registry import build
from deqsci_cli.physics.sensing import SensingOperator
from deqsci_cli.runtime.device import keep_freed_memory

ROWS = (
    ("exact", 10), ("exact", 50), ("exact", 200), ("jfb", 10), ("jfb", 200),
    ("neumann:3", 10), ("phantom:3,0.8", 10), ("unrolled:10", 10), ("unrolled:20", 20),
)  # fmt: skip


def peak(device: torch.device) -> float:
    """Megabytes at most so far."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def measure(
    architecture: str, text: str, evaluations: int, device: torch.device
) -> tuple[float, float]:
    """Megabytes and seconds of a step."""
    torch.manual_seed(0)
    network = build(architecture).to(device)
    video = torch.rand(1, 8, 128, 128, device=device)
    mask = (torch.rand(8, 128, 128, device=device) < 0.5).float()
    form = GradientForm.parse(text)

    def make(side: int) -> GAPMap:
        operator = SensingOperator(mask[:, :side, :side])
        return GAPMap(operator, operator.A(video[..., :side, :side]), network, 0.05)

    def step() -> None:
        f = make(128)
        state = f.start(f.operator.normalized_measurement(f.measurement))
        if form.name == "unrolled":
            fixed = unroll(f, state, form.steps)
        else:
            with torch.no_grad():
                state = anderson(f, state, tol=1e-30, max_iter=evaluations).x
            # Twelve products with the transposed Jacobian, whatever their residual.
            fixed = differentiable(f, Linearised(f, state), form, tol=1e-30, max_iter=12)
        (f.video(fixed) - video).square().mean().backward()

    with torch.no_grad():  # libraries are loaded and warm
        small = make(16)
        small(small.start(video[..., :16, :16]))
    before = peak(device)
    began = time.perf_counter()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - began
    return peak(device) - before, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--architecture", default="cnn")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--figure", nargs=3, help="memory, kept or seconds; …")
    options = parser.parse_args()
    if options.figure:
        figure, text, evaluations = options.figure
        if figure != "memory":
            keep_freed_memory()
        device = torch.device(options.device)
        megabytes, seconds = measure(options.architecture, text, int(evaluations), device)
        print(f"{seconds:.2f}" if figure == "seconds" else f"{megabytes:.0f}")
        return
    print("| gradient | forward evaluations | memory of the step MB | kept MB | seconds |")
    print("|---|---|---|---|---|", flush=True)
    for text, evaluations in ROWS:
        figures = []
        for figure in ("memory", "kept", "seconds"):
            command = [sys.executable, str(Path(__file__)), "--figure", figure, text]
            command += [str(evaluations), "--architecture", options.architecture]
            command += ["--device", options.device]
            environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": str(2**20)}
            child = subprocess.run(
                command, check=True, capture_output=True, text=True,
                env=environment if figure == "memory" else None,
            )  # fmt: skip
            figures.append(child.stdout.strip())
        print(f"| {text} | {evaluations} | {' | '.join(figures)} |", flush=True)


if __name__ == "__main__":
    main()
