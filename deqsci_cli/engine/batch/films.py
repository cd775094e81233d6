"""What is written for one measurement: its film, previews of it, and the entry that tells of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from deqsci_cli.engine.batch.job import Job, Order
from deqsci_cli.engine.batch.manifest import (
    ManifestEntry,
    owner_of,
    place_of,
    read_entry,
    write_entry,
)
from deqsci_cli.engine.batch.origin import origin_of_film
from deqsci_cli.engine.batch.stale import remove_old_previews
from deqsci_cli.engine.fit import fit_of
from deqsci_cli.io import (
    Capture,
    as_read,
    check_absent,
    read_film,
    remove_leftovers,
    shown_frames,
    write_film,
    write_preview,
)
from deqsci_cli.io.file_version import changed, read_version
from deqsci_cli.io.paths import is_file
from deqsci_cli.reconstructor import Reconstruction
from deqsci_cli.report.metrics import compute_metrics
from deqsci_cli.report.report import Record, Source


def write_outputs(
    order: Order,
    job: Job,
    capture: Capture,
    solution: Reconstruction,
    place: int,
    seconds: float,
    notes: tuple[str, ...],
) -> Record:
    """Write one film and what belongs to it; compute its metrics where there is truth.

    Args:
        order: of the run.
        job: the measurement.
        capture: that it is from.
        solution: of several measurements, of which
        place: tells this one's.
        seconds: that all of them took.
        notes: on how it was solved, as sentences.

    Raises:
        StorageError: nothing more can be written.
        DeqsciError: this film cannot be written.
    """
    entry = read_entry(job.output)
    overwrite = order.replace or (entry is not None and entry.run == order.run)
    video = solution.x[place].float().numpy()
    assert capture.version is not None
    made_from = origin_of_film(order.origin, job, [capture.version], capture.beside)
    stamp = order.stamp | {
        "input": job.input.name,
        "measurement": job.index,
        "made_from": {name: made_from[name] for name in ("input", "beside")},
    }
    check_absent(job.files, overwrite=overwrite)
    for file in (*job.files, place_of(job.output)):
        remove_leftovers(file)
    remove_old_previews(entry, job)
    begun = ManifestEntry(order.run, owner_of(job.input, job.output), made_from)
    write_entry(job.output, begun)
    write_film(job.output, video, scale=capture.scale, provenance=stamp, overwrite=overwrite)
    # Of the film as it is read back, so that a preview made later is the same.
    shown = as_read(video, capture.scale)
    for preview in job.previews:
        write_preview(preview, shown, look=job.look, provenance=stamp, overwrite=overwrite)
    record = Record(
        input=str(job.input),
        index=job.index,
        output=str(job.output),
        previews=tuple(map(str, job.previews)),
        model=order.stamp["model"]["name"],
        seconds=seconds / len(solution.x),
        solved_together=len(solution.x),
        scale=capture.scale,
        scale_rule=capture.scale_rule,
        replaced=capture.replaced,
        notes=(*capture.notes, *notes),
        sources=tuple(Source(**version.as_input()) for version in capture.versions),
        **solution.facts(place),
        **vars(fit_of(capture, job.index, video)),
        **compute_metrics(video, capture.truth_of(job.index)),
    )
    hashes = {file.name: read_version(file).sha256 for file in job.files}
    write_entry(job.output, replace(begun, outputs=hashes, record=record, looks=job.looks))
    return record


def add_previews(order: Order, job: Job) -> Record:
    """Write the previews that are missing beside a film that is kept.

    Raises:
        StorageError: nothing more can be written.
        DeqsciError: the film is no longer what the run was planned with.
    """
    entry = read_entry(job.output)
    if entry is None or entry.record is None:
        raise changed(job.output)
    film = read_film(job.output)
    chosen = shown_frames(len(film.frames)) if job.recording else slice(None, None, 1)
    frames = film.frames[chosen]
    hashes = dict(entry.outputs)
    for preview in job.missing_previews(hashes, entry.looks, _sha256):
        remove_leftovers(preview)
        write_preview(
            preview,
            frames,
            look=job.look,
            step=chosen.step,
            provenance=film.provenance,
            overwrite=True,
        )
        hashes[preview.name] = read_version(preview).sha256
    record = replace(entry.record, previews=tuple(map(str, job.previews)))
    looks = entry.looks | job.looks
    now = replace(entry, run=order.run, outputs=hashes, record=record, looks=looks)
    write_entry(job.output, now)
    return record


def _sha256(path: Path) -> str | None:
    return read_version(path).sha256 if is_file(path) else None
