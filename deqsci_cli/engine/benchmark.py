"""`evaluate --benchmark`: every capture with truth by every model, and what disturbs them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from deqsci_cli import zoo
from deqsci_cli.config import check_seed
from deqsci_cli.engine.batch.selection import check_consecutive, choose, parse_selection
from deqsci_cli.engine.benchmark_scene import given_of, name_of, truth_of
from deqsci_cli.engine.noise import suited
from deqsci_cli.engine.sweep import Given, Sweep
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.errors import DeqsciError, InputError, UsageError
from deqsci_cli.io import (
    Capture,
    load_capture,
    shown_frames,
)
from deqsci_cli.io.read_options import ReadOptions
from deqsci_cli.reconstructor import Reconstruction, Reconstructor
from deqsci_cli.report.metrics import compute_metrics
from deqsci_cli.report.page import PLAYERS, FilmView, Pictures, Scene
from deqsci_cli.report.report import Failure
from deqsci_cli.report.scores import Score
from deqsci_cli.runtime.device import choose_device, peak_memory
from deqsci_cli.runtime.device_names import check_dtype
from deqsci_cli.runtime.events import Note, OnEvent, ignore

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
        sequence: the measurements of a file follow one another, and become one film.
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
    sequence: bool = False

    def __post_init__(self) -> None:
        check_dtype(self.dtype)
        check_seed(self.seed)
        if self.sequence and self.sweep is not None:
            raise UsageError("--sweep changes single measurements", hint="leave --sequence out")


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
            for given in _measurable(config, capture, chosen, on_event):
                keep = config.page and len(result.scenes) < PLAYERS
                result.scenes.append(_scene(config, capture, given, models, on_event, keep=keep))
        except DeqsciError as error:
            result.failures.append(Failure.of(path, error))
    if not result.scenes and not result.failures:
        raise InputError("no capture has truth to measure against")
    return result


def _measurable(
    config: BenchmarkConfig, capture: Capture, chosen: Sequence[int], on_event: OnEvent
) -> list[list[int]]:
    """Which measurements have truth enough, each alone or all as one; the others are told."""
    needed = 1 if config.sweep is None else config.sweep.frames_needed(capture)
    frames = {i: 0 if (t := capture.truth_of(i)) is None else len(t) for i in chosen}
    known = [index for index in chosen if frames[index] >= needed]
    if missing := len(frames) - len(known):
        lack = "no truth" if needed == 1 else "no truth of all their frames to be coded anew from"
        on_event(Note(f"{capture.path.name}: {missing} of {len(frames)} measurements have {lack}"))
    if config.sequence:
        check_consecutive(chosen)
        return [list(chosen)] if known[:1] == list(chosen)[:1] else []
    return [[index] for index in known]


def _scene(
    config: BenchmarkConfig,
    capture: Capture,
    chosen: Sequence[int],
    models: dict[str, list[tuple[float | None, Reconstructor]]],
    on_event: OnEvent,
    *,
    keep: bool,
) -> Scene:
    """One measurement, or recording, by every model; of a sweep, its two ends' films are kept."""
    films, videos = [], []
    for name, runs in models.items():
        for score, video in _scores(config, capture, chosen, name, runs):
            films.append(FilmView(score.label, score))
            ends = runs[0][0], runs[-1][0]
            videos.append(video.astype(np.float16) if keep and score.value in ends else None)
            on_event(Note(f"{score.name}, {score.label}: {score.psnr:.2f} dB"))
    title = name_of(capture, chosen)
    if not keep:
        return Scene(title, tuple(films))
    # Copies: the rest of the capture need not stay.
    truth = truth_of(capture, chosen).copy()
    step = shown_frames(len(chosen) * capture.frames) if config.sequence else slice(None, None, 1)
    shown = tuple(None if video is None else video[step] for video in videos)
    measurement = capture.measurement_picture(chosen[0]).copy()
    kept = Pictures(measurement, truth[step], shown, step=step.step)
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
    chosen: Sequence[int],
    name: str,
    runs: list[tuple[float | None, Reconstructor]],
) -> Iterator[tuple[Score, np.ndarray]]:
    """The scores and films of one scene and model, for each value of the sweep."""
    sweep = config.sweep
    for value, run in runs:
        if sweep is None or value is None:
            given = [given_of(capture, chosen)]
            label = name
        else:
            found = sweep.given(capture, chosen[0], value, config.seed)
            given = [
                replace(
                    g,
                    measurement=g.measurement[None],
                    seen=None if g.seen is None else g.seen[None],
                )
                for g in found
            ]
            label = f"{name}, {sweep.what} {value:g}"
        for one in given:
            facts = {"label": label + ", told" * one.told, "model": name, "value": value}
            yield _score(config, capture, chosen, one, run, facts)


def _score(
    config: BenchmarkConfig,
    capture: Capture,
    chosen: Sequence[int],
    given: Given,
    run: Reconstructor,
    facts: dict[str, Any],
) -> tuple[Score, np.ndarray]:
    """The score and the film of what a model is given, measurements (N, H, W)."""
    truth = truth_of(capture, chosen)
    with peak_memory(run.device) as memory:
        began = time.perf_counter()
        found = _solved(config, capture, given, truth, run)
        seconds = time.perf_counter() - began
    video = found.x[0].float().numpy()
    score = Score(
        name=name_of(capture, chosen),
        capture=str(capture.path),
        index=chosen[0],
        told=given.told,
        frames=len(truth),
        of=len(video),
        seconds=seconds,
        memory=memory.bytes,
        **facts,
        **found.facts(0),
        **compute_metrics(video, truth),
    )
    return score, video


def _solved(
    config: BenchmarkConfig, capture: Capture, given: Given, truth: np.ndarray, run: Reconstructor
) -> Reconstruction:
    """What a model makes of what it is given, its noise told or found as for any film."""
    noisy = replace(
        capture,
        measurements=given.measurement,
        mask=given.mask,
        truth=None,
        unseen=None if given.seen is None else (~given.seen).astype(np.uint8),
        noise=capture.noise if given.noise is None else f"{given.noise}",
    )
    each = [suited(noisy, i, run.network, run.settings) for i in range(len(given.measurement))]
    return run(
        np.stack([one.measurement for one in each]),
        given.mask,
        truths=[truth],
        seen=given.seen,
        settings=each[0].settings,
        sequence=config.sequence,
    )
