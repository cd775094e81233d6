"""`deqsci reconstruct`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deqsci_cli.cli import choices, console, options, reading
from deqsci_cli.cli.inputs import expand, numbers
from deqsci_cli.cli.live import live

if TYPE_CHECKING:
    from deqsci_cli.engine.batch.config import ReconstructConfig
    from deqsci_cli.engine.batch.plan import Plan
    from deqsci_cli.io.read_options import ReadOptions
    from deqsci_cli.report.report import Report
    from deqsci_cli.runtime.events import Event, Finished, Iterated, Phase


@reading.takes_read_options(lab_camera=True)
def reconstruct(
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="Capture files, folders, quoted globs, @list.txt, or - (paths on stdin)."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="Folder of films and report.", rich_help_panel=options.OUTPUT
        ),
    ] = Path("out"),
    model: Annotated[
        str,
        typer.Option(
            help="A released model, or a model's folder.",
            autocompletion=choices.offer(choices.models),
            rich_help_panel=options.SOLVER,
        ),
    ] = options.DEFAULT_MODEL,
    *,
    measurements: Annotated[
        str,
        typer.Option(
            help="Which measurements of each file: 0, or 0:3, or 1,4:.",
            rich_help_panel=options.INPUT,
        ),
    ] = ":",
    sequence: Annotated[
        bool,
        typer.Option(
            "--sequence",
            help="Treat the measurements of a file or folder as consecutive: make one film.",
            rich_help_panel=options.INPUT,
        ),
    ] = False,
    tol: options.Tol = None,
    max_iter: options.MaxIter = None,
    symmetries: options.Symmetries = None,
    solver: options.Solver = None,
    tile: options.Tile = None,
    roi: Annotated[
        str | None,
        typer.Option(
            help="Use the model only in this region, and gap-tv elsewhere: TOP,LEFT,HEIGHT,WIDTH, "
            "an image file (nonzero pixels), or auto (what moves).",
            rich_help_panel=options.SOLVER,
        ),
    ] = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "float32",
    threads: options.Threads = None,
    seed: options.Seed = 0,
    config_file: options.Config = None,
    film_format: Annotated[
        str,
        typer.Option(
            "--format",
            help="Of the films: tif, mat or h5.",
            autocompletion=choices.offer(choices.formats),
            rich_help_panel=options.OUTPUT,
        ),
    ] = "tif",
    preview: Annotated[
        str, typer.Option(help="Any of gif,png,mp4, or none.", rich_help_panel=options.OUTPUT)
    ] = "gif",
    contrast: Annotated[
        str,
        typer.Option(
            help="Of previews: auto (percentiles), full (0 to white), or LOW,HIGH.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = "auto",
    fps: Annotated[
        float,
        typer.Option(help="Frames a second of .gif and .mp4.", rich_help_panel=options.OUTPUT),
    ] = 10.0,
    report: Annotated[
        bool,
        typer.Option(
            "--report",
            help="Write report.html, a page that plays the films.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = False,
    read_options: ReadOptions,
    batch_size: Annotated[
        str,
        typer.Option(
            help="Measurements solved together: a number, or auto.", rich_help_panel=options.RUN
        ),
    ] = "auto",
    cluster: Annotated[
        str | None,
        typer.Option(
            help="Share the work: local:N (processes), or a Dask scheduler's address.",
            rich_help_panel=options.RUN,
        ),
    ] = None,
    overwrite: options.Overwrite = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Redo only what is missing or changed.", rich_help_panel=options.RUN
        ),
    ] = False,
    fail_fast: Annotated[
        bool,
        typer.Option(
            "--fail-fast", help="Stop at the first input that fails.", rich_help_panel=options.RUN
        ),
    ] = False,
    as_json: options.AsJson = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Say what would be done; compute and write nothing.",
            rich_help_panel=options.RUN,
        ),
    ] = False,
    log: options.Log = None,
    quiet: options.Quiet = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose",
            "-v",
            help="Tell the settings of the solver as well.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = False,
) -> None:
    """Reconstruct films from coded captures, and report how well the solver converged.

    Writes a film and its previews for every measurement, and one report.json. With --sequence one
    film for every file or folder, whose measurements are solved together.
    """
    from deqsci_cli.engine.batch.config import ReconstructConfig  # its libraries are slow to import
    from deqsci_cli.io import Look

    size = None if batch_size == "auto" else numbers(batch_size, "--batch-size", 1)
    kinds = tuple(dict.fromkeys(part.strip() for part in preview.split(",")))
    named = expand(inputs, besides=read_options.files().values())
    config = ReconstructConfig(
        inputs=named.paths,
        found=named.found,
        lists=named.lists,
        sequence=sequence,
        folders=named.folders if sequence else (),
        out=out,
        model=model,
        read_options=read_options,
        measurements=measurements,
        equilibrium={
            "tol": tol,
            "max_iter": max_iter,
            "symmetries": symmetries,
            "solver": solver,
            "tile": tile,
        },
        roi=roi,
        device=device,
        dtype=dtype,
        seed=seed,
        format=film_format,
        previews=() if preview == "none" else kinds,
        look=Look(contrast, fps),
        page=report,
        overwrite=overwrite,
        resume=resume,
        fail_fast=fail_fast,
        batch_size=size[0] if size else None,
        cluster=cluster,
    )
    if dry_run:
        from deqsci_cli import zoo
        from deqsci_cli.engine.batch.plan import plan

        planned = plan(config, zoo.look_up(config.model))
        if verbose:
            console.note(f"settings: {planned.settings}")
        _show_plan(planned, config)
        _end([f.exit_code for f in planned.failures], bool(planned.jobs))
        return
    found = _run(config, threads, quiet=quiet, verbose=verbose)
    if as_json:
        for record in found.measurements:
            console.json_line(asdict(record))
        for failure in found.failures:
            console.json_line(asdict(failure))
    elif found.measurements:
        _show_report(found)
        if verbose:
            _show_regions(found)
    console.show_failures(found.failures)
    _show_summary(found, config, shown=not quiet)
    codes = [f.exit_code for f in found.failures]
    codes += [1 for r in found.measurements if r.status == "diverged"]
    _end(codes, bool(found.measurements))


def _run(config: ReconstructConfig, threads: int | None, *, quiet: bool, verbose: bool) -> Report:
    from deqsci_cli.runtime.events import Finished, Iterated, Note, Phase

    with live(shown=not quiet) as line:
        from deqsci_cli.engine.reconstruct import reconstruct as run  # torch is slow to import
        from deqsci_cli.runtime.device import keep_freed_memory, use_threads

        keep_freed_memory()
        use_threads(threads)
        phase = ""

        def listen(event: Event) -> None:
            nonlocal phase
            if isinstance(event, Note):
                shown = not quiet and (verbose or not event.detail)
                console.note(event.text, shown=shown)
            elif isinstance(event, Phase):
                phase = event.name
                line.show(_done(phase, event))
            elif isinstance(event, Iterated):
                residual = f"residual {event.residual:.1e}"
                line.show(_done(phase, event), share=event.share, detail=residual)
            elif isinstance(event, Finished):
                line.show(_done(phase, event), share=event.share)

        return run(config, listen)


def _done(phase: str, event: Phase | Iterated | Finished) -> str:
    return f"{phase} {event.done}/{event.of} films" if event.of else phase


def _show_summary(report: Report, config: ReconstructConfig, *, shown: bool) -> None:
    made = len(report.measurements) - report.skipped
    counts = [f"{made} done", f"{report.skipped} skipped", f"{len(report.failures)} failed"]
    pace = f"{report.seconds:.1f} s, {made / report.seconds:.2g} measurements/s"
    files = "films, report.json and report.html" if config.page else "films and report.json"
    where = f"; {files} are in {config.out}" if report.measurements else ""
    console.note(f"{', '.join(counts)} in {pace}{where}", shown=shown)


def _show_report(report: Report) -> None:
    """What 80 columns hold: how much was seen, and what truth tells, only where there is such."""
    columns = {
        "status": [r.status for r in report.measurements],
        "evaluations": [str(r.evaluations) for r in report.measurements],
        "residual": [console.number(r.residual, ".1e") for r in report.measurements],
        "mask score": [
            console.number(r.mask_score) + (" !" if r.warnings else "") for r in report.measurements
        ],
        "seconds": [
            console.number(r.seconds, ".1f") + ("*" if r.solved_together > 1 else "")
            for r in report.measurements
        ],
    }
    if any(r.seen is not None and r.seen < 1 for r in report.measurements):
        columns["seen"] = [console.number(r.seen, ".1%") for r in report.measurements]
    if any(r.psnr is not None for r in report.measurements):
        columns["PSNR dB"] = [console.number(r.psnr) for r in report.measurements]
        columns["SSIM"] = [console.number(r.ssim, ".4f") for r in report.measurements]
    shown = console.table("", "film", *columns)
    for record, *cells in zip(report.measurements, *columns.values(), strict=True):
        shown.add_row(Path(record.output).name, *cells)
    console.show_table(shown)
    together = max(r.solved_together for r in report.measurements)
    if together > 1:
        console.out.print(
            f"* each film's share of the time of {together} films that were solved together"
        )


def _show_regions(report: Report) -> None:
    shown = console.table("", "film", "region", "status", "evaluations", "residual")
    for r in report.measurements:
        for region in r.roi or ():
            place = f"{region.height}x{region.width}+{region.top}+{region.left}"
            residual = console.number(region.residual, ".1e")
            row = Path(r.output).name, place, region.status, str(region.evaluations), residual
            shown.add_row(*row)
    if shown.row_count:
        console.show_table(shown)


def _show_plan(planned: Plan, config: ReconstructConfig) -> None:
    shown = console.table("", "film", "input", "measurement", "state")
    for job in planned.jobs:
        state = "is done" if job.output in planned.done else "to do"
        count = sum(len(stretch.indices) for stretch in job.recording)
        which = f"{count} as one" if job.recording else str(job.index)
        shown.add_row(job.output.name, str(job.input), which, state)
    console.show_table(shown)
    console.show_failures(list(planned.failures))
    console.note(f"nothing was computed or written to {config.out}")


def _end(codes: list[int], something_done: bool) -> None:
    """Exit as the failures say: 1 where only some came to nothing, else the first one's code."""
    if codes:
        raise typer.Exit(1 if something_done else codes[0])
