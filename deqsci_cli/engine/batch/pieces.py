"""Pieces of a recording's film, kept as they become final, so that a run can go on after a kill.

Each is two files in a folder of the run's records: its frames, and after them what tells of them,
their hash among it. A piece that was not written to its end, or was made from something else, is
none. All go once the film is there.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deqsci_cli.engine.batch.manifest import place_of
from deqsci_cli.errors import DeqsciError, UsageError
from deqsci_cli.io import atomic_write, remove_leftovers
from deqsci_cli.io.file_version import changed
from deqsci_cli.io.json_file import read_json, read_regular
from deqsci_cli.io.paths import is_dir, is_link
from deqsci_cli.io.provenance import plain
from deqsci_cli.report.report import Measured

_MOST_BYTES = 64_000_000
# As they lie in a file, on any machine.
_STORED = np.dtype("<f4")


@dataclass(frozen=True)
class Piece:
    """A window's part of a film, and how it went.

    Attributes:
        made_from: what decides the film, as `origin.origin_of_film` lists it.
        start: the first measurement of the recording whose frames it has.
        shape: `(k, H, W)` of these frames.
        sha256: of their bytes.
        seconds: that the window took.
        residual_trace, psnr_trace: of the window, see `report.Record`.
        replaced, notes: of the captures, as `report.Record` has them.
        measurements: the figures of each measurement.
        frame_psnr, frame_ssim: of each frame, None for one without truth.
    """

    made_from: dict[str, Any]
    start: int
    shape: tuple[int, int, int]
    sha256: str
    seconds: float
    residual_trace: tuple[float | None, ...]
    psnr_trace: tuple[float | None, ...] | None
    replaced: tuple[str, ...]
    notes: tuple[str, ...]
    measurements: tuple[Measured, ...]
    frame_psnr: tuple[float | None, ...]
    frame_ssim: tuple[float | None, ...]


def folder_of(output: Path) -> Path:
    """Where the pieces of a film lie.

    Raises:
        UsageError: a link lies there.
    """
    folder = place_of(output).with_suffix(".pieces")
    if is_link(folder):
        raise UsageError(
            "the folder of a film's pieces is a link", path=folder, hint="take it away"
        )
    return folder


def sha256_of(frames: np.ndarray) -> str:
    """The hash of frames as a piece stores them."""
    return hashlib.sha256(np.ascontiguousarray(frames, _STORED).data).hexdigest()


def write_piece(output: Path, piece: Piece, frames: np.ndarray) -> None:
    """Keep a piece of a film.

    Raises:
        StorageError: it cannot be written.
    """
    place = _place(output, piece.start)
    for suffix in (".frames", ".json"):
        remove_leftovers(place.with_suffix(suffix))
    with atomic_write(place.with_suffix(".frames"), overwrite=True) as temporary:
        temporary.write_bytes(np.ascontiguousarray(frames, _STORED).data)
    text = json.dumps(plain(asdict(piece)))
    with atomic_write(place.with_suffix(".json"), overwrite=True) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_piece(output: Path, start: int, made_from: dict[str, Any]) -> Piece | None:
    """A piece that an earlier run has left; None where there is none that is whole and fits.

    Args:
        output: the film.
        start: the first measurement of the piece.
        made_from: what it must be made from.
    """
    path = _place(output, start).with_suffix(".json")
    try:
        piece = read_json(path, Piece, what="piece", again="", most=_MOST_BYTES)
        if piece.made_from != made_from or piece.start != start:
            return None
        frames_of(output, piece)
    except DeqsciError:
        return None
    return piece


def frames_of(output: Path, piece: Piece) -> np.ndarray:
    """The frames `(k, H, W)` of a piece.

    Raises:
        InputError: they are no longer as they were written.
    """
    path = _place(output, piece.start).with_suffix(".frames")
    size = math.prod(piece.shape) * _STORED.itemsize
    data = read_regular(path, most=size)
    if len(data) != size or hashlib.sha256(data).hexdigest() != piece.sha256:
        raise changed(path)
    frames = np.frombuffer(data, _STORED).reshape(piece.shape)
    return frames.astype(np.float32, copy=False)


def remove_pieces(output: Path) -> None:
    """Take all pieces of a film away, and what a killed process has left of them."""
    folder = folder_of(output)
    if not is_dir(folder):
        return
    with suppress(OSError):
        for path in _own(folder.iterdir()):
            path.unlink()
        folder.rmdir()


def _own(paths: Iterable[Path]) -> list[Path]:
    return [path for path in paths if path.suffix in (".frames", ".json")]


def _place(output: Path, start: int) -> Path:
    return folder_of(output) / f"{start:06d}"
