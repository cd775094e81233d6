"""What a run of `reconstruct` will do: every input looked into, every output named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from deqsci_cli import zoo
from deqsci_cli.config import check_seed
from deqsci_cli.engine.batch.manifest import FOLDER, Entry, read_entry
from deqsci_cli.engine.batch.selection import choose, parse_selection
from deqsci_cli.engine.device import check_dtype, choose_device
from deqsci_cli.engine.isolation import isolated, prepare
from deqsci_cli.engine.pages import PAGE
from deqsci_cli.engine.reading import Reading
from deqsci_cli.equilibrium.model import EquilibriumSettings
from deqsci_cli.errors import DeqsciError, OutputExistsError, UsageError
from deqsci_cli.io import check_absent, identify
from deqsci_cli.io.provenance import plain
from deqsci_cli.report.page import need_page
from deqsci_cli.report.report import REPORT, Failure, Record

FORMATS = ("tif", "mat", "h5")
PREVIEWS = ("gif", "png", "mp4")


@dataclass(frozen=True)
class ReconstructConfig:
    """Everything that decides a reconstruction.

    Attributes:
        inputs: capture files.
        out: folder of films and report.
        model: a released model, an alias, or a model's folder.
        reading: how the inputs are to be understood.
        measurements: which of each file, as `selection.parse_selection` reads it.
        equilibrium: fields of `EquilibriumSettings` to have other than the model's card says.
        device: `auto`, `cpu`, `cuda` or `cuda:i`.
        dtype: `float32`, `tf32` (convolutions on an NVIDIA GPU), `float64`, or `bfloat16` (the
            network alone runs in it; residuals stay above some 1e-3).
        seed: of PyTorch's generator, for models that draw numbers.
        format: of the films: `tif`, `mat` or `h5`.
        previews: any of `gif`, `png`, `mp4`.
        page: write `report.html` as well.
        overwrite: replace what lies there.
        resume: leave what an earlier run has made of the same inputs, model and settings.
        fail_fast: stop at the first input that comes to nothing.
        batch_size: measurements solved together; None for what suits the device.
        cluster: None for this process, `local:N` for N processes, or a Dask scheduler's address.
    """

    inputs: tuple[Path, ...]
    out: Path
    model: str = "pnp"
    reading: Reading = field(default_factory=Reading)
    measurements: str = ":"
    equilibrium: dict[str, Any] = field(default_factory=dict)
    device: str = "auto"
    dtype: str = "float32"
    seed: int = 0
    format: str = "tif"
    previews: tuple[str, ...] = ("gif",)
    page: bool = False
    overwrite: bool = False
    resume: bool = False
    fail_fast: bool = False
    batch_size: int | None = None
    cluster: str | None = None

    def __post_init__(self) -> None:
        if not self.inputs:
            raise UsageError("there is nothing to reconstruct", hint="name a capture file")
        if self.format not in FORMATS:
            raise UsageError(
                f"films are not written as '{self.format}'", hint=f"one of {', '.join(FORMATS)}"
            )
        if unknown := sorted(set(self.previews) - set(PREVIEWS)):
            raise UsageError(
                f"there is no preview '{unknown[0]}'", hint=f"one of {', '.join(PREVIEWS)}, none"
            )
        check_dtype(self.dtype)
        check_seed(self.seed)
        if self.resume and self.overwrite:
            raise UsageError("--resume keeps what is done, --overwrite replaces it", hint="choose")
        if self.batch_size is not None and self.batch_size < 1:
            raise UsageError("a batch holds at least 1 measurement")

    @property
    def several(self) -> bool:
        """Whether there are other inputs that one at which a reader crashes would take along."""
        return len(self.inputs) > 1


@dataclass(frozen=True)
class Job:
    """One measurement to be done, and the files it will become.

    Attributes:
        input: the capture's file.
        index: which of its measurements.
        output: the film.
        previews: pictures of it.
        camera: the hash of its mask.
        shape: `(T, H, W)`.
        made_from: what decides the film: hashes of input, mask and model, and the settings.
    """

    input: Path
    index: int
    output: Path
    previews: tuple[Path, ...]
    camera: str
    shape: tuple[int, int, int]
    made_from: dict[str, Any]

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.output, *self.previews)


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    Attributes:
        jobs: in the order of the inputs.
        done: of these, by their films, what an earlier run has left.
        failures: inputs that cannot be read.
        scales: how each input's scale was found.
        replaced: what was replaced in an input because it was no number.
        model: to be used, with
        settings: these.
        sources: every file read, as `identify` gives it.
        fresh: files to be written that must not be there yet, unless they may be replaced.
    """

    jobs: tuple[Job, ...]
    done: dict[Path, Record]
    failures: tuple[Failure, ...]
    scales: dict[Path, str]
    replaced: dict[Path, tuple[str, ...]]
    model: zoo.Model
    settings: EquilibriumSettings
    sources: dict[Path, dict[str, Any]]
    fresh: tuple[Path, ...]

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


def plan(config: ReconstructConfig) -> Plan:
    """Load the model, look into every input, name every output; nothing is computed.

    Raises:
        ModelError, UsageError: nothing can be done at all.
        OutputExistsError: an output is there already.
        InputError: with `fail_fast`, an input that cannot be read.
    """
    choose_device(config.device)
    if config.page:
        need_page()
    if config.several:
        prepare()
    model = zoo.load(config.model)
    settings = EquilibriumSettings.from_card(model.card.equilibrium, **config.equilibrium)
    names = _names(config.inputs)
    selection = parse_selection(config.measurements)
    common = {"model": model.sha256, "config": _deciding(config, settings)}
    jobs: list[Job] = []
    failures: list[Failure] = []
    scales: dict[Path, str] = {}
    replaced: dict[Path, tuple[str, ...]] = {}
    sources: dict[Path, dict[str, Any]] = {}
    for path, name in zip(config.inputs, names, strict=True):
        try:
            look = config.reading.look
            seen = isolated(look, path) if config.several else look(path)
            chosen = choose(selection, seen.count)
            sources |= {s: identify(s) for s in seen.sources if s not in sources}
        except DeqsciError as error:
            if config.fail_fast:
                raise
            failures.append(Failure(str(path), str(error), error.hint, error.exit_code))
            continue
        scales[path] = seen.scale_rule
        replaced[path] = seen.replaced
        for index in chosen:
            digits = len(str(seen.count - 1))
            stem = name if seen.count == 1 else f"{name}_{index:0{digits}d}"
            jobs.append(
                Job(
                    input=path,
                    index=index,
                    output=config.out / f"{stem}.{config.format}",
                    previews=tuple(config.out / f"{stem}.{kind}" for kind in config.previews),
                    camera=seen.camera,
                    shape=seen.shape,
                    made_from={
                        "input": sources[seen.path]["sha256"],
                        "mask": seen.camera,
                        "measurement": index,
                        **common,
                    },
                )
            )
    _check_twins(jobs)
    if (config.out / FOLDER).is_symlink():
        raise UsageError(
            "the folder of this run's records is a link to another",
            path=config.out / FOLDER,
            hint="take the link away, or give another output folder",
        )
    entries = [read_entry(job.output) for job in jobs] if config.resume else [None] * len(jobs)
    done = {
        job.output: entry.record
        for job, entry in zip(jobs, entries, strict=True)
        if entry is not None and entry.record is not None and _is_done(job, entry)
    }
    foreign = [
        file
        for job, entry in zip(jobs, entries, strict=True)
        if entry is None
        for file in job.files
    ]
    own = (REPORT, *((PAGE,) if config.page else ()))
    report = [] if config.resume else [config.out / name for name in own]
    fresh = (*foreign, *report)
    planned = Plan(
        tuple(jobs), done, tuple(failures), scales, replaced, model, settings, sources, fresh
    )
    planned.check_fresh(config)
    return planned


def _deciding(config: ReconstructConfig, settings: EquilibriumSettings) -> dict[str, Any]:
    """The settings that a film depends on."""
    reading = {k: v for k, v in asdict(config.reading).items() if k != "mask"}
    table = {
        "equilibrium": asdict(settings),
        "reading": reading,
        "dtype": config.dtype,
        "seed": config.seed,
        "format": config.format,
        "previews": config.previews,
    }
    return dict(plain(table))


def _is_done(job: Job, entry: Entry) -> bool:
    """Whether what lies there is what would be made again."""
    if entry.made_from != job.made_from or not all(file.is_file() for file in job.files):
        return False
    return entry.outputs == {file.name: identify(file)["sha256"] for file in job.files}


def _names(inputs: Sequence[Path]) -> list[str]:
    """A name for each input's films: its stem, with as much of what sets it apart as needed."""
    stems, files = Counter(p.stem for p in inputs), Counter(p.name for p in inputs)
    names = []
    for path in inputs:
        name = path.stem
        if stems[path.stem] > 1 and path.suffix:
            name += f"-{path.suffix[1:]}"
        if files[path.name] > 1:
            name = f"{path.resolve().parent.name}-{name}"
        names.append(name)
    return names


def _check_twins(jobs: Sequence[Job]) -> None:
    """Refuse two measurements that would become one film."""
    seen: dict[Path, Job] = {}
    for job in jobs:
        other = seen.setdefault(job.output, job)
        if other is not job:
            raise UsageError(
                f"{other.input} and {job.input} would both become {job.output.name}",
                hint="give them in separate runs",
            )
