"""What an earlier run has left, and to which input it belongs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from deqsci_cli.engine.batch.job import Job
from deqsci_cli.engine.batch.manifest import ManifestEntry, owner_of, place_of, read_entry
from deqsci_cli.engine.batch.origin import content_of, measured, origin_of_film
from deqsci_cli.errors import DeqsciError, UsageError
from deqsci_cli.io import read_film
from deqsci_cli.io.file_version import FileVersion, read_version
from deqsci_cli.io.paths import exists, is_file
from deqsci_cli.report.report import Record


@dataclass
class Left:
    """The jobs of a run, and what is left of an earlier one.

    Attributes:
        jobs: all of them; of some the film is kept and only previews are to be made.
        done: by their films, those that need nothing.
        foreign: files that no entry says are ours.
    """

    jobs: list[Job] = field(default_factory=list)
    done: dict[Path, Record] = field(default_factory=dict)
    foreign: list[Path] = field(default_factory=list)


def find_left(jobs: Sequence[Job], run_origin: dict[str, Any], beside: Mapping[str, Path]) -> Left:
    """Look for each job's film, and whether it is what would be made again.

    Args:
        jobs: of the run.
        run_origin: from `origin.origin_of_run`.
        beside: the files that all captures are read with, by what they are for.

    Raises:
        UsageError: a film belongs to another input, or there is no telling.
    """
    versions = _Versions()
    left = Left()
    for job in jobs:
        entry = read_entry(job.output)
        if entry is None:
            _check_damaged(job, versions)
            if not os.path.lexists(place_of(job.output)):
                left.foreign += job.files
        elif exists(job.output):
            _check_owner(job, entry, versions)
        if entry is not None and entry.record is not None and is_file(job.output):
            job = _kept(job, entry, run_origin, beside, versions)
            if job.keep_film and not job.missing_previews(
                entry.outputs, entry.looks, versions.sha256
            ):
                left.done[job.output] = entry.record
        left.jobs.append(job)
    return left


class _Versions:
    """Versions of files, each read once; None for one that cannot be read."""

    def __init__(self) -> None:
        self.known: dict[Path, FileVersion | None] = {}

    def of(self, path: Path) -> FileVersion | None:
        if path not in self.known:
            try:
                self.known[path] = read_version(path)
            except DeqsciError:  # whoever reads it later tells why
                self.known[path] = None
        return self.known[path]

    def sha256(self, path: Path) -> str | None:
        found = self.of(path)
        return None if found is None else found.sha256

    def content(self, job: Job) -> object:
        """What the job's film is made from, as its origin lists it."""
        return content_of(job, [self.sha256(path) for path in job.inputs])


def _kept(
    job: Job,
    entry: ManifestEntry,
    run_origin: dict[str, Any],
    beside: Mapping[str, Path],
    versions: _Versions,
) -> Job:
    """The job, with `keep_film` if its film is what would be made again."""
    # The cheap comparison first: inputs need not be read where the settings differ.
    settings = {name: entry.made_from.get(name) for name in run_origin}
    if settings != run_origin or entry.made_from.get("measurement") != measured(job):
        return job
    captures = [version for path in job.inputs if (version := versions.of(path))]
    others = {role: version for role, path in beside.items() if (version := versions.of(path))}
    if len(captures) < len(job.inputs) or len(others) < len(beside):
        return job
    if entry.made_from != origin_of_film(run_origin, job, captures, others):
        return job
    same = entry.outputs.get(job.output.name) == versions.sha256(job.output)
    return replace(job, keep_film=same)


def _check_owner(job: Job, entry: ManifestEntry, versions: _Versions) -> None:
    """A film belongs to one input: the same file, or one of the same content."""
    if entry.input == owner_of(job.input, job.output):
        return
    if entry.made_from.get("input") == versions.content(job):
        return
    raise UsageError(
        f"this film belongs to {entry.input}; that of {job.input} would take its place",
        path=job.output,
        hint="give each its own output folder",
    )


def _check_damaged(job: Job, versions: _Versions) -> None:
    """Where the entry is damaged, the film itself may tell that it is this input's."""
    entry = place_of(job.output)
    if not os.path.lexists(entry) or not exists(job.output):
        return
    try:
        made_from = (read_film(job.output).provenance or {}).get("made_from")
    except DeqsciError:
        made_from = None
    if isinstance(made_from, dict) and made_from.get("input") == versions.content(job):
        return
    raise UsageError(
        f"the record of this film is damaged ({entry}), and the film does not tell its input",
        path=job.output,
        hint="take both files away to have the film made again, or give another output folder",
    )
