"""What an earlier run has left, and a new film makes untrue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from deqsci_cli.engine.batch.job import Job
from deqsci_cli.engine.batch.manifest import ManifestEntry, entries_in, owner_of, place_of
from deqsci_cli.io.atomic import storage_errors
from deqsci_cli.io.file_version import read_version
from deqsci_cli.io.paths import is_file

# The head of a page of ours says who made it.
_OURS, _HEAD = b'<meta name="generator" content="deqsci">', 4096

# Longer names are kept in a shorter form (`io.paths.short_name`).
_STEM = 40


def remove_old_previews(entry: ManifestEntry | None, job: Job) -> None:
    """Take away previews of a film that is made again, where the job makes no new ones.

    Args:
        entry: of the film as it was; only files that it tells of, and that are unchanged, go.
        job: that makes the film.

    Raises:
        StorageError: one cannot be taken away.
    """
    for name, sha256 in ({} if entry is None else entry.outputs).items():
        file = job.output.parent / name
        if file not in job.files and is_file(file) and read_version(file).sha256 == sha256:
            with storage_errors(file):
                file.unlink()


def remove_old_page(page: Path) -> bool:
    """Take away a page of ours, whose films are made again; whether there was one.

    Raises:
        StorageError: it cannot be taken away.
    """
    if not is_file(page):
        return False
    with storage_errors(page):
        with page.open("rb") as stream:
            ours = _OURS in stream.read(_HEAD)
        if ours:
            page.unlink()
    return ours


def films_of_other_content(
    folder: Path, jobs: Iterable[Job], hashes: Mapping[str, str]
) -> list[Path]:
    """Films that belong to an input of this run, but are of what it held before.

    Args:
        folder: of the films.
        jobs: of the run; their own films are made anew.
        hashes: of the inputs as they are now, by path.
    """
    jobs = list(jobs)
    own = {place_of(job.output) for job in jobs}
    now = {
        owner_of(job.input, job.output): hashes[str(job.input)]
        for job in jobs
        if str(job.input) in hashes
    }
    found = []
    stems = tuple({job.input.stem[:_STEM] for job in jobs})
    for place, entry in entries_in(folder, stems, own):
        before = entry.made_from.get("input")
        if entry.input in now and isinstance(before, str) and before != now[entry.input]:
            film = folder / Path(entry.record.output if entry.record else place.stem).name
            found += [film] if is_file(film) else []
    return sorted(found)
