"""Pages of runs: which films, captures and figures a report tells of."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

import numpy as np

from deqsci_cli.config import build
from deqsci_cli.errors import DeqsciError, UsageError
from deqsci_cli.io import Capture, atomic_write, load_capture, read_film
from deqsci_cli.io.paths import real
from deqsci_cli.io.provenance import plain
from deqsci_cli.io.read_errors import enough_memory
from deqsci_cli.io.read_options import ReadOptions
from deqsci_cli.report.page import FilmView, Page, Pictures, Scene, render
from deqsci_cli.report.recordings import pictures_of
from deqsci_cli.report.report import Record, Report

#: the page of a run, beside its report
PAGE = "report.html"

ReadCapture = Callable[[Path, ReadOptions], Capture]


@dataclass(frozen=True)
class _Settings:
    """What a page tells of a run's solver: the tolerance that was asked for."""

    tol: float

    def __post_init__(self) -> None:
        if not self.tol > 0:
            raise UsageError("the tolerance must be above 0")


@dataclass(frozen=True)
class _Config:
    """What a page needs of a run's config: how its captures are read."""

    equilibrium: _Settings
    read_options: ReadOptions


@dataclass(frozen=True)
class _Source:
    """A file that a run has read."""

    path: str
    sha256: str


@dataclass(frozen=True)
class _Provenance:
    """What a page needs of a run's provenance."""

    created: str
    inputs: tuple[_Source, ...]
    device: str = ""


def write_page(page: Page, path: Path, *, overwrite: bool) -> None:
    """Write a page.

    Raises:
        OutputExistsError, StorageError: see `atomic_write`.
        InputError: a film cannot be read any more.
        DeviceError: the memory is too small.
    """
    with enough_memory("write", path):
        text = render(page)
        with atomic_write(path, overwrite=overwrite) as temporary:
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def page_of_run(
    report: Report,
    folder: Path,
    *,
    base: Path | None = None,
    read_capture: ReadCapture = load_capture,
) -> Page:
    """The page of a run whose films lie in `folder`.

    Args:
        report: of the run.
        folder: where its films lie.
        base: the folder of the page; None for that of the films.
        read_capture: reads a capture, by the options of the run and its path.

    Raises:
        UsageError: the report lacks what a page needs.
    """
    origin = build(_Provenance, plain(report.provenance), part=True)
    config = build(_Config, plain(report.config), part=True)
    measured = sum(max(1, len(r.recording)) for r in report.measurements)
    counts = [
        (report.skipped, "from an earlier run"),
        (len(report.failures), "failed"),
    ]
    made = [f"{measured} measurement{'' if measured == 1 else 's'}"]
    if measured != (films := len(report.measurements)):
        made[0] += f" in {films} film{'' if films == 1 else 's'}"
    summary = ", ".join(made + [f"{n} {what}" for n, what in counts if n])
    models = sorted({r.model for r in report.measurements})
    return Page(
        title=f"Reconstructions by {', '.join(models)}" if models else "Reconstructions",
        summary=f"{summary}; {report.seconds:.1f} s on {origin.device}, {origin.created}",
        scenes=_scenes(report.measurements, config, origin, folder, base or folder, read_capture),
        facts={"config": report.config, "provenance": report.provenance},
        failures=report.failures,
    )


def _scenes(
    records: Iterable[Record],
    config: _Config,
    origin: _Provenance,
    folder: Path,
    base: Path,
    read_capture: ReadCapture,
) -> list[Scene]:
    hashes = {source.path: source.sha256 for source in origin.inputs}

    @lru_cache(maxsize=1)
    def capture_of(path: str) -> Capture | str:
        """The capture, or why it cannot be shown."""
        try:
            capture = read_capture(Path(path), config.read_options)
            same = all(v.sha256 == hashes.get(str(v.stamp.path)) for v in capture.versions)
        except DeqsciError as error:
            return f"Its measurement is not shown: {error}"
        return capture if same else "Its measurement is not shown: the capture has changed since."

    def scene(record: Record) -> Scene:
        file = folder / Path(record.output).name

        def pictures() -> Pictures:
            video = read_film(file).frames
            if record.recording:
                return pictures_of(record, video, capture_of)
            capture = capture_of(record.input)
            if isinstance(capture, Capture):
                capture = _of_film(capture, record, video)
            if isinstance(capture, str):
                return Pictures(None, None, (video,), (capture,))
            measurement = capture.measurement_picture(record.index)
            return Pictures(measurement, capture.truth_of(record.index), (video,))

        film = FilmView(record.model, record, link_of(file, base))
        return Scene(file.stem, (film,), pictures, config.equilibrium.tol, _key_of(record))

    return [scene(record) for record in records]


def _of_film(capture: Capture, record: Record, video: np.ndarray) -> Capture | str:
    """A capture, or why it cannot be that of a film."""
    if record.index < capture.count and video.shape == (capture.frames, *capture.shape):
        return capture
    return "Its measurement is not shown: the film is not of this capture."


def _key_of(record: Record) -> Hashable:
    """Which measurements a film is of, by the content of their files and not their places."""
    hashes = {source.path: source.sha256 for source in record.sources}
    measured = [(m.input, m.index) for m in record.recording] or [(record.input, record.index)]
    return tuple((hashes.get(path, path), index) for path, index in measured)


def link_of(film: Path, base: Path) -> str:
    """The address of a film for a page in the folder `base`."""
    try:
        way = Path(os.path.relpath(real(film), real(base)))
    except ValueError:  # on another drive
        return film.absolute().as_uri()
    return "./" + quote(os.fsencode(way.as_posix()))
