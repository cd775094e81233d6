"""What a GPU makes of the models: the same films, milliseconds, kernels, training steps.

    python benchmarks/gpu.py [--models pnp,rnn] [--batches 1,8,32] [--quick] [--device cpu]

Four tables: films beside those of the CPU; one evaluation of a network, eager, compiled and as a
CUDA graph, in float32 and TF32, beside the floor (its operations at the rate of a large matrix
product in the same precision); whole solves; training steps a second by batch size. Times are
medians by CUDA events, after a warm-up. `--quick --device cpu` tries the script without a GPU.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from machine import gflop
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from deqsci_cli import zoo
from deqsci_cli.io import load_capture
from deqsci_cli.networks.denoiser import Denoiser
from deqsci_cli.reconstructor import Reconstructor
from deqsci_cli.runtime.device import convolutions_in
from deqsci_cli.training.capture_settings import CaptureSettings
from deqsci_cli.training.captures import CaptureSampler
from deqsci_cli.training.equilibrium import EquilibriumStage, GradientSettings, StabilitySettings

SAMPLE = Path(__file__).parent.parent / "sample_data" / "wheel.mat"
FRAMES = 8


def milliseconds(call: Callable[[], object], device: str, rounds: int) -> float:
    """The median time of a call."""
    for _ in range(3 if rounds > 1 else 1):
        call()
    found = []
    for _ in range(rounds):
        if device == "cpu":
            began = time.perf_counter()
            call()
            found.append(1e3 * (time.perf_counter() - began))
            continue
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        end.synchronize()
        found.append(start.elapsed_time(end))
    return statistics.median(found)


def kernels(call: Callable[[], object], device: str) -> int:
    """How many kernels and copies a call starts on the GPU."""
    if device == "cpu":
        return 0
    call()
    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as seen:
        call()
        torch.cuda.synchronize()
    on_gpu = [e for e in seen.events() if e.device_type == torch.autograd.DeviceType.CUDA]
    return len(on_gpu)


def graphed(call: Callable[[], Tensor]) -> Callable[[], None]:
    """A call as a CUDA graph."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


def rate(device: str, dtype: str, side: int) -> float:
    """GFLOP/s of a large matrix product."""
    a, b = (torch.rand(side, side, device=device) for _ in range(2))
    torch.backends.cuda.matmul.allow_tf32 = dtype == "tf32"
    time_ms = milliseconds(lambda: a @ b, device, 7)
    torch.backends.cuda.matmul.allow_tf32 = False
    return 2 * side**3 / 1e6 / time_ms


def films(models: list[str], device: str, side: int) -> None:
    capture = load_capture(SAMPLE)
    y, mask = capture.measurements[:2, :side, :side], capture.mask[:, :side, :side]
    print("\n| model | status | evaluations, CPU | there | film's difference |")
    print("|---|---|---|---|---|")
    for name in models:
        ours, theirs = (Reconstructor(name, device=d)(y, mask) for d in ("cpu", device))
        off = float((ours.x - theirs.x).norm() / ours.x.norm())
        row = theirs.status[0], ours.evaluations[0], theirs.evaluations[0], f"{off:.1e}"
        print(f"| {name} |", " | ".join(map(str, row)), "|")


@torch.no_grad()
def evaluations(models: list[str], device: str, batches: list[int], side: int, rounds: int) -> None:
    rates = {dtype: rate(device, dtype, 8 * side) for dtype in ("float32", "tf32")}
    print(f"\nmatrix products: {', '.join(f'{k} {v:.0f} GFLOP/s' for k, v in rates.items())}\n")
    print("| model | B | dtype | form | ms | ms a measurement | floor ms | kernels |")
    print("|---|---|---|---|---|---|---|---|")
    for name in models:
        network = zoo.load(name).network.to(device)
        for count in batches:
            shape = count, FRAMES, side, side
            seen = [
                torch.rand(shape, device=device) for _ in range(1 + 2 * network.uses_measurement)
            ]
            forms = {"eager": network}
            if device != "cpu":
                forms["compiled"] = torch.compile(network, dynamic=False)
            work = gflop(lambda n=network, s=seen: n(s[0], 0.03, *s[1:]))
            for dtype in rates:
                for form, made in forms.items():
                    _evaluation(name, made, seen, (dtype, form), work / rates[dtype], rounds)
                if device != "cpu":
                    _evaluation(name, network, seen, (dtype, "graph"), work / rates[dtype], rounds)


def _evaluation(
    name: str,
    network: Denoiser,
    seen: list[Tensor],
    how: tuple[str, str],
    floor: float,
    rounds: int,
) -> None:
    dtype, form = how
    device, count = seen[0].device.type, len(seen[0])
    level = torch.full((count,), 0.03, device=seen[0].device)

    def call() -> Tensor:
        return network(seen[0], level, *seen[1:])

    with convolutions_in(dtype):
        run = graphed(call) if form == "graph" else call
        taken = milliseconds(run, device, rounds)
        number = kernels(call, device)
    row = count, dtype, form, f"{taken:.2f}", f"{taken / count:.2f}", f"{1e3 * floor:.2f}", number
    print(f"| {name} |", " | ".join(map(str, row)), "|", flush=True)


def solves(models: list[str], device: str, batches: list[int], side: int, rounds: int) -> None:
    capture = load_capture(SAMPLE)
    print("\n| model | B | dtype | evaluations | converged | ms a measurement |")
    print("|---|---|---|---|---|---|")
    mask = np.tile(capture.mask, (1, 2, 2))[:, :side, :side]
    y = np.tile(capture.measurements[0], (2, 2))[:side, :side]
    for name in models:
        for dtype in ("float32", "mixed", "tf32") if device != "cpu" else ("float32", "mixed"):
            ready = Reconstructor(name, device=device, dtype=dtype)
            for count in batches:
                several = np.repeat(y[None], count, 0)
                found = ready(several, mask)
                taken = milliseconds(lambda r=ready, s=several: r(s, mask), device, rounds)
                settled = sum(s == "converged" for s in found.status)
                row = count, dtype, found.evaluations[0], settled, f"{taken / count:.1f}"
                print(f"| {name} |", " | ".join(map(str, row)), "|", flush=True)


def training(device: str, sizes: list[int], patch: int, rounds: int) -> None:
    """Steps as the recipe of pnp has them, on clips of noise: what is filmed does not matter."""
    clips = [np.random.default_rng(0).integers(0, 256, (24, 128, 128)).astype(np.uint8)]
    print("\n| batch | steps a second | captures a second |")
    print("|---|---|---|")
    for size in sizes:
        model = zoo.load("pnp")
        settings = Reconstructor(model).settings
        sampler = CaptureSampler(
            clips, CaptureSettings(), patch_size=patch, batch_size=size, seed=0
        )
        network = model.network.to(device).requires_grad_(True).train()
        stage = EquilibriumStage(
            network, sampler, settings, GradientSettings("exact"),
            StabilitySettings(max_iter=4, reuse_steps=20),
        )  # fmt: skip
        step = 0

        def call(stage: EquilibriumStage = stage) -> None:
            nonlocal step
            stage(step)[0].backward()
            step += 1

        with convolutions_in("float32"):
            taken = milliseconds(call, device, rounds)
        print(f"| {size} | {1e3 / taken:.2f} | {size * 1e3 / taken:.1f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default="pnp,rnn,pnp-ffdnet")
    parser.add_argument("--batches", default="1,8,32")
    parser.add_argument("--train-batches", default="4,16,64")
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="small pictures, once")
    options = parser.parse_args()
    models = options.models.split(",")
    batches, sizes = (
        [int(b) for b in text.split(",")] for text in (options.batches, options.train_batches)
    )
    side, rounds, patch = options.side, options.rounds, 64
    if options.quick:
        models, batches, sizes, side, rounds, patch = ["pnp-ffdnet"], [1, 2], [2], 32, 1, 32
    print(
        torch.__version__,
        options.device,
        "" if options.device == "cpu" else torch.cuda.get_device_name(),
    )
    films(models, options.device, min(side, 128))
    evaluations(models, options.device, batches, side, rounds)
    solves(models, options.device, batches, side, max(1, rounds // 3))
    training(options.device, sizes, patch, rounds)


if __name__ == "__main__":
    main()
