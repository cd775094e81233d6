"""How a device computes."""

from __future__ import annotations

import re
from contextlib import nullcontext

import numpy as np
import pytest
import torch

from deqsci_cli import reconstructor, zoo
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.errors import DeviceError
from deqsci_cli.reconstructor import Reconstructor
from deqsci_cli.runtime import device as devices


@pytest.fixture
def precision_of_cudnn():
    """Put back after a test; it is a setting of the whole process."""
    before = torch.backends.cudnn.conv.fp32_precision
    yield
    torch.backends.cudnn.conv.fp32_precision = before


@pytest.mark.parametrize(("dtype", "expected"), [("float32", "ieee"), ("tf32", "tf32")])
@pytest.mark.parametrize("before", ["ieee", "tf32"])
@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.usefixtures("precision_of_cudnn")
def test_a_gpu_convolves_in_what_is_asked_for(dtype, expected, before, fails):
    """Whatever the process had before, which it has again afterwards."""
    torch.backends.cudnn.conv.fp32_precision = before
    model, seen = zoo.load("pnp-cnn"), []

    def note(*_: object) -> None:
        seen.append(torch.backends.cudnn.conv.fp32_precision)
        if fails:
            raise ValueError("on purpose")

    run = Reconstructor(model, EquilibriumSettings(max_iter=2), device="cpu", dtype=dtype)
    run.network.register_forward_hook(note)
    mask = np.ones((4, 8, 8), np.float32)
    with pytest.raises(ValueError, match="on purpose") if fails else nullcontext():
        run(mask.sum(0)[None] / 2, mask)
    assert len(seen) == (1 if fails else 2) and set(seen) == {expected}
    assert torch.backends.cudnn.conv.fp32_precision == before


@pytest.mark.parametrize("fast", [False, True], ids=["without", "with"])
def test_mixed_is_coarse_where_the_processor_has_matrix_units(monkeypatch, fast):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": fast}, raising=False)
    model, seen = zoo.load("pnp-cnn"), []
    model.network.register_forward_hook(lambda *_: seen.append(torch.is_autocast_enabled("cpu")))
    settings = EquilibriumSettings.from_card(model.card.equilibrium)
    rng = np.random.default_rng(0)
    mask = rng.integers(0, 2, (4, 24, 24)).astype(np.float32)
    y = (mask * rng.random((4, 1, 1), np.float32)).sum(0)[None]
    runs = [
        Reconstructor(model, settings, device="cpu", dtype=dtype) for dtype in ("float32", "mixed")
    ]
    plain = runs[0](y, mask)
    seen.clear()
    mixed = runs[1](y, mask)
    assert any(seen) == fast and not seen[-1]
    assert mixed.status == plain.status == ["converged"]
    if not fast:
        assert torch.equal(mixed.x, plain.x)
    assert (mixed.x - plain.x).norm() < 10 * settings.tol * plain.x.norm()


@pytest.mark.usefixtures("precision_of_cudnn")
def test_mixed_on_a_gpu_is_tf32_first():
    model, seen = zoo.load("pnp-cnn"), []
    model.network.register_forward_hook(
        lambda *_: seen.append(torch.backends.cudnn.conv.fp32_precision)
    )
    coarse = devices.coarse_of(model.network, torch.device("cuda"))
    with devices.convolutions_in("float32"):
        for network in (coarse.network, model.network):
            network(torch.zeros(1, 2, 8, 8), 0.1)
    assert seen == ["tf32", "ieee"]


# In PyTorch's own words, and those of NVIDIA's libraries; none of them is an OutOfMemoryError.
NO_KERNEL = (
    "CUDA error: no kernel image is available for execution on the device\n"
    "CUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace "
    "below might be incorrect.\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1\n"
)
BLAS = "CUDA error: CUBLAS_STATUS_{} when calling `cublasCreate(handle)`"
FAILURES = {
    NO_KERNEL: "built for this GPU",
    BLAS.format("NOT_INITIALIZED"): "--device cpu",
    BLAS.format("EXECUTION_FAILED"): "--device cpu",
    "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR": "--device cpu",
    "cuFFT error: CUFFT_INTERNAL_ERROR": "--device cpu",
    "CUDA error: an illegal memory access was encountered": "--device cpu",
    "CUDA unknown error - this may be due to an incorrectly set up environment": "--device cpu",
    "GET was unable to find an engine to execute this computation": "--device cpu",
    "The NVIDIA driver on your system is too old (found version 10010).": "--device cpu",
    BLAS.format("ALLOC_FAILED"): "ran out of memory",
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED": "ran out of memory",
    "CUDA error: out of memory": "ran out of memory",
    "Unable to find a valid cuDNN algorithm to run convolution": "ran out of memory",
}


@pytest.mark.parametrize("text", FAILURES, ids=range(len(FAILURES)))
def test_a_gpu_that_fails_is_told_in_one_line(text, monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (1000, 2000))
    kind = getattr(torch, "AcceleratorError", RuntimeError)
    shape = (4, 8, 8)
    for error in (RuntimeError(text), kind(text)):
        with (
            pytest.raises(DeviceError, match=FAILURES[text]) as told,
            devices.memory_errors(torch.device("cuda"), shape),
        ):
            raise error
        assert told.value.exit_code == 4 and told.value.hint and "\n" not in str(told.value)


@pytest.mark.parametrize(
    "text",
    [
        "Expected all tensors to be on the same device, but found two: cuda:0 and cpu!",
        "mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)",
        "\"slow_conv2d_cuda\" not implemented for 'Byte'",
    ],
)
def test_a_fault_of_our_own_is_not_put_on_the_gpu(text):
    with (
        pytest.raises(RuntimeError, match=re.escape(text)) as told,
        devices.memory_errors(torch.device("cpu")),
    ):
        raise RuntimeError(text)
    assert str(told.value) == text


def test_a_run_on_a_gpu_that_fails(monkeypatch):
    """Wherever it happens; the whole of CUDA answers so from then on."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError(NO_KERNEL)

    mask = np.ones((4, 8, 8), np.float32)
    monkeypatch.setattr(reconstructor, "solve", broken)
    with pytest.raises(DeviceError, match="no kernel image"):
        Reconstructor(zoo.load("gap-tv"))(mask.sum(0)[None] / 2, mask)
    for name in ("mem_get_info", "get_device_name", "set_device"):
        monkeypatch.setattr(torch.cuda, name, broken)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(DeviceError, match="no kernel image"):
        devices.suitable_batch("cuda", (4, 8, 8))
    with pytest.raises(DeviceError, match="no kernel image"):
        devices.describe_device(torch.device("cuda"))
    with pytest.raises(DeviceError, match="memory"), devices.memory_errors(torch.device("cuda")):
        raise MemoryError
