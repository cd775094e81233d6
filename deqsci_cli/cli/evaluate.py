"""`deqsci evaluate`."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deqsci_cli.cli import console, options, reading
from deqsci_cli.cli.inputs import expand
from deqsci_cli.cli.live import live
from deqsci_cli.errors import DeqsciError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deqsci_cli.engine.evaluate import Evaluation
    from deqsci_cli.engine.sweep import Sweep
    from deqsci_cli.io.read_options import ReadOptions
    from deqsci_cli.report.scores import Score


# What has a meaning without --benchmark.
_OF_FILMS = ("films", "truth", "truth_key", "axes", "frames")


@reading.takes_read_options("frames", "no_truth", lab_camera=True)
def evaluate(
    context: typer.Context,
    films: Annotated[
        list[str] | None, typer.Argument(help="Reconstructed films, or quoted globs.")
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(
            help="A film, a video, or a capture with truth.", rich_help_panel=options.INPUT
        ),
    ] = None,
    benchmark: Annotated[
        str | None,
        typer.Option(
            help="Captures with truth (a file, folder, glob …), for --models.",
            rich_help_panel=options.INPUT,
        ),
    ] = None,
    models: Annotated[
        str,
        typer.Option(
            help="With --benchmark: released models or model folders, separated by commas.",
            rich_help_panel=options.SOLVER,
        ),
    ] = "pnp,rnn,gap-tv",
    measurements: Annotated[
        str,
        typer.Option(
            help="With --benchmark: which of each file: 0, or 0:3, or 1,4:.",
            rich_help_panel=options.INPUT,
        ),
    ] = ":",
    sequence: Annotated[
        bool,
        typer.Option(
            "--sequence",
            help="With --benchmark: the measurements of a file become one film.",
            rich_help_panel=options.INPUT,
        ),
    ] = False,
    sweep: Annotated[
        str | None,
        typer.Option(
            help="With --benchmark: tol=…, noise=…, offset=…, saturation=…, gains=… or shift=…, "
            "values by commas.",
            rich_help_panel=options.CAMERA,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="With --benchmark: folder of the table's files.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    tol: options.Tol = None,
    max_iter: options.MaxIter = None,
    symmetries: options.Symmetries = None,
    solver: options.Solver = None,
    tile: options.Tile = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "float32",
    threads: options.Threads = None,
    seed: options.Seed = 0,
    config_file: options.Config = None,
    *,
    read_options: ReadOptions,
    mask_frames: options.MaskFrames = None,
    frames: Annotated[
        bool,
        typer.Option(
            "--frames", help="Show the figures of every frame.", rich_help_panel=options.OUTPUT
        ),
    ] = False,
    report: Annotated[
        bool,
        typer.Option(
            help="With --out: write report.html, a page that plays the films.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = True,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
    log: options.Log = None,
    quiet: options.Quiet = False,
) -> None:
    """Measure films against their truth, or models on captures with truth.

    Reports PSNR (peak 1) and SSIM, averaged over the frames. To measure films, give --truth (and
    --truth-key and --axes if needed). All other options are for measuring models.
    """
    if benchmark is None:
        if not films or truth is None:
            raise UsageError(
                "there is nothing to measure", hint="name films and --truth, or --benchmark"
            )
        options.refuse_others(context, _OF_FILMS, "works only with --benchmark")
        _films(
            films, truth, read_options.truth_key, read_options.axes, frames=frames, as_json=as_json
        )
        return
    if films or truth is not None:
        raise UsageError("--benchmark makes its own films", hint="leave films and --truth out")
    with live(shown=not quiet) as line:
        # torch is slow to import
        from deqsci_cli.engine.benchmark import BenchmarkConfig
        from deqsci_cli.engine.benchmark import benchmark as run
        from deqsci_cli.engine.benchmark_files import check_outputs, write_outputs
        from deqsci_cli.report.scores import score_table
        from deqsci_cli.runtime.device import keep_freed_memory, use_threads

        keep_freed_memory()
        use_threads(threads)
        config = BenchmarkConfig(
            captures=expand([benchmark], besides=read_options.files().values()).paths,
            models=tuple(name.strip() for name in models.split(",")),
            read_options=replace(read_options, frames=mask_frames),
            measurements=measurements,
            sweep=_sweep(sweep),
            equilibrium={
                "tol": tol,
                "max_iter": max_iter,
                "symmetries": symmetries,
                "solver": solver,
                "tile": tile,
            },
            device=device,
            dtype=dtype,
            seed=seed,
            page=report and out is not None,
            sequence=sequence,
        )
        if out is not None:
            check_outputs(config, out, overwrite=overwrite)
        line.show("measuring")
        result = run(config, console.note_events(shown=not quiet))
    scores, failures = result.scores, result.failures
    swept = None if config.sweep is None else config.sweep.what
    if as_json:
        for score in scores:
            console.json_line(asdict(score))
    elif scores:
        header, rows = score_table(scores, swept)
        shown = console.table("", *header)
        for row in rows:
            shown.add_row(*row, style="bold" if row[0] == "mean" else None)
        console.show_table(shown)
        if frames:
            _show_frames([(f"{s.name}, {s.label}", s) for s in scores])
    if out is not None and scores:
        written = write_outputs(config, result, out, overwrite=overwrite)
        names = ", ".join(path.name for path in written)
        console.note(f"{names} are in {out}", shown=not quiet)
    console.show_failures(failures)
    if failures:
        raise typer.Exit(1 if scores else failures[0].exit_code)


def _sweep(text: str | None) -> Sweep | None:
    from deqsci_cli.engine.sweep import Sweep

    if text is None:
        return None
    what, _, values = text.partition("=")
    try:
        numbers = tuple(float(value) for value in values.split(",") if value.strip())
    except ValueError as error:
        raise UsageError(f"--sweep '{text}' is not understood", hint="noise=0,0.01,0.02") from error
    return Sweep(what.strip(), numbers)


def _films(
    films: list[str],
    truth: Path,
    truth_key: str | None,
    axes: str | None,
    *,
    frames: bool,
    as_json: bool,
) -> None:
    """Films that are there already against a truth file."""
    from deqsci_cli.engine.evaluate import Evaluation
    from deqsci_cli.engine.evaluate import evaluate as run  # torch is slow to import

    results = run(expand(films).paths, truth, key=truth_key, axes=axes)
    good = [r for r in results if isinstance(r, Evaluation)]
    if as_json:
        for result in good:
            console.json_line(asdict(result))
    elif good:
        shown = console.table("", "film", "frames", "PSNR dB", "SSIM")
        for result in good:
            compared = str(result.frames)
            if result.frames < result.of:
                compared += f" of {result.of}"
            shown.add_row(
                result.film,
                compared,
                console.number(result.psnr),
                console.number(result.ssim, ".4f"),
            )
        console.show_table(shown)
        for result in good:
            if result.note:
                console.note(f"{result.film}: {result.note}")
        if frames:
            _show_frames([(result.film, result) for result in good])
    failed = [r for r in results if isinstance(r, DeqsciError)]
    for error in failed:
        console.show_error(error)
    if failed:
        raise typer.Exit(1 if good else failed[0].exit_code)


def _show_frames(named: Sequence[tuple[str, Evaluation | Score]]) -> None:
    """Frame by frame."""
    shown = console.table("", "film", "frame", "PSNR dB", "SSIM")
    for name, figures in named:
        frame_ssim = figures.frame_ssim or (None,) * figures.frames
        pairs = zip(figures.frame_psnr, frame_ssim, strict=True)
        for index, (peak, alike) in enumerate(pairs):
            shown.add_row(
                "" if index else name,
                f"#{index}",
                console.number(peak),
                console.number(alike, ".4f"),
            )
    console.show_table(shown)
