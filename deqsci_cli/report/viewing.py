"""`view`: a page of what lies there, a run's report with its films, or films alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from deqsci_cli.errors import DeqsciError, InputError, UsageError
from deqsci_cli.io import check_no_capture, read_film
from deqsci_cli.io.json_file import require_regular
from deqsci_cli.io.overlap import check_no_overlap
from deqsci_cli.io.paths import exists, is_dir
from deqsci_cli.report.comparison import compared
from deqsci_cli.report.page import FilmView, Page, Pictures, Scene, need_page
from deqsci_cli.report.pages import link_of, page_of_run, write_page
from deqsci_cli.report.report import REPORT, Report

#: the page of several runs, beside the first one's report
COMPARED = "compare.html"


def view(files: Sequence[Path], out: Path | None = None, *, overwrite: bool = False) -> Path:
    """Write the page of what is there already; of several films of one measurement, compare them.

    Args:
        files: each a film, a `report.json`, or the folder that has one.
        out: the page; None to put it beside the (first) file, of one file under its name.
        overwrite: replace what lies there. A page of our own is replaced in any case.

    Returns:
        Where the page is.

    Raises:
        UsageError: a package is missing, the page would replace what it shows, or what is to be
            compared is of different sizes or has nothing in common.
        InputError: one can be read neither as a film nor as a report.
        OutputExistsError, StorageError: see `atomic_write`.
    """
    need_page()
    found = [_report_in(file) if is_dir(file) else file for file in files]
    first = found[0]
    target = out or (first.with_suffix(".html") if len(found) == 1 else first.parent / COMPARED)
    shown = [
        _of_report(file, target.parent) if file.suffix == ".json" else _alone(file, target.parent)
        for file in found
    ]
    pages = [page for page, _ in shown]
    films = all(file.suffix != ".json" for file in found)
    page = pages[0] if len(pages) == 1 else compared(pages, files, of_one=films)
    check_no_overlap([target], [*found, *(file for _, read in shown for file in read)])
    write_page(page, target, overwrite=overwrite or _is_page(target))
    return target


def _report_in(folder: Path) -> Path:
    """The report of a run.

    Raises:
        InputError: there is none.
    """
    report = folder / REPORT
    if not exists(report):
        hint = "name a film, or the folder that `deqsci reconstruct` wrote"
        raise InputError("no run has left its report here", path=folder, hint=hint)
    return report


def _of_report(path: Path, base: Path) -> tuple[Page, list[Path]]:
    """The page of a run by its report, and the files that it shows.

    Args:
        path: the report.
        base: the folder of the page.

    Raises:
        InputError: it is damaged.
    """
    report = Report.read(path)
    try:
        return page_of_run(report, path.parent, base=base), _files_of(report, path.parent)
    except UsageError as error:
        reason = f"this report cannot be shown: {error}"
        raise InputError(reason, path=path, hint="name one of its films") from error


def _files_of(report: Report, folder: Path) -> list[Path]:
    """The films and captures that a page of this report shows."""
    files = [folder / Path(record.output).name for record in report.measurements]
    for record in report.measurements:
        files += [Path(record.input), *(Path(source.path) for source in record.sources)]
    return files


def _alone(file: Path, base: Path) -> tuple[Page, list[Path]]:
    """The page of a film, and the files that it shows besides.

    It has figures and the capture, if the report beside the film tells of them. `base` is the
    folder of the page.
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
                page = replace(page_of_run(found, file.parent, base=base), title=file.name)
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
        scenes=[Scene(file.stem, (FilmView("film", None, link_of(file, base)),), lambda: pictures)],
        facts=film.provenance or {},
    )
    return page, []


def _is_page(path: Path) -> bool:
    try:
        require_regular(path)
        with path.open("rb") as stream:
            return b'name="generator" content="deqsci"' in stream.read(2000)
    except (OSError, InputError):
        return False
