"""A recording, done by one worker: window by window into pieces, and all pieces into one film."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from deqsci_cli.engine.batch.films import add_previews
from deqsci_cli.engine.batch.footage import Footage, Shot
from deqsci_cli.engine.batch.job import Job, Order, Task
from deqsci_cli.engine.batch.manifest import (
    ManifestEntry,
    owner_of,
    place_of,
    read_entry,
    record_of,
    write_entry,
)
from deqsci_cli.engine.batch.origin import origin_of_film
from deqsci_cli.engine.batch.pieces import (
    Piece,
    frames_of,
    read_piece,
    remove_pieces,
    sha256_of,
    write_piece,
)
from deqsci_cli.engine.batch.windows import Window, overlap_of, windows
from deqsci_cli.engine.batch.work import SOLVER, reconstructor_of, suited_for, written
from deqsci_cli.engine.fit import fit_of
from deqsci_cli.equilibrium.model import EquilibriumSettings
from deqsci_cli.equilibrium.solvers import OnIteration
from deqsci_cli.errors import DeviceError
from deqsci_cli.io import (
    as_read,
    check_absent,
    remove_leftovers,
    shown_frames,
    write_film_parts,
    write_preview,
)
from deqsci_cli.io.file_version import read_version
from deqsci_cli.reconstructor import Reconstruction
from deqsci_cli.report.metrics import compute_metrics
from deqsci_cli.report.report import STATUSES, Failure, Measured, Record, Source
from deqsci_cli.runtime.device import keep_freed_memory


def work_on_recording(
    task: Task, on_iteration: OnIteration | None = None
) -> list[Record | Failure]:
    """Do a task of one recording. What an earlier run has made of its windows is kept.

    Returns:
        Its record, or why there is none.

    Raises:
        StorageError: nothing more can be written.
    """
    order, (job,) = task.order, task.jobs
    if order.threads is not None:
        keep_freed_memory()
    if record := record_of(job.output, order.run):
        return [record]
    if job.keep_film:
        return [written(job, add_previews, order, job)]
    return [written(job, _make, order, job, on_iteration)]


def _make(order: Order, job: Job, on_iteration: OnIteration | None) -> Record:
    """The film of a recording."""
    entry = read_entry(job.output)
    check_absent(job.files, overwrite=order.replace or _is_own(entry, order))
    footage = Footage(order, job)
    (first,) = footage.shots(0, 1)
    suiting = suited_for(order, replace(job, index=first.index), first.capture)
    versions = list(footage.versions.values())
    made_from = origin_of_film(order.origin, job, versions, footage.first.beside)
    begun = ManifestEntry(order.run, owner_of(job.input, job.output), made_from)
    remove_leftovers(place_of(job.output))
    write_entry(job.output, begun)
    cut = windows(len(footage.places), job.window)
    pieces = [
        read_piece(job.output, window.start, made_from)
        or _solve_window(order, job, footage, window, suiting.settings, made_from, on_iteration)
        for window in cut
    ]
    notes = (*suiting.notes, *_of_windows(cut, job.window))
    record = _write(order, job, footage, pieces, made_from, notes)
    hashes = {file.name: read_version(file).sha256 for file in job.files}
    write_entry(job.output, replace(begun, outputs=hashes, record=record))
    remove_pieces(job.output)
    return record


def _is_own(entry: ManifestEntry | None, order: Order) -> bool:
    return entry is not None and entry.run == order.run


def _of_windows(cut: Sequence[Window], size: int) -> tuple[str, ...]:
    if len(cut) == 1:
        return ()
    most, along = max(window.last - window.first for window in cut), overlap_of(size)
    return (
        f"solved in {len(cut)} windows of at most {most} measurements, {along} of them beyond each "
        "border",
    )


def _solve_window(
    order: Order,
    job: Job,
    footage: Footage,
    window: Window,
    settings: EquilibriumSettings,
    made_from: dict[str, Any],
    on_iteration: OnIteration | None,
) -> Piece:
    """The piece of one window; it is written when this returns."""
    shots = footage.shots(window.first, window.last)
    asked = order, job, footage.mask, shots, settings, on_iteration
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
        replaced=_once(s for shot in mine for s in shot.capture.replaced),
        notes=_once(s for shot in mine for s in shot.capture.notes),
        measurements=tuple(
            _measured(shot, part, facts, figures)
            for shot, part, figures in zip(mine, parts, metrics, strict=True)
        ),
        frame_psnr=_of_frames(metrics, "frame_psnr", frames),
        frame_ssim=_of_frames(metrics, "frame_ssim", frames),
    )
    write_piece(job.output, piece, video)
    return piece


def _timed(
    order: Order,
    job: Job,
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
        found = reconstructor_of(order)(
            np.stack([_suited(order, job, shot) for shot in shots]),
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


def _suited(order: Order, job: Job, shot: Shot) -> np.ndarray:
    """A measurement (H, W) as its noise wants it."""
    return suited_for(order, replace(job, index=shot.index), shot.capture).measurement


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
    """The pixels that tell something, (N, H, W); None for all of all measurements."""
    maps = [shot.capture.seen(shot.index) for shot in shots]
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


def _write(
    order: Order,
    job: Job,
    footage: Footage,
    pieces: Sequence[Piece],
    made_from: dict[str, Any],
    notes: tuple[str, ...],
) -> Record:
    """The film and its previews of their pieces, and the record of them."""
    stamp = order.stamp | {
        "input": job.input.name,
        "measurement": made_from["measurement"],
        "made_from": {name: made_from[name] for name in ("input", "beside", "window")},
    }
    scale = footage.first.scale
    overwrite = order.replace or _is_own(read_entry(job.output), order)
    for file in job.files:
        remove_leftovers(file)
    shape = (sum(piece.shape[0] for piece in pieces), *footage.mask.shape[1:])
    parts = (frames_of(job.output, piece) for piece in pieces)
    write_film_parts(job.output, parts, shape, scale=scale, provenance=stamp, overwrite=overwrite)
    if job.previews:
        shown = as_read(np.concatenate([*_shown(job, pieces, shape[0])]), scale)
        for preview in job.previews:
            write_preview(preview, shown, provenance=stamp, overwrite=overwrite)
    beside = footage.first.beside.values()
    return Record(
        input=str(job.input),
        index=footage.places[0][1],
        output=str(job.output),
        previews=tuple(map(str, job.previews)),
        model=order.stamp["model"]["name"],
        scale=scale,
        scale_rule=footage.first.scale_rule,
        sources=tuple(Source(**v.as_input()) for v in (*footage.versions.values(), *beside)),
        **_summary(pieces, notes),
    )


def _shown(job: Job, pieces: Sequence[Piece], frames: int) -> Iterator[np.ndarray]:
    """Of each piece the frames that previews show."""
    chosen = np.zeros(frames, bool)
    chosen[shown_frames(frames)] = True
    start = 0
    for piece in pieces:
        mine = chosen[start : start + piece.shape[0]]
        if mine.any():
            yield frames_of(job.output, piece)[mine]
        start += piece.shape[0]


def _summary(pieces: Sequence[Piece], notes: tuple[str, ...]) -> dict[str, Any]:
    """What a record tells of all pieces together."""
    measured = [one for piece in pieces for one in piece.measurements]
    psnr = [value for piece in pieces for value in piece.frame_psnr]
    ssim = [value for piece in pieces for value in piece.frame_ssim]
    residuals = [one.residual for one in measured]
    reasons = sorted({reason for one in measured for reason in one.unseen})
    return {
        "status": max((one.status for one in measured), key=STATUSES.index),
        "evaluations": max(one.evaluations for one in measured),
        "residual": None if None in residuals else max(r for r in residuals if r is not None),
        "residual_trace": _worst([piece.residual_trace for piece in pieces]),
        "psnr_trace": pieces[0].psnr_trace if len(pieces) == 1 else None,
        "seconds": sum(piece.seconds for piece in pieces),
        "replaced": _once(s for piece in pieces for s in piece.replaced),
        "notes": (*_once(s for piece in pieces for s in piece.notes), *notes),
        "warnings": _once(s for one in measured for s in one.warnings),
        **{
            name: _mean([getattr(one, name) for one in measured])
            for name in ("misfit", "held_out", "mask_score", "seen", "outside")
        },
        "unseen": {
            r: sum(one.unseen.get(r, 0.0) for one in measured) / len(measured) for r in reasons
        },
        "psnr": _mean(psnr),
        "ssim": _mean(ssim),
        "frame_psnr": _known(psnr),
        "frame_ssim": _known(ssim),
        "recording": tuple(measured),
    }


def _once(sentences: Iterable[str]) -> tuple[str, ...]:
    """Sentences, each kind once: those that differ in a number alone are of one kind."""
    kinds: dict[str, list[str]] = {}
    for sentence in sentences:
        kinds.setdefault(re.sub(r"[\d.]+", "#", sentence), []).append(sentence)
    return tuple(found[0] for found in kinds.values())


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _known(values: Sequence[float | None]) -> tuple[float | None, ...] | None:
    """Up to the last frame with truth; None where there is none."""
    last = max((place for place, value in enumerate(values) if value is not None), default=-1)
    return tuple(values[: last + 1]) if last >= 0 else None


def _worst(traces: Sequence[Sequence[float | None]]) -> tuple[float | None, ...]:
    """Of every evaluation the largest residual of the windows that went so far."""
    longest = max(map(len, traces))
    known = [[t[i] for t in traces if len(t) > i] for i in range(longest)]
    return tuple(None if None in each else max(v for v in each if v is not None) for each in known)
