"""A model made ready for measurements: arrays in, arrays out."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deqsci_cli import zoo
from deqsci_cli.equilibrium.model import solve
from deqsci_cli.equilibrium.noise_settings import settings_for_arms
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.equilibrium.solvers import OnIteration, Solution, Status
from deqsci_cli.errors import UsageError
from deqsci_cli.io import check_arrays, check_seen, check_truth, check_unit
from deqsci_cli.networks.denoiser import Denoiser, DenoiserLike, as_denoiser
from deqsci_cli.physics.arms import ArmsOperator
from deqsci_cli.physics.sensing import SensingOperator
from deqsci_cli.physics.sequence import SequenceOperator
from deqsci_cli.report.metrics import psnr_of
from deqsci_cli.runtime.device import (
    choose_device,
    coarse_of,
    convolutions_in,
    give_back_memory,
    memory_errors,
    prepare,
)
from deqsci_cli.runtime.device_names import check_dtype

# Numbers in a video from which on gaps between freed tensors count.
_LARGE = 2**23
#: a model's name, its folder, a loaded model, or any callable `D(video, sigma)`
ModelLike = str | Path | zoo.Model | DenoiserLike


@dataclass(frozen=True, eq=False)
class Reconstruction(Solution):
    """A solution, and where truth is known how it came near.

    Attributes:
        psnr_trace: for every sample with truth, the mean PSNR, dB, of the answer that each
            evaluation would have given.
    """

    psnr_trace: list[list[float] | None] = field(default_factory=list)

    def facts(self, sample: int) -> dict[str, Any]:
        """How one sample went, by the names that reports have for it."""
        residual, psnr_trace = self.residual[sample], self.psnr_trace[sample]
        return {
            "status": self.status[sample],
            "evaluations": self.evaluations[sample],
            "residual": residual if math.isfinite(residual) else None,
            "residual_trace": tuple(self.residual_trace[sample]),
            "psnr_trace": None if psnr_trace is None else tuple(psnr_trace),
        }


class Reconstructor:
    """A model on a device; it keeps the operator of the mask that it saw last, by its values.

    Args:
        model: the name or the folder of a model, a loaded one, or any denoiser called as
            `D(video, sigma)`.
        settings: None for those of the model's card, or for the defaults of a denoiser.
        device: `auto`, `cpu`, `cuda` or `cuda:i`.
        dtype: `float32`, `mixed`, `tf32`, `float64` or `bfloat16`.

    Raises:
        ModelError: the model cannot be found or read.
        DeviceError: there is no such device.
    """

    def __init__(
        self,
        model: ModelLike,
        settings: EquilibriumSettings | None = None,
        *,
        device: str = "auto",
        dtype: str = "float32",
    ):
        check_dtype(dtype)
        self.device = choose_device(device)
        if isinstance(model, str | Path):
            # A path is never a name: it stays a folder, without a slash too.
            model = zoo.load(model if isinstance(model, str) else str(model.absolute()))
        network, card = (
            (model.network, model.card.equilibrium)
            if isinstance(model, zoo.Model)
            else (as_denoiser(model), {})
        )
        self.settings = settings or EquilibriumSettings.from_card(card)
        self.dtype = dtype
        self.network, self.precision = prepare(network, self.device, dtype)
        self.coarse = coarse_of(self.network, self.device) if dtype == "mixed" else None
        self._last: tuple[np.ndarray, bytes, SensingOperator | ArmsOperator] | None = None

    def __call__(
        self,
        measurements: np.ndarray,
        mask: np.ndarray,
        on_iteration: OnIteration | None = None,
        *,
        truths: Sequence[np.ndarray | None] = (),
        seen: np.ndarray | None = None,
        settings: EquilibriumSettings | None = None,
        sequence: bool = False,
    ) -> Reconstruction:
        """Reconstruct measurements `(B, H, W)` of one camera, whose mask is `(T, H, W)`.

        Those of a camera with K arms are `(B, K, H, W)`, its masks `(K, T, H, W)`; they get the
        settings that suit them (`equilibrium.noise_settings.settings_for_arms`).

        Args:
            measurements: y = sum_t mask_t x_t with x in [0, 1].
            mask: of all of them.
            on_iteration: see `equilibrium.model.solve`.
            truths: the frames `(k, H, W)`, k <= T, of each measurement, where they are known; they
                are only compared with.
            seen: booleans as the measurements: pixels whose value tells something, None for all.
                The values of the others (clipped, broken) do not count.
            settings: to be used this time; None for the reconstructor's own.
            sequence: the measurements follow one another: they are solved together, as one film
                `(B T, H, W)`, whose truth is one.

        Returns:
            The solution; its `x` is `(B, T, H, W)`, on the CPU, `(1, B T, H, W)` of a sequence.

        Raises:
            InputError: arrays that are no measurements with their mask and truths.
            DeviceError: the memory is too small.
        """
        measurements, mask = np.asarray(measurements), np.asarray(mask)
        if seen is not None:
            seen = check_seen(np.asarray(seen), measurements)
            measurements = np.where(seen, measurements, 0)
        check_arrays(measurements, mask)
        for truth in truths:
            if truth is not None:
                check_truth(truth, mask.shape[-3] * (len(measurements) if sequence else 1), mask)
        if sequence and mask.ndim == 4:
            raise UsageError("measurements of several arms are not solved as a sequence")
        frames = mask.shape[-3] * (len(measurements) if sequence else 1)
        video = (frames, *mask.shape[-2:])
        with memory_errors(self.device, video), convolutions_in(self.dtype):
            operator = self._operator_of(mask)
            y = as_tensor(measurements).to(self.device, self.precision)
            shown = None if seen is None else torch.from_numpy(seen).to(self.device)
            if sequence and isinstance(operator, SensingOperator):
                y, shown = y[None], None if shown is None else shown[None]
                masks = operator.mask[0].repeat(len(measurements), 1, 1)
                operator = SequenceOperator(masks, len(measurements), shown)
            elif shown is not None:
                operator = operator.with_seen(shown)
            known = {i: as_tensor(t).to(y) for i, t in enumerate(truths) if t is not None}
            psnr_trace: dict[int, list[float]] = {sample: [] for sample in known}

            def listen(count: int, residual: Tensor, videos: Tensor) -> None:
                for sample, truth in known.items():
                    psnr_trace[sample].append(_psnr(videos[sample], truth))
                if on_iteration is not None:
                    on_iteration(count, residual, videos)

            chosen = settings or self.settings
            if mask.ndim == 4:
                chosen = settings_for_arms(chosen, self.network)
            with _without_gaps(self.network, math.prod(video)):
                found = solve(
                    self.network, operator, y, chosen, coarse=self.coarse, on_iteration=listen
                )
            whole = replace(found, x=found.x.cpu())
        spent = enumerate(found.evaluations)
        traces = [
            psnr_trace[sample][:count] if sample in psnr_trace else None for sample, count in spent
        ]
        return Reconstruction(**vars(whole), psnr_trace=traces)

    def _operator_of(self, mask: np.ndarray) -> SensingOperator | ArmsOperator:
        if self._last is not None:
            last, digest, operator = self._last
            # The array is the caller's, who may have changed it in place.
            if np.array_equal(mask, last) and _digest(last) == digest:
                return operator
        make = ArmsOperator if mask.ndim == 4 else SensingOperator
        operator = make(as_tensor(mask).to(self.device, self.precision))
        self._last = mask, _digest(mask), operator
        return operator


def _digest(array: np.ndarray) -> bytes:
    """What tells whether an array's values are the same as before."""
    return hashlib.blake2b(np.ascontiguousarray(array).data).digest()


@contextmanager
def _without_gaps(network: Denoiser, size: int) -> Iterator[None]:
    """Give freed memory back after each tile and each picture of a large film.

    Args:
        network: that is called.
        size: numbers in a video.
    """
    if size < _LARGE:
        yield
        return
    with network.register_forward_hook(lambda *_: give_back_memory()):
        yield


def as_tensor(array: np.ndarray) -> Tensor:
    """Any array of real numbers, whatever its byte order and strides, in floating point.

    It may share its memory, which nothing here writes into: what several captures share, a mask
    say, cannot be written, and PyTorch would warn of that.
    """
    wide = np.result_type(array.dtype, np.float32).itemsize > 4
    values = np.ascontiguousarray(array, np.float64 if wide else np.float32)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*not writable", UserWarning)
        return torch.from_numpy(values)


def _psnr(video: Tensor, truth: Tensor) -> float:
    """As `report.metrics.psnr` has it, the mean over the frames of truth; on any device."""
    error = (video[: len(truth)].clamp(0, 1) - truth).square().mean((1, 2))
    return float(np.mean([psnr_of(value) for value in error.tolist()]))


@dataclass(frozen=True, eq=False)
class ReconstructionResult:
    """What `reconstruct` returns; each list has an entry for each measurement.

    Attributes:
        video: `(T, H, W)` of a single measurement, `(B, T, H, W)` of several, `(B T, H, W)` if
            these are a sequence, which has one entry in the lists; float32, or float64 where that
            is the dtype.
        status: `converged`, `max_iter` or `diverged`.
        residual: `||f(x) - x|| / ||f(x)||` of the iterate that the video comes from.
        residual_trace: the residual of every evaluation.
        evaluations: of the map.
    """

    video: np.ndarray
    status: list[Status]
    residual: list[float]
    residual_trace: list[list[float]]
    evaluations: list[int]


def reconstruct(
    measurement: np.ndarray,
    mask: np.ndarray,
    model: ModelLike = "pnp",
    settings: EquilibriumSettings | None = None,
    *,
    device: str = "auto",
    dtype: str = "float32",
    on_iteration: OnIteration | None = None,
    sequence: bool = False,
) -> ReconstructionResult:
    """Reconstruct arrays, without files. For many measurements, keep one `Reconstructor`.

    Args:
        measurement: `(H, W)`, or `(B, H, W)` for several under one mask; y = sum_t mask_t x_t
            with x in [0, 1]. Of a camera with K arms `(K, H, W)`, or `(B, K, H, W)`.
        mask: `(T, H, W)`; of K arms `(K, T, H, W)`.
        model: the name or the folder of a model, a loaded one, or any denoiser called as
            `D(video, sigma)` with videos `(B, T, H, W)`.
        settings: None for those of the model's card, or for the defaults of a denoiser.
        device: `auto`, `cpu`, `cuda` or `cuda:i`.
        dtype: `float32`, `mixed`, `tf32`, `float64` or `bfloat16`.
        on_iteration: told the number of evaluations, the best residuals and the answer by now.
        sequence: the measurements follow one another. They become one film, and the frames on
            either side of a border help each other.

    Returns:
        The video, and how it converged.

    Raises:
        InputError: arrays that are no measurements with their mask, or, where that can be told,
            of frames in another unit.
        ModelError: the model cannot be found or read.
        DeviceError: the memory is too small.
    """
    y, coding = np.asarray(measurement), np.asarray(mask)
    single = y.ndim == (3 if coding.ndim == 4 else 2)
    batch = y[None] if single else y
    check_arrays(batch, coding)
    check_unit(batch, coding)
    run = Reconstructor(model, settings, device=device, dtype=dtype)
    found = run(batch, coding, on_iteration, sequence=sequence)
    video = found.x.numpy()
    return ReconstructionResult(
        video[0] if single or sequence else video,
        found.status,
        found.residual,
        found.residual_trace,
        found.evaluations,
    )
