"""Several processes on one training, as `torchrun` starts them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from deqsci_cli.errors import DeviceError, UsageError
from deqsci_cli.runtime.device import choose_device, memory_errors


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
        with warnings.catch_warnings():
            # The option has a new name from PyTorch 2.13 on, which older ones do not know.
            warnings.filterwarnings("ignore", "`broadcast_buffers`", FutureWarning)
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
    return _told("RANK", "0") == 0


def _told(name: str, default: str = "") -> int:
    """A number that torchrun sets for its processes."""
    text = os.environ.get(name, default)
    try:
        return int(text)
    except ValueError as error:
        raise UsageError(
            f"{name} is '{text}', not a number",
            hint="start the processes by torchrun, which sets it",
        ) from error


@contextmanager
def join(device: torch.device) -> Iterator[Workers]:
    """Join the processes of `torchrun`, or be the only one.

    Args:
        device: asked for; where there are several GPUs each process takes its own.

    Raises:
        UsageError: the environment is not as torchrun sets it.
        DeviceError: there are more processes than GPUs, or they do not find each other.
    """
    count = _told("WORLD_SIZE", "1")
    if count == 1:
        yield Workers(0, 1, device)
        return
    if device.type == "cuda":
        device = _own_gpu(_told("LOCAL_RANK"))
    backend = "nccl" if device.type == "cuda" else "gloo"
    # The others wait while process 0 validates, which may take long.
    try:
        dist.init_process_group(backend, timeout=timedelta(hours=2))
    except (ValueError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise DeviceError(
            f"the processes do not find each other: {reason}",
            hint="start them by torchrun, on machines that reach each other",
        ) from error
    try:
        yield Workers(dist.get_rank(), count, device)
    finally:
        dist.destroy_process_group()


def _own_gpu(number: int) -> torch.device:
    try:
        device = choose_device(f"cuda:{number}")
    except DeviceError as error:
        error.hint = "start no more processes than there are GPUs (--nproc-per-node)"
        raise
    with memory_errors(device):
        torch.cuda.set_device(device)
    return device
