"""What a run of `reconstruct` will do: every header looked into, every output named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deqsci_cli import zoo
from deqsci_cli.engine.batch.cluster import is_elsewhere
from deqsci_cli.engine.batch.config import ReconstructConfig
from deqsci_cli.engine.batch.job import Job
from deqsci_cli.engine.batch.manifest import FOLDER, place_of
from deqsci_cli.engine.batch.origin import origin_of_run
from deqsci_cli.engine.batch.resume import find_left
from deqsci_cli.engine.batch.selection import Selection, choose, parse_selection
from deqsci_cli.engine.batch.sequence import recording_job, recordings_of
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.errors import DeqsciError, OutputExistsError, UsageError
from deqsci_cli.io import (
    CaptureHeader,
    OwnFilmError,
    check_absent,
    need_preview,
    read_header,
)
from deqsci_cli.io.file_version import FileStamp
from deqsci_cli.io.lock import LOCK
from deqsci_cli.io.overlap import check_no_overlap
from deqsci_cli.io.paths import check_name, is_link, real
from deqsci_cli.report.page import need_page
from deqsci_cli.report.pages import PAGE
from deqsci_cli.report.report import REPORT, Failure, Record
from deqsci_cli.runtime.device_names import check_device_name
from deqsci_cli.runtime.isolation import isolated, prepare

if TYPE_CHECKING:
    from deqsci_cli.engine.roi import Roi


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    Attributes:
        jobs: in the order of the inputs.
        done: of these, by their films, what an earlier run has left.
        failures: inputs that cannot be read.
        passed_over: films of our own among the captures of a folder.
        model: to be used, with
        settings: these.
        origin: what decides all films of the run, see `origin.origin_of_run`.
        beside: the stamps of the files that all captures are read with, by what they are for.
        fresh: files to be written that must not be there yet, unless they may be replaced.
        roi: the regions that the model is to make; None for all.
    """

    jobs: tuple[Job, ...]
    done: dict[Path, Record]
    failures: tuple[Failure, ...]
    passed_over: tuple[Path, ...]
    model: zoo.Stored
    settings: EquilibriumSettings
    origin: dict[str, Any]
    beside: dict[str, FileStamp]
    fresh: tuple[Path, ...]
    roi: Roi | None = None

    def check_fresh(self, config: ReconstructConfig) -> None:
        """Refuse to replace what the user has not said may be replaced.

        Raises:
            OutputExistsError: for the first of `fresh` that exists.
        """
        try:
            check_absent(self.fresh, overwrite=config.overwrite)
        except OutputExistsError as error:
            if not config.resume:
                error.hint = (
                    "give --resume to do what is not done yet, --overwrite, or another folder"
                )
            raise


def plan(config: ReconstructConfig, model: zoo.Stored) -> Plan:
    """Look into every header, name every output; nothing is computed.

    PyTorch is imported for a GPU and for regions alone.

    Args:
        config: of the run.
        model: the one that it names.

    Raises:
        ModelError, UsageError: nothing can be done at all.
        OutputExistsError: an output is there already.
        InputError: with `fail_fast`, an input that cannot be read.
    """
    _check_device(config)
    _check_packages(config)
    if config.several:
        prepare()
    settings = EquilibriumSettings.from_card(model.card.equilibrium, **config.equilibrium)
    roi = _roi(config)
    origin = origin_of_run(model, settings, config, roi)
    headers, failures, passed_over = _headers(config)
    if len(passed_over) == len(config.inputs):
        raise UsageError("there is nothing to reconstruct: all inputs are films that deqsci made")
    jobs = _all_jobs(config, headers, passed_over, roi, failures)
    _check_twins(jobs)
    own = [config.out / name for name in (REPORT, *((PAGE,) if config.page else ()))]
    written = [*own, config.out / LOCK, *(place_of(job.output) for job in jobs)]
    written += (file for job in jobs for file in job.files)
    check_no_overlap(written, _read_files(config, model, passed_over))
    if is_link(config.out / FOLDER):
        raise UsageError(
            "the folder of this run's records is a link to another",
            path=config.out / FOLDER,
            hint="take the link away, or give another output folder",
        )
    beside = next((header.beside for header in headers.values()), {})
    done: dict[Path, Record] = {}
    fresh = [*(file for job in jobs for file in job.files), *own]
    if config.resume:
        left = find_left(jobs, origin, {role: stamp.path for role, stamp in beside.items()})
        jobs, done, fresh = left.jobs, left.done, left.foreign
    planned = Plan(
        jobs=tuple(jobs),
        done=done,
        failures=tuple(failures),
        passed_over=tuple(passed_over),
        model=model,
        settings=settings,
        origin=origin,
        beside=beside,
        fresh=tuple(fresh),
        roi=roi,
    )
    planned.check_fresh(config)
    return planned


def _check_device(config: ReconstructConfig) -> None:
    """Refuse a device that is not there; workers elsewhere have their own."""
    check_device_name(config.device)
    if config.device.startswith("cuda") and not is_elsewhere(config.cluster):
        from deqsci_cli.runtime.device import choose_device

        choose_device(config.device)


def _roi(config: ReconstructConfig) -> Roi | None:
    if config.roi is None:
        return None
    from deqsci_cli.engine.roi import read_roi

    return read_roi(config.roi)


def _check_packages(config: ReconstructConfig) -> None:
    """Refuse what could not be written for want of a package, before it is computed."""
    if config.page:
        need_page()
    for kind in config.previews:
        need_preview(kind)


def _headers(
    config: ReconstructConfig,
) -> tuple[dict[Path, CaptureHeader], list[Failure], list[Path]]:
    """The header of every input; what cannot be read, and what is a film of ours."""
    headers: dict[Path, CaptureHeader] = {}
    failures: list[Failure] = []
    passed_over: list[Path] = []
    read, found = partial(read_header, options=config.read_options), set(config.found)
    for path in config.inputs:
        try:
            headers[path] = isolated(read, path) if config.several else read(path)
        except DeqsciError as error:
            if isinstance(error, OwnFilmError) and path in found:
                passed_over.append(path)
                continue
            if config.fail_fast:
                raise
            failures.append(Failure.of(path, error))
    return headers, failures, passed_over


def _all_jobs(
    config: ReconstructConfig,
    headers: Mapping[Path, CaptureHeader],
    passed_over: Iterable[Path],
    roi: Roi | None,
    failures: list[Failure],
) -> list[Job]:
    """The jobs of all inputs; what cannot be one is added to the failures."""
    selection = parse_selection(config.measurements)
    # A file that cannot be read keeps its name, so that the others' do not change once it can.
    captures = dict.fromkeys(config.inputs)
    for path in passed_over:
        del captures[path]
    folders = config.folders if config.sequence else ()
    sources = recordings_of(captures, folders)
    names = _names(list(sources), folders)
    jobs: list[Job] = []
    for source, files in sources.items():
        if not all(path in headers for path in files):
            continue  # the file has failed already, and nothing goes over a gap
        try:
            if config.sequence:
                of_files = {path: headers[path] for path in files}
                jobs.append(recording_job(config, source, of_files, names[source], selection))
            else:
                if roi is not None:
                    roi.check(headers[source].shape[1:])
                jobs += _jobs(config, source, headers[source], names[source], selection)
        except DeqsciError as error:
            if config.fail_fast:
                raise
            failures.append(Failure.of(source, error))
    return jobs


def _jobs(
    config: ReconstructConfig, path: Path, header: CaptureHeader, name: str, selection: Selection
) -> list[Job]:
    """The jobs of one file."""
    digits = len(str(header.count - 1))
    jobs = []
    for index in choose(selection, header.count):
        stem = name if header.count == 1 else f"{name}_{index:0{digits}d}"
        check_name(config.out / f"{stem}.{config.format}")
        jobs.append(
            Job(
                input=path,
                stamp=header.stamp,
                index=index,
                output=config.out / f"{stem}.{config.format}",
                previews=tuple(config.out / f"{stem}.{kind}" for kind in config.previews),
                look=config.look,
                shape=header.shape,
            )
        )
    return jobs


def _read_files(
    config: ReconstructConfig, model: zoo.Stored, passed_over: Sequence[Path]
) -> Iterable[Path]:
    """Every file that the run reads; films that are passed over are not among them."""
    yield from set(config.inputs).difference(passed_over)
    yield from config.lists
    if config.roi is not None:
        from deqsci_cli.engine.roi import file_of

        if file := file_of(config.roi):
            yield file
    yield model.path
    yield from config.read_options.files().values()


def _names(inputs: Sequence[Path], folders: Sequence[Path] = ()) -> dict[Path, str]:
    """A name for each input's films: its stem, with as much of what sets it apart as needed.

    Args:
        inputs: files, and
        folders: those of them that are folders, and have no ending.
    """
    stem = {path: real(path).name if path in folders else path.stem for path in inputs}
    stems = Counter(name.casefold() for name in stem.values())
    files = Counter(path.name.casefold() for path in inputs)
    names = {}
    for path in inputs:
        name = stem[path]
        if stems[name.casefold()] > 1 and path.suffix and path not in folders:
            name += f"-{path.suffix[1:]}"
        if files[path.name.casefold()] > 1:
            name = f"{real(path).parent.name}-{name}"
        names[path] = name
    return names


def _check_twins(jobs: Sequence[Job]) -> None:
    """Refuse two measurements that would become one film, on any file system."""
    seen: dict[str, Job] = {}
    for job in jobs:
        other = seen.setdefault(job.output.name.casefold(), job)
        if other is not job:
            raise UsageError(
                f"{other.input} and {job.input} would both become {job.output.name}",
                hint="give them in separate runs, each with an output folder of its own",
            )
