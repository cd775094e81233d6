"""Which device to compute on, and what to do when its memory is too small."""

from __future__ import annotations

import copy
import ctypes
import math
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from deqsci_cli.errors import DeviceError
from deqsci_cli.networks.denoiser import CPU_CHUNK_PIXELS, Coarse, Denoiser, ReceptiveField
from deqsci_cli.runtime.device_names import check_device_name

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

# Of a video in a solver of memory 5 (15 float32) and in a network of 64 channels (three of them).
GPU_BYTES_PER_PIXEL = 4 * (15 + 3 * 64)
# Of a video on a CPU, whose networks take it frame by frame; measured.
CPU_BYTES_PER_PIXEL = 4 * 32
# What PyTorch's parts say where no memory is left; they have no common class for it.
_OUT_OF_MEMORY = re.compile(
    "can't allocate memory|could not create a memory|bad_alloc|(CUDA|HIP) error: out of memory"
    "|_ALLOC_FAILED|Unable to find a valid cuDNN algorithm"
)
# What they say where a GPU, its driver, or a library for it fails.
_GPU_FAILED = re.compile(
    r"\b(CUDA|HIP|cuDNN|cuFFT|cusolver|NCCL|nvrtc)\b.*\berror\b|\b(CU|HIP)[A-Z]+_STATUS_"
    "|NVIDIA driver|CUDA driver|No CUDA GPUs|cudaGetDeviceCount|unable to find an engine"
)
_NOT_BUILT_FOR = re.compile("no kernel image|invalid device function|PTX|gpu-architecture")


def choose_device(name: str) -> torch.device:
    """A device by the command line's word.

    Args:
        name: `auto` (a GPU if there is one), `cpu`, `cuda` or `cuda:i`.

    Raises:
        UsageError: no such word.
        DeviceError: the device is not there.
    """
    check_device_name(name)
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if (device.index or 0) >= count:
            have = f"{count} CUDA device(s)" if count else "no CUDA device"
            raise DeviceError(f"this machine has {have}, not {name}", hint="use --device cpu")
    return device


def describe_device(device: torch.device) -> str:
    """The device's name for reports and cards."""
    if device.type == "cuda":
        with memory_errors(device):
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
    with memory_errors(device):
        free, _ = torch.cuda.mem_get_info(device)
    return max(1, int(free / 2 / (pixels * GPU_BYTES_PER_PIXEL)))


@contextmanager
def memory_errors(device: torch.device, shape: tuple[int, ...] | None = None) -> Iterator[None]:
    """Tell running out of memory as what it is, and what would fit; and a GPU that fails.

    Args:
        device: that is computed on.
        shape: of one video, `(T, H, W)`, where videos are what takes the memory.

    Raises:
        DeviceError: in place of what PyTorch and Python raise.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _too_little(device, shape) from error
    except RuntimeError as error:
        if _OUT_OF_MEMORY.search(str(error)):
            raise _too_little(device, shape) from error
        if _GPU_FAILED.search(str(error)):
            raise _gpu_failed(device, str(error)) from error
        raise


def _gpu_failed(device: torch.device, text: str) -> DeviceError:
    """What to say of an error of CUDA or its libraries: its first line, and how to fix it."""
    hint = "use --device cpu; nvidia-smi tells of the driver, and of who else computes there"
    if _NOT_BUILT_FOR.search(text):
        hint = "use --device cpu, or install a PyTorch that is built for this GPU"
    first = text.strip().partition("\n")[0]
    return DeviceError(f"{device} cannot compute: {first}", hint=hint)


def _too_little(device: torch.device, shape: tuple[int, ...] | None) -> DeviceError:
    """What to say: what one video takes, what is free, and how large a picture fits into that."""
    where = "this machine" if device.type == "cpu" else str(device)
    hint = "use smaller frames" if device.type == "cpu" else "use --device cpu, or smaller frames"
    free = _free_memory(device)
    if shape is None or free is None:
        return DeviceError(f"{where} ran out of memory", hint=hint)
    frames, height, width = shape
    each = CPU_BYTES_PER_PIXEL if device.type == "cpu" else GPU_BYTES_PER_PIXEL
    need = math.prod(shape) * each
    side = 16 * int(min(1.0, math.sqrt(free / need)) * math.sqrt(height * width) / 16)
    return DeviceError(
        f"{where} ran out of memory: {frames} frames of {height}x{width} pixels take some "
        f"{need / 1e6:.0f} MB, and {free / 1e6:.0f} MB are free",
        hint=f"some {side}x{side} pixels fit into that; {hint}",
    )


def _free_memory(device: torch.device) -> int | None:
    """Bytes that can still be had; None where the system does not tell."""
    if device.type == "cuda":
        try:
            return int(torch.cuda.mem_get_info(device)[0])
        except RuntimeError:  # it fails as a whole
            return None
    try:
        free = 1024 * int(_line("/proc/meminfo", "MemAvailable"))
        limit = resource.getrlimit(resource.RLIMIT_AS)[0] if resource else -1
        if limit > 0:  # else there is none
            free = min(free, limit - 1024 * int(_line("/proc/self/status", "VmSize")))
    except (OSError, IndexError):
        return None
    return max(0, free)


def _line(file: str, name: str) -> str:
    """The number behind a name in one of Linux's tables."""
    return Path(file).read_text().split(f"{name}:")[1].split()[0]


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


def use_threads(count: int | None) -> None:
    """Have so many threads compute on the CPU, in the whole process; None leaves it as it is."""
    if count is not None:
        torch.set_num_threads(count)


def give_back_memory() -> None:
    """Give back what `keep_freed_memory` has kept; elsewhere than with glibc nothing happens.

    Between the tensors of a large film freed ones leave gaps into which others do not fit. They
    took a quarter of the memory, and to give them back after each evaluation costs some hundredths
    of its time (benchmarks/README.md).
    """
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


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
    return 1024 * int(_line("/proc/self/status", name))


class _InPrecision(Denoiser):
    """A denoiser that computes in a precision of its own; the iteration around it keeps its own."""

    def __init__(self, network: Denoiser):
        super().__init__()
        self.network = network
        self.uses_measurement = network.uses_measurement

    def receptive_field(self, frames: int) -> ReceptiveField | None:
        return self.network.receptive_field(frames)


class Bfloat16(_InPrecision):
    """A denoiser under bfloat16 autocast."""

    def forward(self, video: Tensor, sigma: Tensor | float, *measured: Tensor) -> Tensor:
        with torch.autocast(video.device.type, torch.bfloat16):
            return self.network(video, sigma, *measured).to(video.dtype)


class TensorFloat32(_InPrecision):
    """A denoiser whose convolutions are in TF32 on an NVIDIA GPU."""

    def forward(self, video: Tensor, sigma: Tensor | float, *measured: Tensor) -> Tensor:
        with convolutions_in("tf32"):
            return self.network(video, sigma, *measured)


def coarse_of(network: Denoiser, device: torch.device) -> Coarse | None:
    """The network in a precision that the device computes faster; None where there is none.

    That is TF32 on an NVIDIA GPU, and bfloat16 on a processor with matrix units for it (AMX). The
    tolerances are some twice what the rounding lets a residual fall to (benchmarks/README.md).
    """
    if not any(True for _ in network.parameters()):
        return None
    if device.type == "cuda":
        return Coarse(TensorFloat32(network), 1e-3)
    known: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return Coarse(Bfloat16(network), 4e-3) if known.get("amx_bf16") else None


@contextmanager
def convolutions_in(dtype: str) -> Iterator[None]:
    """Have a GPU convolve in float32 where float32 is asked for, and in TF32 for `tf32`.

    By itself PyTorch convolves in TF32, whose ten bits do not let a residual fall below some 4e-4
    (benchmarks/README.md). It is a setting of the whole process, put back at the end.
    """
    convolution = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    before = convolution.fp32_precision
    convolution.fp32_precision = "tf32" if dtype == "tf32" else "ieee"
    try:
        yield
    finally:
        convolution.fp32_precision = before


def prepare(network: Denoiser, device: torch.device, dtype: str) -> tuple[Denoiser, torch.dtype]:
    """A network ready for a device and precision, and the precision of everything around it.

    Args:
        network: left as it is; a copy is made where something changes.
        device: to run on.
        dtype: one of `device_names.DTYPES`.
    """
    precision = torch.float64 if dtype == "float64" else torch.float32
    if device.type != "cpu" or precision != torch.float32:
        with memory_errors(device):
            network = copy.deepcopy(network).to(device)
            if precision == torch.float64:
                network = network.double()  # unlike `to`, it leaves complex buffers complex
    return (Bfloat16(network) if dtype == "bfloat16" else network), precision
