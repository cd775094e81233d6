"""Seconds of one evaluation of a network beside the floor: its convolutions alone; GFLOP/s.

    python benchmarks/speed.py [--threads 2] [--frames 8] [--side 256]

The floor runs the bare convolutions channels-last, in the pieces that the network makes, with
memory that stays with the process; nothing else of the network is in it. The naive form is what
a plain `nn.Sequential` on all frames at once costs under the C library's own allocator. Both forms
and the floor take turns, so that a machine that drifts drifts for all of them. The ceiling is what
the machine makes of a large convolution or matrix product.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812
from machine import ceiling, gflop, seconds
from torch import Tensor, nn

from deqsci_cli.networks.cnn import CNN
from deqsci_cli.networks.denoiser import Denoiser
from deqsci_cli.networks.registry import build
from deqsci_cli.runtime.device import keep_freed_memory


def plain(network: CNN) -> nn.Sequential:
    """The same convolutions as most code would have them: contiguous, all frames at once."""
    layers: list[nn.Module] = []
    for layer in network.layers:
        copy = nn.Conv2d(layer.in_channels, layer.out_channels, 3, padding=1, bias=False)
        copy.weight.data = layer.weight.data.contiguous()
        layers += [copy, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def convolutions(network: nn.Module, call: Callable[[], object]) -> list[tuple[nn.Module, Tensor]]:
    """Every convolution of an evaluation, and numbers as large as its input."""
    found: list[tuple[nn.Module, Tensor]] = []
    inputs: dict[torch.Size, Tensor] = {}

    def note(layer: nn.Module, args: tuple[Tensor, ...]) -> None:
        shape = args[0].shape
        if shape not in inputs:
            inputs[shape] = torch.rand(shape).contiguous(memory_format=torch.channels_last)
        found.append((layer, inputs[shape]))

    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    hooks = [layer.register_forward_pre_hook(note) for layer in layers]
    call()
    for hook in hooks:
        hook.remove()
    return found


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    video = torch.rand(1, options.frames, options.side, options.side)
    most = ceiling(options.rounds)
    print(f"ceiling: {most:.0f} GFLOP/s")
    print("| network | GFLOP | naive s | here s | floor s | here / floor | GFLOP/s | of ceiling |")
    print("|---|---|---|---|---|---|---|---|")
    nets = {name: build(name).eval() for name in ("cnn", "ffdnet", "rnn", "video")}
    # The naive form first, while the allocator is still the C library's own.
    naive = plain(CNN())
    frames = video.reshape(-1, 1, options.side, options.side)
    naive(frames)
    slow = statistics.median(seconds(lambda: naive(frames)) for _ in range(options.rounds))
    keep_freed_memory()
    for name, network in nets.items():
        seen = (video, video) if network.uses_measurement else ()

        def here(network: Denoiser = network, seen: tuple[Tensor, ...] = seen) -> None:
            network(video, 0.05, *seen)

        work = convolutions(network, here)

        def floor(work: list[tuple[nn.Module, Tensor]] = work) -> None:
            for layer, x in work:
                F.conv2d(x, layer.weight, stride=layer.stride, padding=layer.padding)

        floor()
        work_done = gflop(here)
        pairs = [(seconds(here), seconds(floor)) for _ in range(options.rounds)]
        ours, bare = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(a / b for a, b in pairs)
        shown = f"{slow:.2f}" if name == "cnn" else ""
        rate = work_done / ours
        print(
            f"| {name} | {work_done:.0f} | {shown} | {ours:.2f} | {bare:.2f} | {ratio:.2f} | "
            f"{rate:.0f} | {rate / most:.0%} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
