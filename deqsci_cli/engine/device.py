"""Which device to compute on, and what to do when its memory is too small."""

from __future__ import annotations

import copy
import ctypes
import math
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from deqsci_cli.errors import DeviceError, UsageError
from deqsci_cli.networks.denoiser import CPU_CHUNK_PIXELS, Denoiser

# Of a video in a solver of memory 5 (15 float32) and in a network of 64 channels (three of them).
GPU_BYTES_PER_PIXEL = 4 * (15 + 3 * 64)

#: what `--dtype` may say
DTYPES = ("float32", "float64", "bfloat16")


def choose_device(name: str) -> torch.device:
    """A device by the command line's word.

    Args:
        name: `auto` (a GPU if there is one), `cpu`, `cuda` or `cuda:i`.

    Raises:
        UsageError: no such word.
        DeviceError: the device is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name != "cpu" and name.split(":")[0] != "cuda":
        raise UsageError(f"there is no device '{name}'", hint="auto, cpu, cuda or cuda:0 …")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"there is no device '{name}'", hint="auto, cpu, cuda:0 …") from error
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if (device.index or 0) >= count:
            have = f"{count} CUDA device(s)" if count else "no CUDA device"
            raise DeviceError(f"this machine has {have}, not {name}", hint="use --device cpu")
    return device


def describe_device(device: torch.device) -> str:
    """The device's name for reports and cards."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU ({platform.machine()}, {torch.get_num_threads()} threads)"


def suitable_batch(name: str, shape: tuple[int, int, int]) -> int:
    """How many measurements had best be solved together.

    On a CPU a few chunks of a network's frames: small pictures cost less together, larger ones do
    not. On a GPU as many as half of its free memory is sure to hold.

    Args:
        name: the device, as `choose_device` reads it.
        shape: of one video, `(T, H, W)`.
    """
    device, pixels = choose_device(name), math.prod(shape)
    if device.type == "cpu":
        return max(1, 4 * CPU_CHUNK_PIXELS // pixels)
    free, _ = torch.cuda.mem_get_info(device)
    return max(1, int(free / 2 / (pixels * GPU_BYTES_PER_PIXEL)))


@contextmanager
def memory_errors(device: torch.device) -> Iterator[None]:
    """Tell running out of memory as what it is."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise DeviceError(
            f"{device} ran out of memory", hint="use --device cpu, or smaller frames"
        ) from error
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):
            raise
        raise DeviceError("this machine ran out of memory", hint="use smaller frames") from error


def keep_freed_memory() -> None:
    """Have the C library keep freed memory, so that big tensors are not paged in anew each time.

    On two CPU cores this is worth a quarter of an evaluation (benchmarks/README.md). It holds
    for the whole process, so that a program decides on it, not a library call. Elsewhere than
    with glibc nothing happens.
    """
    mmap_max, trim_threshold, arena_max = -4, -1, -8  # names of mallopt(3)
    try:
        libc = ctypes.CDLL(None)
        libc.mallopt(arena_max, 1)  # what one thread has freed serves the others
        libc.mallopt(mmap_max, 0)
        libc.mallopt(trim_threshold, 2**31 - 1)
    except (OSError, AttributeError, TypeError):
        return


@dataclass
class Peak:
    """The most memory that a block held beyond its start; None where the system does not tell."""

    bytes: int | None = None


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Peak]:
    """Measure a block: PyTorch's memory on a GPU, elsewhere this process's (Linux alone)."""
    peak = Peak()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        start = torch.cuda.memory_allocated(device)
        yield peak
        peak.bytes = torch.cuda.max_memory_allocated(device) - start
        return
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # see proc(5): the peak starts anew
        before = _resident("VmRSS")
    except (OSError, AttributeError, TypeError):
        yield peak
        return
    yield peak
    peak.bytes = max(0, _resident("VmHWM") - before)


def _resident(name: str) -> int:
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split(f"{name}:")[1].split()[0])


class Bfloat16(Denoiser):
    """A denoiser under bfloat16 autocast; the iteration around it keeps full precision."""

    def __init__(self, network: Denoiser):
        super().__init__()
        self.network = network
        self.sees_measurement = network.sees_measurement

    def forward(self, video: Tensor, *seen: Tensor | float) -> Tensor:
        with torch.autocast(video.device.type, torch.bfloat16):
            return self.network(video, *seen).to(video.dtype)


def prepare(network: Denoiser, device: torch.device, dtype: str) -> tuple[Denoiser, torch.dtype]:
    """A network ready for a device and precision, and the precision of everything around it.

    Args:
        network: left as it is; a copy is made where something changes.
        device: to run on.
        dtype: one of `DTYPES`.
    """
    precision = torch.float64 if dtype == "float64" else torch.float32
    if device.type != "cpu" or precision != torch.float32:
        with memory_errors(device):
            network = copy.deepcopy(network).to(device, precision)
    return (Bfloat16(network) if dtype == "bfloat16" else network), precision
