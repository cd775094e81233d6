"""One window of a recording: read, solved together, its own frames and their figures kept."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch

from deqsci_cli.engine.batch.footage import Footage, Shot
from deqsci_cli.engine.batch.job import Order
from deqsci_cli.engine.batch.pieces import Piece, sha256_of
from deqsci_cli.engine.batch.summary import once
from deqsci_cli.engine.batch.windows import MeasurementWindow
from deqsci_cli.engine.batch.work import SOLVER, reconstructor_of
from deqsci_cli.engine.fit import fit_of
from deqsci_cli.engine.noise import suited
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.equilibrium.solvers import OnIteration
from deqsci_cli.errors import DeviceError
from deqsci_cli.io import check_seen
from deqsci_cli.reconstructor import Reconstruction
from deqsci_cli.report.metrics import compute_metrics
from deqsci_cli.report.report import Measured


def solve_window(
    order: Order,
    footage: Footage,
    window: MeasurementWindow,
    settings: EquilibriumSettings,
    made_from: dict[str, Any],
    on_iteration: OnIteration | None,
) -> tuple[Piece, np.ndarray]:
    """The piece of one window, and its frames `(k, H, W)`.

    Args:
        order: of the run.
        footage: the recording.
        window: of it.
        settings: of the solver.
        made_from: what decides the film.
        on_iteration: see `equilibrium.model.solve`.

    Raises:
        DeqsciError: a file, the model or the device fails.
    """
    shots = footage.shots(window.first, window.last)
    asked = order, footage.mask, shots, settings, on_iteration
    solution, seconds = SOLVER.submit(_timed, *asked).result()
    frames = len(footage.mask)
    kept = slice((window.start - window.first) * frames, (window.stop - window.first) * frames)
    video = solution.x[0, kept].float().numpy()
    mine = shots[window.start - window.first : window.stop - window.first]
    parts = video.reshape(-1, *footage.mask.shape)
    facts = solution.facts(0)
    metrics = [compute_metrics(part, shot.truth) for shot, part in zip(mine, parts, strict=True)]
    piece = Piece(
        made_from=made_from,
        start=window.start,
        shape=video.shape,
        sha256=sha256_of(video),
        seconds=seconds,
        residual_trace=facts["residual_trace"],
        psnr_trace=facts["psnr_trace"],
        replaced=once(s for shot in mine for s in shot.capture.replaced),
        notes=once(s for shot in mine for s in shot.capture.notes),
        measurements=tuple(
            _measured(shot, part, facts, figures)
            for shot, part, figures in zip(mine, parts, metrics, strict=True)
        ),
        frame_psnr=_of_frames(metrics, "frame_psnr", frames),
        frame_ssim=_of_frames(metrics, "frame_ssim", frames),
    )
    return piece, video


def _timed(
    order: Order,
    mask: np.ndarray,
    shots: Sequence[Shot],
    settings: EquilibriumSettings,
    on_iteration: OnIteration | None,
) -> tuple[Reconstruction, float]:
    """The solution of a window, and the seconds that it took."""
    if order.threads is not None:
        torch.set_num_threads(order.threads)
    began = time.perf_counter()
    torch.manual_seed(order.seed)
    try:
        run = reconstructor_of(order)
        each = [suited(shot.capture, shot.index, run.network, order.settings) for shot in shots]
        found = run(
            np.stack([suiting.measurement for suiting in each]),
            mask,
            on_iteration,
            truths=[_truth(shots, len(mask))],
            seen=_seen(shots),
            settings=settings,
            sequence=True,
        )
    except DeviceError as error:
        if len(shots) > 1:
            error.hint = f"fewer measurements at once: --batch-size; {error.hint}"
        raise
    return found, time.perf_counter() - began


def _truth(shots: Sequence[Shot], frames: int) -> np.ndarray | None:
    """The truth of all frames, up to the first that has none."""
    known = []
    for shot in shots:
        if shot.truth is None:
            break
        known.append(shot.truth)
        if len(shot.truth) < frames:
            break
    return np.concatenate(known) if known else None


def _seen(shots: Sequence[Shot]) -> np.ndarray | None:
    """The pixels that tell something, (N, H, W); None for all of all measurements.

    Raises:
        InputError: none of a measurement's tells anything.
    """
    maps = [shot.capture.seen(shot.index) for shot in shots]
    for shot, each in zip(shots, maps, strict=True):
        if each is not None:
            check_seen(each[None], shot.measurement[None], path=shot.capture.path)
    if all(each is None for each in maps):
        return None
    whole = np.ones(shots[0].capture.shape, bool)
    return np.stack([whole if each is None else each for each in maps])


def _measured(
    shot: Shot, video: np.ndarray, facts: dict[str, Any], metrics: dict[str, Any]
) -> Measured:
    """The figures of one measurement."""
    return Measured(
        input=str(shot.capture.path),
        index=shot.index,
        **{name: facts[name] for name in ("status", "evaluations", "residual")},
        **vars(fit_of(shot.capture, shot.index, video)),
        **{name: metrics[name] for name in ("psnr", "ssim") if name in metrics},
    )


def _of_frames(
    metrics: Iterable[dict[str, Any]], name: str, frames: int
) -> tuple[float | None, ...]:
    """A figure of every frame, None for those without truth."""
    found: list[float | None] = []
    for each in metrics:
        known = each.get(name) or ()
        found += [*known, *[None] * (frames - len(known))]
    return tuple(found)
