"""The next batch, made in a thread while the present one is worked on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor

Batch = TypeVar("Batch")


class StepSampler(Protocol):
    """What draws the batch of a step, and other numbers for it; a step alone decides them."""

    def __call__(self, step: int) -> Any:
        """The batch."""
        ...

    def probe(self, step: int, shape: torch.Size) -> Tensor:
        """Standard normal numbers of a shape `(B, …)`."""
        ...

    def uniform(self, step: int) -> Tensor:
        """Numbers in [0, 1], `(B,)`."""
        ...


class Ahead(Generic[Batch]):
    """A sampler that can be told which step is the next to be asked for.

    A batch depends on its step alone, so that it is the same whoever makes it, and when.

    Args:
        sample: gives the batch of a step; it may be called from another thread.
    """

    def __init__(self, sample: Callable[[int], Batch]):
        self.sample = sample
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="next-batch")
        self._coming: tuple[int, Future[Batch]] | None = None

    def __call__(self, step: int) -> Batch:
        """The batch of a step, waited for where it is being made."""
        coming, self._coming = self._coming, None
        if coming is None or coming[0] != step:
            return self.sample(step)
        return coming[1].result()

    def prepare(self, step: int) -> None:
        """Begin with the batch of a step."""
        self._coming = step, self._pool.submit(self.sample, step)
