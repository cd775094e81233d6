"""Several processes on one training, as `torchrun` starts them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class Workers:
    """This process among those that train together.

    Attributes:
        rank: its number; 0 validates, writes and speaks.
        count: how many there are.
        device: its own.
    """

    rank: int
    count: int
    device: torch.device

    @property
    def share(self) -> tuple[int, int]:
        return self.rank, self.count

    def wrap(self, module: nn.Module) -> nn.Module:
        """A module whose gradients are averaged over all processes."""
        if self.count == 1:
            return module
        ids = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(module, device_ids=ids, broadcast_buffers=False)

    def mean(self, values: dict[str, float]) -> dict[str, float]:
        """The means over all processes, which all see."""
        if self.count == 1:
            return values
        tensor = torch.tensor(list(values.values()), dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor)
        return dict(zip(values, (tensor / self.count).tolist(), strict=True))

    def any(self, flag: bool) -> bool:
        """Whether it holds for one of the processes."""
        return self.mean({"flag": float(flag)})["flag"] > 0

    def wait(self) -> None:
        """Until every process has come here."""
        if self.count > 1:
            dist.barrier()


def is_first() -> bool:
    """Whether this is process 0 of `torchrun`, or the only one."""
    return int(os.environ.get("RANK", "0")) == 0


@contextmanager
def join(device: torch.device) -> Iterator[Workers]:
    """Join the processes of `torchrun`, or be the only one.

    Args:
        device: asked for; where there are several GPUs each process takes its own.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Workers(0, 1, device)
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    # The others wait while process 0 validates, which may take long.
    dist.init_process_group(backend, timeout=timedelta(hours=2))
    try:
        yield Workers(dist.get_rank(), count, device)
    finally:
        dist.destroy_process_group()
