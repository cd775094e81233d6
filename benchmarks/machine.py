"""What the machine makes of plain products and convolutions, and how much work a call is."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812
from torch.utils.flop_counter import FlopCounterMode


def seconds(call: Callable[[], object]) -> float:
    """How long a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


@torch.no_grad()
def ceiling(rounds: int = 7) -> float:
    """GFLOP/s in float32, the best of some rounds.

    Of a product of two large matrices and of one convolution of many channels: PyTorch has them
    from two libraries, of which one may leave a processor's widest registers unused.
    """
    square = torch.rand(2048, 2048)
    picture = torch.rand(1, 256, 128, 128).contiguous(memory_format=torch.channels_last)
    kernels = torch.rand(256, 256, 3, 3).contiguous(memory_format=torch.channels_last)
    calls = (lambda: square @ square, lambda: F.conv2d(picture, kernels, padding=1))
    return max(gflop(c) / min(seconds(c) for _ in range(rounds)) for c in calls)


def gflop(call: Callable[[], object]) -> float:
    """Operations of a call's convolutions and matrix products, in 1e9."""
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops() / 1e9
