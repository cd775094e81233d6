"""A recording, done by one worker: window by window into pieces, and all pieces into one film."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from deqsci_cli.engine.batch.films import add_previews
from deqsci_cli.engine.batch.footage import Footage
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
    write_piece,
)
from deqsci_cli.engine.batch.progress import READING, STARTING, WRITING, OnPhase, ignore_phase
from deqsci_cli.engine.batch.stale import remove_old_previews
from deqsci_cli.engine.batch.summary import summary_of
from deqsci_cli.engine.batch.window_work import solve_window
from deqsci_cli.engine.batch.windows import MeasurementWindow, overlap_of, windows
from deqsci_cli.engine.batch.work import suited_for, written
from deqsci_cli.equilibrium.solvers import OnIteration
from deqsci_cli.io import (
    as_read,
    check_absent,
    remove_leftovers,
    shown_frames,
    write_film_parts,
    write_preview,
)
from deqsci_cli.io.file_version import read_version
from deqsci_cli.report.report import Failure, Record, Source
from deqsci_cli.runtime.device import keep_freed_memory


def work_on_recording(
    task: Task, on_iteration: OnIteration | None = None, on_phase: OnPhase = ignore_phase
) -> list[Record | Failure]:
    """Do a task of one recording. What an earlier run has made of its windows is kept.

    Args:
        task: of the recording.
        on_iteration: see `equilibrium.model.solve`.
        on_phase: told what is being done.

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
    return [written(job, _make, order, job, on_iteration, on_phase)]


def _make(order: Order, job: Job, on_iteration: OnIteration | None, on_phase: OnPhase) -> Record:
    """The film of a recording."""
    entry = read_entry(job.output)
    overwrite = order.replace or (entry is not None and entry.run == order.run)
    check_absent(job.files, overwrite=overwrite)
    on_phase(READING)
    footage = Footage(order, job)
    (first,) = footage.shots(0, 1)
    suiting = suited_for(order, replace(job, index=first.index), first.capture)
    versions = list(footage.versions.values())
    made_from = origin_of_film(order.origin, job, versions, footage.first.beside)
    begun = ManifestEntry(order.run, owner_of(job.input, job.output), made_from)
    remove_leftovers(place_of(job.output))
    remove_old_previews(entry, job)
    write_entry(job.output, begun)
    on_phase(STARTING)
    cut = windows(len(footage.places), job.window)
    pieces = [
        read_piece(job.output, window.start, made_from)
        or _made(order, job, footage, window, suiting.settings, made_from, on_iteration)
        for window in cut
    ]
    notes = (*suiting.notes, *_of_windows(cut, job.window))
    on_phase(WRITING)
    record = _write(order, job, footage, pieces, made_from, notes, overwrite=overwrite)
    hashes = {file.name: read_version(file).sha256 for file in job.files}
    write_entry(job.output, replace(begun, outputs=hashes, record=record, looks=job.looks))
    remove_pieces(job.output)
    return record


def _made(order: Order, job: Job, *asked: Any) -> Piece:
    """A piece that was not there; it is written when this returns."""
    piece, frames = solve_window(order, *asked)
    write_piece(job.output, piece, frames)
    return piece


def _of_windows(cut: Sequence[MeasurementWindow], size: int) -> tuple[str, ...]:
    if len(cut) == 1:
        return ()
    most, along = max(window.last - window.first for window in cut), overlap_of(size)
    return (
        f"solved in {len(cut)} windows of at most {most} measurements, {along} of them beyond each "
        "border",
    )


def _write(
    order: Order,
    job: Job,
    footage: Footage,
    pieces: Sequence[Piece],
    made_from: dict[str, Any],
    notes: tuple[str, ...],
    *,
    overwrite: bool,
) -> Record:
    """The film and its previews of their pieces, and the record of them."""
    stamp = order.stamp | {
        "input": job.input.name,
        "measurement": made_from["measurement"],
        "made_from": {name: made_from[name] for name in ("input", "beside", "window")},
    }
    scale = footage.first.scale
    for file in job.files:
        remove_leftovers(file)
    shape = (sum(piece.shape[0] for piece in pieces), *footage.mask.shape[1:])
    parts = (frames_of(job.output, piece) for piece in pieces)
    write_film_parts(job.output, parts, shape, scale=scale, provenance=stamp, overwrite=overwrite)
    if job.previews:
        shown = as_read(np.concatenate([*_shown(job, pieces, shape[0])]), scale)
        for preview in job.previews:
            write_preview(
                preview,
                shown,
                look=job.look,
                step=shown_frames(shape[0]).step,
                provenance=stamp,
                overwrite=overwrite,
            )
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
        **summary_of(pieces, notes),
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
