"""`evaluate --benchmark`: every capture with truth by every model, and what disturbs them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from deqsci_cli import zoo
from deqsci_cli.config import check_seed
from deqsci_cli.engine.batch.selection import choose, parse_selection
from deqsci_cli.engine.sweep import Given, Sweep
from deqsci_cli.equilibrium.model import EquilibriumSettings
from deqsci_cli.errors import DeqsciError, InputError
from deqsci_cli.io import (
    Capture,
    atomic_write,
    check_absent,
    fingerprint,
    load_capture,
    make_provenance,
)
from deqsci_cli.io.overlap import check_no_overlap
from deqsci_cli.io.provenance import now, plain
from deqsci_cli.io.read_options import ReadOptions
from deqsci_cli.reconstructor import Reconstructor
from deqsci_cli.report.metrics import compute_metrics
from deqsci_cli.report.page import PLAYERS, FilmView, Page, Pictures, Scene, need_page, render
from deqsci_cli.report.pages import PAGE
from deqsci_cli.report.plots import need_matplotlib, plot_sweep, standalone
from deqsci_cli.report.report import Failure
from deqsci_cli.report.scores import Score, mean_scores, score_table, to_csv, to_markdown
from deqsci_cli.runtime.device import (
    check_dtype,
    choose_device,
    describe_device,
    peak_memory,
)
from deqsci_cli.runtime.events import Note, OnEvent, ignore

SCHEMA = "deqsci-benchmark/1"

_CODED_ANEW = (
    "the sweep of {} codes each measurement anew, from its truth; the recorded measurements, and "
    "their noise, are not used"
)


@dataclass(frozen=True)
class BenchmarkConfig:
    """What is measured.

    Attributes:
        captures: files; those without truth are left out.
        models: by name, alias or folder.
        read_options: how the captures are to be understood.
        measurements: which of each file, as `selection.parse_selection` reads it.
        sweep: what is changed, if anything.
        equilibrium: fields of `EquilibriumSettings` to have other than the models' cards say.
        device: `auto`, `cpu`, `cuda` or `cuda:i`.
        dtype: one of `DTYPES`.
        seed: of added noise.
        page: keep the films that a page shows.
    """

    captures: tuple[Path, ...]
    models: tuple[str, ...]
    read_options: ReadOptions = field(default_factory=ReadOptions)
    measurements: str = ":"
    sweep: Sweep | None = None
    equilibrium: dict[str, Any] = field(default_factory=dict)
    device: str = "auto"
    dtype: str = "float32"
    seed: int = 0
    page: bool = False

    def __post_init__(self) -> None:
        check_dtype(self.dtype)
        check_seed(self.seed)


@dataclass
class Result:
    """What a benchmark gave.

    Attributes:
        scenes: one for each measurement, with a film for each model and value.
        failures: captures that came to nothing.
    """

    scenes: list[Scene] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    @property
    def scores(self) -> list[Score]:
        """By capture, measurement, model and value."""
        figures = [film.figures for scene in self.scenes for film in scene.films]
        return [score for score in figures if isinstance(score, Score)]


def benchmark(config: BenchmarkConfig, on_event: OnEvent = ignore) -> Result:
    """Reconstruct and measure every measurement that has truth, by every model.

    Raises:
        ModelError, UsageError: nothing can be done at all.
        InputError: no capture has truth.
    """
    choose_device(config.device)
    selection = parse_selection(config.measurements)
    models = {name: _runs(config, name) for name in config.models}
    result = Result()
    if config.sweep is not None and config.sweep.codes_anew:
        on_event(Note(_CODED_ANEW.format(config.sweep.what)))
    for path in config.captures:
        try:
            capture = load_capture(path, config.read_options)
            if config.sweep is not None:
                capture.need_one_arm("a sweep")
            chosen = choose(selection, capture.count)
            for sentence in capture.notes:
                on_event(Note(f"{path.name}: {sentence}"))
            for index in _measurable(config, capture, chosen, on_event):
                keep = config.page and len(result.scenes) < PLAYERS
                result.scenes.append(_scene(config, capture, index, models, on_event, keep=keep))
        except DeqsciError as error:
            result.failures.append(Failure.of(path, error))
    if not result.scenes and not result.failures:
        raise InputError("no capture has truth to measure against")
    return result


def _measurable(
    config: BenchmarkConfig, capture: Capture, chosen: Sequence[int], on_event: OnEvent
) -> list[int]:
    """Which measurements have truth enough; the others are told."""
    needed = 1 if config.sweep is None else config.sweep.frames_needed(capture)
    frames = {i: 0 if (t := capture.truth_of(i)) is None else len(t) for i in chosen}
    known = [index for index in chosen if frames[index] >= needed]
    if missing := len(frames) - len(known):
        lack = "no truth" if needed == 1 else "no truth of all their frames to be coded anew from"
        on_event(Note(f"{capture.path.name}: {missing} of {len(frames)} measurements have {lack}"))
    return known


def _scene(
    config: BenchmarkConfig,
    capture: Capture,
    index: int,
    models: dict[str, list[tuple[float | None, Reconstructor]]],
    on_event: OnEvent,
    *,
    keep: bool,
) -> Scene:
    """One measurement by every model; of a sweep, the films of its two ends are kept."""
    films, videos = [], []
    for name, runs in models.items():
        for score, video in _scores(config, capture, index, name, runs):
            films.append(FilmView(score.label, score))
            ends = runs[0][0], runs[-1][0]
            videos.append(video.astype(np.float16) if keep and score.value in ends else None)
            on_event(Note(f"{score.name}, {score.label}: {score.psnr:.2f} dB"))
    title = _name(capture, index)
    if not keep:
        return Scene(title, tuple(films))
    truth = capture.truth_of(index)
    assert truth is not None
    # Copies: the rest of the capture need not stay.
    kept = Pictures(capture.measurement_picture(index).copy(), truth.copy(), tuple(videos))
    return Scene(title, tuple(films), lambda: kept)


def _runs(config: BenchmarkConfig, name: str) -> list[tuple[float | None, Reconstructor]]:
    """A model made ready once for all captures; anew only where its tolerance is swept."""
    model, sweep = zoo.load(name), config.sweep
    settings = EquilibriumSettings.from_card(model.card.equilibrium, **config.equilibrium)

    def ready(used: EquilibriumSettings) -> Reconstructor:
        return Reconstructor(model, used, device=config.device, dtype=config.dtype)

    if sweep is None:
        return [(None, ready(settings))]
    if sweep.what == "tol":
        return [(value, ready(replace(settings, tol=value))) for value in sweep.values]
    run = ready(settings)
    return [(value, run) for value in sweep.values]


def _scores(
    config: BenchmarkConfig,
    capture: Capture,
    index: int,
    name: str,
    runs: list[tuple[float | None, Reconstructor]],
) -> Iterator[tuple[Score, np.ndarray]]:
    """The scores and films of one measurement and model, for each value of the sweep."""
    sweep = config.sweep
    for value, run in runs:
        if sweep is None or value is None:
            given = [Given(capture.measurements[index], capture.mask, capture.seen(index))]
            label = name
        else:
            given = sweep.given(capture, index, value, config.seed)
            label = f"{name}, {sweep.what} {value:g}"
        for one in given:
            facts = {"label": label + ", told" * one.told, "model": name, "value": value}
            yield _score(capture, index, one, run, facts)


def _score(
    capture: Capture, index: int, given: Given, run: Reconstructor, facts: dict[str, Any]
) -> tuple[Score, np.ndarray]:
    """The score and the film of what a model is given of one measurement."""
    truth = capture.truth_of(index)
    assert truth is not None
    with peak_memory(run.device) as memory:
        began = time.perf_counter()
        seen = None if given.seen is None else given.seen[None]
        found = run(given.measurement[None], given.mask, truths=[truth], seen=seen)
        seconds = time.perf_counter() - began
    video = found.x[0].float().numpy()
    score = Score(
        name=_name(capture, index),
        capture=str(capture.path),
        index=index,
        told=given.told,
        frames=len(truth),
        of=capture.frames,
        seconds=seconds,
        memory=memory.bytes,
        **facts,
        **found.facts(0),
        **compute_metrics(video, truth),
    )
    return score, video


def _name(capture: Capture, index: int) -> str:
    """What a measurement is called wherever it is shown."""
    return capture.path.stem + (f" #{index}" if capture.count > 1 else "")


def check_outputs(config: BenchmarkConfig, out: Path, *, overwrite: bool) -> None:
    """Refuse before any computing what `write_outputs` could not write after it.

    Raises:
        OutputExistsError: one of the files exists.
        UsageError: a package is missing, or a file is one that is read.
    """
    if config.page:
        need_page()
    if config.sweep is not None:
        need_matplotlib()
    files = _outputs(config, out)
    models = (zoo.find(name) for name in config.models)
    beside = config.read_options.files().values()
    check_no_overlap(files, [*config.captures, *beside, *models])
    check_absent(files, overwrite=overwrite)


def write_outputs(
    config: BenchmarkConfig, result: Result, out: Path, *, overwrite: bool
) -> list[Path]:
    """Write the table as Markdown, CSV and JSON, of a sweep the plot, and the page.

    Returns:
        The files.

    Raises:
        OutputExistsError, StorageError: see `atomic_write`.
    """
    swept = None if config.sweep is None else config.sweep.what
    scores, means = result.scores, mean_scores(result.scores)
    provenance = make_provenance(
        "evaluate",
        asdict(config),
        seed=config.seed,
        model=None,
        inputs=map(fingerprint, [*config.captures, *config.read_options.files().values()]),
        device=describe_device(choose_device(config.device)),
    ) | {"created": now()}
    content = {
        "schema": SCHEMA,
        "provenance": provenance,
        "means": plain(means),
        "scores": plain([asdict(score) for score in scores]),
    }
    curves = plot_sweep(scores, swept) if swept else ""
    texts = {
        "md": to_markdown(*score_table(scores, swept)),
        "csv": to_csv(scores),
        "json": json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n",
        "svg": standalone(curves),
    }
    if config.page:
        page = Page(
            title=f"Benchmark of {', '.join(config.models)}",
            summary=f"{len(result.scenes)} measurements on {provenance['device']}, "
            f"{provenance['created']}",
            scenes=result.scenes,
            facts=provenance,
            failures=result.failures,
            means=means,
            plots=[curves] if swept else [],
        )
        texts["html"] = render(page)
    files = _outputs(config, out)
    for file in files:
        with atomic_write(file, overwrite=overwrite) as temporary:
            text = texts[file.suffix[1:]]
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
    return files


def _outputs(config: BenchmarkConfig, out: Path) -> list[Path]:
    kinds = ("md", "csv", "json", *(("svg",) if config.sweep else ()))
    page = [out / PAGE] if config.page else []
    return [out / f"benchmark.{kind}" for kind in kinds] + page
