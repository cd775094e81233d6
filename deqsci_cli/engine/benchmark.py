"""`evaluate --benchmark`: every capture with truth by every model, and what disturbs them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import shift

from deqsci_cli import zoo
from deqsci_cli.config import check_seed
from deqsci_cli.engine.batch.selection import choose, parse_selection
from deqsci_cli.engine.device import (
    check_dtype,
    choose_device,
    describe_device,
    peak_memory,
)
from deqsci_cli.engine.events import Note, OnEvent, ignore
from deqsci_cli.engine.pages import PAGE
from deqsci_cli.engine.reading import Reading
from deqsci_cli.engine.solving import Reconstructor
from deqsci_cli.equilibrium.model import EquilibriumSettings
from deqsci_cli.errors import DeqsciError, InputError, UsageError
from deqsci_cli.io import Capture, atomic_write, check_absent, collect, identify
from deqsci_cli.io.provenance import now, plain
from deqsci_cli.physics.noise import SensorNoise
from deqsci_cli.report.metrics import judge
from deqsci_cli.report.page import PLAYERS, Film, Page, Pictures, Scene, need_page, render
from deqsci_cli.report.plots import need_matplotlib, plot_sweep, standalone
from deqsci_cli.report.report import Failure
from deqsci_cli.report.scores import Score, mean_scores, score_table, to_csv, to_markdown

SCHEMA = "deqsci-benchmark/1"

#: what may be swept
SWEEPS = ("tol", "noise", "shift")


@dataclass(frozen=True)
class Sweep:
    """One thing that is changed while all else stays.

    Attributes:
        what: one of `SWEEPS`: the solver's tolerance, the standard deviation of noise that is
            added to the measurement, or by how much the mask that the model is told lies right
            and below of where it was.
        values: what it is set to, one after the other.
    """

    what: str
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.what not in SWEEPS:
            raise UsageError(f"'{self.what}' is not swept", hint=f"one of {', '.join(SWEEPS)}")
        if not self.values:
            raise UsageError(f"the sweep of {self.what} needs values", hint="noise=0,0.01,0.02")
        if not all(0 <= value < np.inf for value in self.values):
            raise UsageError(f"values of {self.what} must not be negative, nor infinite")


@dataclass(frozen=True)
class BenchmarkConfig:
    """What is measured.

    Attributes:
        captures: files; those without truth are left out.
        models: by name, alias or folder.
        reading: how the captures are to be understood.
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
    reading: Reading = field(default_factory=Reading)
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
    """Reconstruct and judge every measurement that has truth, by every model.

    Raises:
        ModelError, UsageError: nothing can be done at all.
        InputError: no capture has truth.
    """
    choose_device(config.device)
    selection = parse_selection(config.measurements)
    models = {name: _runs(config, name) for name in config.models}
    result = Result()
    for path in config.captures:
        try:
            capture = config.reading.load(path)
            chosen = choose(selection, capture.count)
            for sentence in capture.replaced:
                on_event(Note(f"{path.name}: {sentence}"))
            known = [index for index in chosen if capture.truth_of(index) is not None]
            if len(known) < len(chosen):
                missing = len(chosen) - len(known)
                on_event(
                    Note(f"{path.name}: {missing} of {len(chosen)} measurements have no truth")
                )
            for index in known:
                keep = config.page and len(result.scenes) < PLAYERS
                result.scenes.append(_scene(config, capture, index, models, on_event, keep=keep))
        except DeqsciError as error:
            result.failures.append(Failure(str(path), str(error), error.hint, error.exit_code))
    if not result.scenes and not result.failures:
        raise InputError("no capture has truth to measure against")
    return result


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
            films.append(Film(score.label, score))
            ends = runs[0][0], runs[-1][0]
            videos.append(video.astype(np.float16) if keep and score.value in ends else None)
            on_event(Note(f"{score.name}, {score.label}: {score.psnr:.2f} dB"))
    title = _name(capture, index)
    if not keep:
        return Scene(title, tuple(films))
    truth = capture.truth_of(index)
    assert truth is not None
    # Copies: the rest of the capture need not stay.
    kept = Pictures(capture.measurements[index].copy(), truth.copy(), tuple(videos))
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
    truth = capture.truth_of(index)
    assert truth is not None
    swept = None if config.sweep is None else config.sweep.what
    for value, run in runs:
        measurement, mask = capture.measurements[index], capture.mask
        if swept == "noise" and value is not None:
            rng = np.random.default_rng(config.seed)
            measurement = SensorNoise(read=value).apply(measurement, rng, full_range=1)
        elif swept == "shift" and value is not None:
            mask = shifted(mask, value)
        with peak_memory(run.device) as memory:
            began = time.perf_counter()
            found = run(measurement[None], mask, truths=[truth])
            seconds = time.perf_counter() - began
        video = found.x[0].float().numpy()
        score = Score(
            name=_name(capture, index),
            capture=str(capture.path),
            index=index,
            label=name if value is None else f"{name}, {swept} {value:g}",
            model=name,
            value=value,
            frames=len(truth),
            of=capture.frames,
            seconds=seconds,
            memory=memory.bytes,
            **found.facts(0),
            **judge(video, truth),
        )
        yield score, video


def _name(capture: Capture, index: int) -> str:
    """What a measurement is called wherever it is shown."""
    return capture.path.stem + (f" #{index}" if capture.count > 1 else "")


def shifted(mask: np.ndarray, pixels: float) -> np.ndarray:
    """A mask `(T, H, W)` moved right and down, between pixels by linear interpolation."""
    moved = shift(mask, (0, pixels, pixels), order=1, mode="nearest")
    return np.asarray(moved, dtype=mask.dtype)


def check_outputs(config: BenchmarkConfig, out: Path, *, overwrite: bool) -> None:
    """Refuse before any computing what `write_outputs` could not write after it.

    Raises:
        OutputExistsError: one of the files exists.
        UsageError: a package is missing.
    """
    if config.page:
        need_page()
    if config.sweep is not None:
        need_matplotlib()
    check_absent(_outputs(config, out), overwrite=overwrite)


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
    provenance = collect(
        "evaluate",
        asdict(config),
        seed=config.seed,
        model=None,
        inputs=map(identify, config.captures),
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
            temporary.write_text(texts[file.suffix[1:]], encoding="utf-8")
    return files


def _outputs(config: BenchmarkConfig, out: Path) -> list[Path]:
    kinds = ("md", "csv", "json", *(("svg",) if config.sweep else ()))
    page = [out / PAGE] if config.page else []
    return [out / f"benchmark.{kind}" for kind in kinds] + page
