"""Pages of what lies in a folder: a run's report with its films, or a film alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

import numpy as np

from deqsci_cli.config import build
from deqsci_cli.errors import DeqsciError, InputError, UsageError
from deqsci_cli.io import Capture, atomic_write, check_no_capture, load_capture, read_film
from deqsci_cli.io.json_file import require_regular
from deqsci_cli.io.overlap import check_no_overlap
from deqsci_cli.io.paths import exists, is_dir
from deqsci_cli.io.provenance import plain
from deqsci_cli.io.read_errors import enough_memory
from deqsci_cli.io.read_options import ReadOptions
from deqsci_cli.report.page import FilmView, Page, Pictures, Scene, need_page, render
from deqsci_cli.report.recordings import pictures_of
from deqsci_cli.report.report import REPORT, Record, Report

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


def view(file: Path, out: Path | None = None, *, overwrite: bool = False) -> Path:
    """Write the page of what is there already.

    Args:
        file: a film, a `report.json`, or the folder that has one.
        out: the page; None to put it beside the file under its name.
        overwrite: replace what lies there. A page of our own is replaced in any case.

    Returns:
        Where the page is.

    Raises:
        UsageError: a package is missing, or the page would replace what it shows.
        InputError: it can be read neither as a film nor as a report.
        OutputExistsError, StorageError: see `atomic_write`.
    """
    need_page()
    if is_dir(file):
        file = file / REPORT
        if not exists(file):
            hint = "name a film, or the folder that `deqsci reconstruct` wrote"
            raise InputError("no run has left its report here", path=file.parent, hint=hint)
    target = out or file.with_suffix(".html")
    page, read = _of_report(file) if file.suffix == ".json" else _alone(file)
    check_no_overlap([target], [file, *read])
    write_page(page, target, overwrite=overwrite or _is_page(target))
    return target


def _of_report(path: Path) -> tuple[Page, list[Path]]:
    """The page of a run by its report, and the files that it shows.

    Raises:
        InputError: it is damaged.
    """
    report = Report.read(path)
    try:
        return page_of_run(report, path.parent), _files_of(report, path.parent)
    except UsageError as error:
        reason = f"this report cannot be shown: {error}"
        raise InputError(reason, path=path, hint="name one of its films") from error


def page_of_run(report: Report, folder: Path, *, read_capture: ReadCapture = load_capture) -> Page:
    """The page of a run whose films lie in `folder`.

    Args:
        report: of the run.
        folder: where its films lie.
        read_capture: reads a capture, by the options of the run and its path.

    Raises:
        UsageError: the report lacks what a page needs.
    """
    origin = build(_Provenance, plain(report.provenance), part=True)
    config = build(_Config, plain(report.config), part=True)
    measured = sum(max(1, len(r.recording)) for r in report.measurements)
    counts = [
        (measured, "measurement" if measured == 1 else "measurements"),
        (sum(r.status == "converged" for r in report.measurements), "converged"),
        (sum(r.status == "diverged" for r in report.measurements), "diverged"),
        (report.skipped, "from an earlier run"),
        (len(report.failures), "failed"),
    ]
    summary = ", ".join(f"{n} {what}" for n, what in counts if n or what.startswith("meas"))
    models = sorted({r.model for r in report.measurements})
    return Page(
        title=f"Reconstructions by {', '.join(models)}" if models else "Reconstructions",
        summary=f"{summary}; {report.seconds:.1f} s on {origin.device}, {origin.created}",
        scenes=_scenes(report.measurements, config, origin, folder, read_capture),
        facts={"config": report.config, "provenance": report.provenance},
        failures=report.failures,
    )


def _files_of(report: Report, folder: Path) -> list[Path]:
    """The films and captures that a page of this report shows."""
    files = [folder / Path(record.output).name for record in report.measurements]
    for record in report.measurements:
        files += [Path(record.input), *(Path(source.path) for source in record.sources)]
    return files


def _alone(file: Path) -> tuple[Page, list[Path]]:
    """The page of a film, and the files that it shows besides.

    It has figures and the capture, if the report beside the film tells of them.
    """
    beside = file.parent / REPORT
    missing: tuple[str, ...] = ()
    if exists(beside):
        try:
            report = Report.read(beside)
            records = [r for r in report.measurements if Path(r.output).name == file.name]
            seconds = sum(record.seconds for record in records)
            found = replace(report, measurements=records, failures=[], skipped=0, seconds=seconds)
            if records:
                page = replace(page_of_run(found, file.parent), title=file.name)
                return page, _files_of(found, file.parent)
        except DeqsciError as error:
            missing = (f"Its figures are not shown: {error}",)
    check_no_capture(file)
    film = read_film(file)
    pictures = Pictures(None, None, (film.frames,), missing)
    count, height, width = film.frames.shape
    page = Page(
        title=file.name,
        summary=f"{count} frames of {width}×{height} pixels",
        scenes=[Scene(file.stem, (FilmView("film", None, _link(file)),), lambda: pictures)],
        facts=film.provenance or {},
    )
    return page, []


def _scenes(
    records: Iterable[Record],
    config: _Config,
    origin: _Provenance,
    folder: Path,
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

        film = FilmView(record.model, record, _link(file))
        return Scene(file.stem, (film,), pictures, config.equilibrium.tol)

    return [scene(record) for record in records]


def _of_film(capture: Capture, record: Record, video: np.ndarray) -> Capture | str:
    """A capture, or why it cannot be that of a film."""
    if record.index < capture.count and video.shape == (capture.frames, *capture.shape):
        return capture
    return "Its measurement is not shown: the film is not of this capture."


def _link(film: Path) -> str:
    """A page's address of a film in the same folder."""
    return "./" + quote(os.fsencode(film.name))


def _is_page(path: Path) -> bool:
    try:
        require_regular(path)
        with path.open("rb") as stream:
            return b'name="generator" content="deqsci"' in stream.read(2000)
    except (OSError, InputError):
        return False
