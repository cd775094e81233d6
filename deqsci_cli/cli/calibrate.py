"""`deqsci calibrate`."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deqsci_cli.cli import console, options, reading
from deqsci_cli.cli.inputs import expand
from deqsci_cli.cli.live import live
from deqsci_cli.errors import UsageError

if TYPE_CHECKING:
    from deqsci_cli.io.read_options import ReadOptions


# What belongs to pictures of a mask (`--frames`).
_OF_PICTURES = ("frames", "captures", "out", "dark", "flat", "note", "overwrite")


@reading.takes_read_options("frames", "no_truth", "truth_key")
def calibrate(
    context: typer.Context,
    captures: Annotated[
        list[str] | None,
        typer.Argument(help="Captures of one camera: files, folders, quoted globs, @list.txt."),
    ] = None,
    *,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="The camera's file, .h5.", rich_help_panel=options.OUTPUT),
    ],
    fit: Annotated[
        str | None,
        typer.Option(
            help="What to find: any of shift,rotation,scale,gains,offset,blur.",
            rich_help_panel=options.SOLVER,
        ),
    ] = None,
    frames: Annotated[
        Path | None,
        typer.Option(
            help="Make the camera from pictures: a white surface through each mask position, as a "
            "stack or folder. Use --dark and --flat (no mask) with it.",
            rich_help_panel=options.INPUT,
        ),
    ] = None,
    mask_frames: options.MaskFrames = None,
    read_options: ReadOptions,
    note: Annotated[
        str,
        typer.Option(
            help="A sentence to be kept in the camera's file.", rich_help_panel=options.OUTPUT
        ),
    ] = "",
    report: Annotated[
        bool,
        typer.Option(
            "--report",
            help="Write a page beside it, with the mask and the fit.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = False,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Describe a camera in a file, from its captures or from pictures of its mask."""
    if frames is not None:
        if captures or fit or report:
            raise UsageError(
                "--frames makes a camera of pictures, --fit finds one from captures",
                hint="run one after the other: calibrate captures --camera the-first.h5 --fit …",
            )
        options.refuse_others(context, _OF_PICTURES, "has no meaning with --frames")
        _of_pictures(frames, out, read_options, note, overwrite, as_json=as_json, quiet=quiet)
        return
    if not captures or not fit:
        raise UsageError(
            "there is nothing to calibrate from",
            hint="name captures and what to find (--fit shift), or pictures of the mask (--frames)",
        )
    _of_captures(
        captures,
        tuple(part.strip() for part in fit.split(",")),
        out,
        replace(read_options, frames=mask_frames),
        note,
        overwrite,
        report=report,
        as_json=as_json,
        quiet=quiet,
    )


def _of_pictures(
    frames: Path,
    out: Path,
    read_options: ReadOptions,
    note: str,
    overwrite: bool,
    *,
    as_json: bool,
    quiet: bool,
) -> None:
    from deqsci_cli.engine.calibrate_pictures import PicturesConfig, calibrate_pictures

    flat = None if read_options.flat is None else Path(read_options.flat)
    found = calibrate_pictures(
        PicturesConfig(frames, out, read_options.dark, flat, note, overwrite)
    )
    if as_json:
        console.json_line({"camera": str(out), "shape": found.mask.shape, "notes": found.notes})
    elif not quiet:
        count, height, width = found.mask.shape
        console.out.print(f"{out}: a mask of {count} frames, {height} x {width}", soft_wrap=True)
        for sentence in found.notes:
            console.note(sentence)


def _of_captures(
    captures: list[str],
    parameters: tuple[str, ...],
    out: Path,
    read_options: ReadOptions,
    note: str,
    overwrite: bool,
    *,
    report: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    with live(shown=not quiet) as line:
        from deqsci_cli.engine.calibrate import CalibrateConfig
        from deqsci_cli.engine.calibrate import calibrate as run

        config = CalibrateConfig(
            captures=expand(captures, besides=read_options.files().values()).paths,
            out=out,
            parameters=parameters,
            read_options=read_options,
            note=note,
            page=out.with_suffix(".html") if report else None,
            overwrite=overwrite,
        )
        line.show("fitting")
        done = run(config, console.note_events(shown=not quiet))
    if as_json:
        console.json_line(asdict(done))
        return
    shown = console.table("", "found", "value", "±", "")
    for name, each in done.found.items():
        known = each.unknown is None
        shown.add_row(
            name,
            console.number(each.value if known else None, ".4g"),
            console.number(each.error if known else None, ".1g"),
            "" if each.unknown is None else f"not told: {each.unknown}",
        )
    console.show_table(shown)
    _show_scores(done)
    for sentence in done.notes:
        console.note(sentence)


def _show_scores(done: Any) -> None:
    before, after = (console.number(score) for score in done.mask_score)
    console.out.print(
        f"mask score {before} before, {after} after; held-out score {done.held_out[0]:.4f} before, "
        f"{done.held_out[1]:.4f} after",
        soft_wrap=True,
    )
    if done.black_level is not None:
        console.out.print(f"black level to take off: {done.black_level:.5g} (stored values)")
    console.out.print(f"written to {done.out}; use it with --camera {done.out}", soft_wrap=True)
