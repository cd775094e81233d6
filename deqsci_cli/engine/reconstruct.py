"""`reconstruct`: captures in, films and a report out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deqsci_cli import zoo
from deqsci_cli.engine.device import DTYPES, choose_device, describe_device, memory_errors, prepare
from deqsci_cli.engine.events import Iterated, Note, OnEvent, ignore
from deqsci_cli.engine.reading import Reading
from deqsci_cli.engine.selection import choose, parse_selection
from deqsci_cli.equilibrium.model import EquilibriumSettings, solve
from deqsci_cli.equilibrium.solvers import Solution
from deqsci_cli.errors import DeqsciError, UsageError
from deqsci_cli.io import (
    Capture,
    check_absent,
    collect,
    write_film,
    write_preview,
)
from deqsci_cli.physics.sensing import SensingOperator
from deqsci_cli.report.metrics import psnr, ssim
from deqsci_cli.report.report import Failure, Record, Report

REPORT = "report.json"
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
        dtype: `float32`, `float64`, or `bfloat16` (the network alone runs in it).
        seed: of PyTorch's generator, for models that draw numbers.
        format: of the films: `tif`, `mat` or `h5`.
        previews: any of `gif`, `png`, `mp4`.
        overwrite: replace what lies there.
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
    overwrite: bool = False

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
        if self.dtype not in DTYPES:
            raise UsageError(
                f"there is no dtype '{self.dtype}'", hint=f"one of {', '.join(DTYPES)}"
            )


@dataclass(frozen=True)
class Job:
    """One measurement to be done, and the files it will become."""

    input: Path
    index: int
    output: Path
    previews: tuple[Path, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.output, *self.previews)


@dataclass(frozen=True)
class Plan:
    """What a run will do: jobs, and the inputs that cannot be read."""

    jobs: tuple[Job, ...]
    failures: tuple[Failure, ...]
    model: zoo.Model
    settings: EquilibriumSettings


def reconstruct_array(
    measurement: np.ndarray,
    mask: np.ndarray,
    model: zoo.Model,
    settings: EquilibriumSettings | None = None,
    *,
    device: str = "auto",
    dtype: str = "float32",
    on_iteration: Any = None,
) -> Solution:
    """Reconstruct arrays, without files: the engine's core, for notebooks.

    Args:
        measurement: `(H, W)`, or `(B, H, W)` for several under one mask; y = sum_t mask_t x_t
            with x in [0, 1].
        mask: `(T, H, W)`.
        model: from `zoo.load`.
        settings: None for those of the model's card.
        device: `auto`, `cpu`, `cuda` or `cuda:i`.
        dtype: `float32`, `float64` or `bfloat16`.
        on_iteration: told the number of evaluations and the best residuals.

    Returns:
        The solution; `solution.x` is `(B, T, H, W)` on the CPU.
    """
    target = choose_device(device)
    settings = settings or EquilibriumSettings.from_card(model.card.equilibrium)
    network, precision = prepare(model.network, target, dtype)
    y = torch.as_tensor(measurement)
    y = y.unsqueeze(0) if y.ndim == 2 else y
    with memory_errors(target):
        operator = SensingOperator(torch.as_tensor(mask).to(target, precision))
        found = solve(
            network, operator, y.to(target, precision), settings, on_iteration=on_iteration
        )
        return Solution(
            found.x.cpu(), found.residual, found.residuals, found.evaluations, found.status
        )


def plan(config: ReconstructConfig) -> Plan:
    """Load the model, look into every input, name every output; nothing is computed.

    Raises:
        ModelError, UsageError: nothing can be done at all.
        OutputExistsError: an output is there already.
    """
    choose_device(config.device)
    model = zoo.load(config.model)
    settings = EquilibriumSettings.from_card(model.card.equilibrium, **config.equilibrium)
    names = _names(config.inputs)
    selection = parse_selection(config.measurements)
    jobs: list[Job] = []
    failures: list[Failure] = []
    for path, name in zip(config.inputs, names, strict=True):
        try:
            count = config.reading.load(path).count
            chosen = choose(selection, count)
        except DeqsciError as error:
            failures.append(Failure(str(path), str(error), error.hint, error.exit_code))
            continue
        for index in chosen:
            stem = name if count == 1 else f"{name}_{index:0{len(str(count - 1))}d}"
            base = config.out / stem
            previews = tuple(Path(f"{base}.{kind}") for kind in config.previews)
            jobs.append(Job(path, index, Path(f"{base}.{config.format}"), previews))
    files = [file for job in jobs for file in job.files]
    check_absent([*files, config.out / REPORT], overwrite=config.overwrite)
    return Plan(tuple(jobs), tuple(failures), model, settings)


def reconstruct(config: ReconstructConfig, on_event: OnEvent = ignore) -> Report:
    """Reconstruct every chosen measurement of every input; what fails does not stop the rest.

    The report is written anew after each measurement, so that an interrupted run leaves a true
    account of what is done.

    Returns:
        The report, as it lies in `out/report.json`.

    Raises:
        DeqsciError: nothing could be done, or the device or disk gave out.
    """
    torch.manual_seed(config.seed)
    planned = plan(config)
    device = choose_device(config.device)
    settings = planned.settings
    card = planned.model.card
    on_event(Note(f"model {card.name} ({card.architecture}) on {describe_device(device)}"))
    facts = asdict(config) | {"equilibrium": asdict(settings)}
    provenance = collect(
        "reconstruct",
        facts,
        seed=config.seed,
        model={"name": card.name, "sha256": planned.model.sha256},
        inputs=_sources(config, planned.jobs),
        device=describe_device(device),
    )
    report = Report(facts, provenance, failures=list(planned.failures))
    capture: Capture | None = None
    for number, job in enumerate(planned.jobs):
        if capture is None or capture.path != job.input:
            capture = config.reading.load(job.input)
            on_event(Note(f"{job.input.name}: scale {capture.scale_rule}"))
        record = _run_job(job, capture, planned, config, provenance, number, on_event)
        report.measurements.append(record)
        report.write(config.out / REPORT)
    if not planned.jobs:
        report.write(config.out / REPORT)
    return report


def _run_job(
    job: Job,
    capture: Capture,
    planned: Plan,
    config: ReconstructConfig,
    provenance: dict[str, Any],
    number: int,
    on_event: OnEvent,
) -> Record:
    """Solve one measurement, write its film, judge it where there is truth."""
    settings = planned.settings
    total = settings.max_iter + sum(n for _, n in settings.warmup)

    def listen(count: int, residual: torch.Tensor) -> None:
        on_event(Iterated(number, len(planned.jobs), count, total, float(residual[0])))

    began = time.perf_counter()
    solution = reconstruct_array(
        capture.measurements[job.index],
        capture.mask,
        planned.model,
        settings,
        device=config.device,
        dtype=config.dtype,
        on_iteration=listen,
    )
    video = solution.x[0].float().numpy()
    seconds = time.perf_counter() - began
    stamp = provenance | {"input": str(job.input), "measurement": job.index}
    write_film(job.output, video, scale=capture.scale, provenance=stamp, overwrite=config.overwrite)
    for preview in job.previews:
        write_preview(preview, video, provenance=stamp, overwrite=config.overwrite)
    scores = judge(video, capture.truth_of(job.index))
    return Record(
        input=str(job.input),
        index=job.index,
        output=str(job.output),
        previews=tuple(map(str, job.previews)),
        model=planned.model.card.name,
        status=solution.status[0],
        evaluations=solution.evaluations[0],
        residual=solution.residual[0],
        residuals=tuple(solution.residuals[0]),
        seconds=seconds,
        scale=capture.scale,
        scale_rule=capture.scale_rule,
        **scores,
    )


def judge(video: np.ndarray, truth: np.ndarray | None) -> dict[str, Any]:
    """PSNR and SSIM of the frames that have truth, by a record's names; empty without truth.

    Args:
        video: `(T, H, W)`; clipped to [0, 1], as any display does.
        truth: `(k, H, W)`, k <= T.
    """
    if truth is None:
        return {}
    seen = np.clip(video[: len(truth)], 0, 1)
    peaks, likeness = psnr(seen, truth), ssim(seen, truth)
    return {
        "psnr": float(np.mean(peaks)),
        "ssim": None if likeness is None else float(np.mean(likeness)),
        "frame_psnr": tuple(peaks),
        "frame_ssim": None if likeness is None else tuple(likeness),
    }


def _sources(config: ReconstructConfig, jobs: Sequence[Job]) -> list[Path]:
    mask = () if config.reading.mask is None else (config.reading.mask,)
    return list(dict.fromkeys([*(job.input for job in jobs), *mask]))


def _names(inputs: Sequence[Path]) -> list[str]:
    """A name for each input's films: its stem, with as much of what sets it apart as needed."""
    stems = [path.stem for path in inputs]
    names = []
    for path, stem in zip(inputs, stems, strict=True):
        name = stem
        if stems.count(stem) > 1:
            name = f"{stem}-{path.suffix[1:]}" if path.suffix else stem
            twins = [p for p in inputs if p.stem == stem and p.suffix == path.suffix]
            if len(twins) > 1:
                name = f"{path.resolve().parent.name}-{name}"
        names.append(name)
    if len(set(names)) < len(names):
        twin = next(n for n in names if names.count(n) > 1)
        raise UsageError(
            f"several inputs would become the film '{twin}'", hint="give them in separate runs"
        )
    return names
