"""What was made of what: one small file beside the films for each, so that a run can go on.

An entry is written before a film, and again with the film's hash after it. Both are written whole,
so that a run that is killed at any moment leaves either no trace of a film, or the word that it was
its own to write.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deqsci_cli.errors import DeqsciError
from deqsci_cli.io import atomic_write
from deqsci_cli.io.json_file import read_json
from deqsci_cli.io.paths import real, short_name
from deqsci_cli.report.report import Record

FOLDER = ".manifest"

# A record has some 50 bytes for each evaluation.
_MOST_BYTES = 64_000_000
_ANEW = "take the film and this record away, or give --overwrite to make them anew"


@dataclass(frozen=True)
class ManifestEntry:
    """A film's origin, and how it went.

    Attributes:
        run: which run began it.
        input: the capture that it belongs to, as `owner_of` tells it.
        made_from: what decided it, as `origin.origin_of_film` lists it.
        outputs: the hashes of the files written, by name; none before they are.
        record: the report's account of it; None before.
        looks: what decided the previews besides the film, by name.
    """

    run: str
    input: str
    made_from: dict[str, Any]
    outputs: dict[str, str] = field(default_factory=dict)
    record: Record | None = None
    looks: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        record = None if self.record is None else self.record.to_json()
        return dict(vars(self)) | {"record": record}


def read_entry(output: Path) -> ManifestEntry | None:
    """The entry of a film; None where there is none, or one that is damaged."""
    return _read(place_of(output))


def entries_in(
    folder: Path, stems: tuple[str, ...], without: Collection[Path]
) -> Iterator[tuple[Path, ManifestEntry]]:
    """The entries of a folder's films, and where each lies.

    Args:
        folder: of the films.
        stems: how the films' names may begin; others are not opened, of which there may be many.
        without: places of entries that are not asked for.
    """
    for path in sorted((folder / FOLDER).glob("*.json")):
        asked = path not in without and path.name.startswith(stems)
        if asked and (entry := _read(path)) is not None:
            yield path, entry


def _read(path: Path) -> ManifestEntry | None:
    try:
        if os.path.lexists(path):
            return read_json(
                path, ManifestEntry, what="record of this film", again=_ANEW, most=_MOST_BYTES
            )
    except DeqsciError:  # nothing says any more whose film it is
        return None
    return None


def record_of(output: Path, run: str) -> Record | None:
    """The record of a film that this very run has made; None if it has not."""
    entry = read_entry(output)
    return entry.record if entry is not None and entry.run == run else None


def write_entry(output: Path, entry: ManifestEntry) -> None:
    """Put the entry of a film where `read_entry` finds it."""
    with atomic_write(place_of(output), overwrite=True) as temporary:
        temporary.write_text(json.dumps(entry.to_json()) + "\n", encoding="utf-8")


def owner_of(capture: Path, output: Path) -> str:
    """The capture that a film belongs to, seen from the film's folder: both may move together."""
    try:
        return Path(os.path.relpath(real(capture), real(output.parent))).as_posix()
    except ValueError:  # on another drive
        return str(real(capture))


def place_of(output: Path) -> Path:
    """Where the entry of a film lies."""
    return output.parent / FOLDER / short_name(f"{output.name}.json")
