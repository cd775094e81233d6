"""What the machine makes of plain matrix products, and how much work a call is."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode


def seconds(call: Callable[[], object]) -> float:
    """How long a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def ceiling(rounds: int = 7) -> float:
    """GFLOP/s of a product of two large float32 matrices, the best of some rounds."""
    square = torch.rand(2048, 2048)
    return 2 * 2048**3 / min(seconds(lambda: square @ square) for _ in range(rounds)) / 1e9


def gflop(call: Callable[[], object]) -> float:
    """Operations of a call's convolutions and matrix products, in 1e9."""
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops() / 1e9
