"""Pages of what lies in a folder: a run's report with its films, or a film alone."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from deqsci_cli.engine.reading import Reading
from deqsci_cli.errors import DeqsciError, InputError
from deqsci_cli.io import Capture, atomic_write, check_no_capture, identify, read_film
from deqsci_cli.io.boundary import enough_memory
from deqsci_cli.io.paths import is_dir
from deqsci_cli.report.page import Film, Page, Pictures, Scene, need_page, render
from deqsci_cli.report.report import REPORT, Record, Report

#: the page of a run, beside its report
PAGE = "report.html"


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
        UsageError: a package is missing.
        InputError: it can be read neither as a film nor as a report.
        OutputExistsError, StorageError: see `atomic_write`.
    """
    need_page()
    if is_dir(file):
        file = file / REPORT
    target = out or file.with_suffix(".html")
    try:
        if file.suffix == ".json":
            page = page_of_run(Report.read(file), file.parent)
        else:
            page = _alone(file)
    except (KeyError, TypeError) as error:  # a report by somebody else
        raise InputError(f"the report beside it lacks {error}", path=file) from error
    write_page(page, target, overwrite=overwrite or _is_page(target))
    return target


def page_of_run(report: Report, folder: Path) -> Page:
    """The page of a run whose films lie in `folder`."""
    device = report.provenance.get("device", "")
    counts = [
        (len(report.measurements), "measurements"),
        (sum(r.status == "converged" for r in report.measurements), "converged"),
        (sum(r.status == "diverged" for r in report.measurements), "diverged"),
        (report.skipped, "from an earlier run"),
        (len(report.failures), "failed"),
    ]
    summary = ", ".join(f"{n} {what}" for n, what in counts if n or what == "measurements")
    models = sorted({r.model for r in report.measurements})
    return Page(
        title=f"Reconstructions by {', '.join(models)}" if models else "Reconstructions",
        summary=f"{summary}; {report.seconds:.1f} s on {device}, {report.provenance['created']}",
        scenes=_scenes(report, report.measurements, folder),
        facts={"config": report.config, "provenance": report.provenance},
        failures=report.failures,
    )


def _alone(file: Path) -> Page:
    """The page of a film: with its figures and its capture, if the report beside it tells them."""
    try:
        report = Report.read(file.parent / REPORT)
        records = [r for r in report.measurements if Path(r.output).name == file.name]
    except DeqsciError:
        records = []
    if records:
        seconds = sum(record.seconds for record in records)
        found = replace(report, measurements=records, failures=[], skipped=0, seconds=seconds)
        return replace(page_of_run(found, file.parent), title=file.name)
    check_no_capture(file)
    film = read_film(file)
    pictures = Pictures(None, None, (film.frames,))
    count, height, width = film.frames.shape
    return Page(
        title=file.name,
        summary=f"{count} frames of {width}×{height} pixels",
        scenes=[Scene(file.stem, (Film("film", None, _link(file)),), lambda: pictures)],
        facts=film.provenance or {},
    )


def _scenes(report: Report, records: Iterable[Record], folder: Path) -> list[Scene]:
    reading: dict[str, Any] = dict(report.config["reading"])
    reading["mask"] = reading["mask"] and Path(reading["mask"])
    hashes = {source["path"]: source["sha256"] for source in report.provenance["inputs"]}
    source = Reading(**reading)

    @lru_cache(maxsize=1)
    def capture_of(path: str) -> Capture | str:
        """The capture, or why it cannot be shown."""
        try:
            capture = source.load(Path(path))
            same = all(identify(s)["sha256"] == hashes.get(str(s)) for s in capture.sources)
        except DeqsciError as error:
            return f"Its measurement is not shown: {error}"
        return capture if same else "Its measurement is not shown: the capture has changed since."

    def scene(record: Record) -> Scene:
        file = folder / Path(record.output).name

        def pictures() -> Pictures:
            video, capture = read_film(file).frames, capture_of(record.input)
            if isinstance(capture, str):
                return Pictures(None, None, (video,), (capture,))
            measurement = capture.measurements[record.index]
            return Pictures(measurement, capture.truth_of(record.index), (video,))

        film = Film(record.model, record, _link(file))
        return Scene(file.stem, (film,), pictures, report.config["equilibrium"]["tol"])

    return [scene(record) for record in records]


def _link(film: Path) -> str:
    """A page's address of a film in the same folder."""
    return "./" + quote(os.fsencode(film.name))


def _is_page(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return b'name="generator" content="deqsci"' in stream.read(2000)
    except OSError:
        return False
