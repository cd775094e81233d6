"""`deqsci convert`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deqsci_cli.cli import choices, console, options, reading
from deqsci_cli.errors import UsageError

if TYPE_CHECKING:
    from deqsci_cli.io.read_options import ReadOptions


# What belongs to a published checkpoint (`--architecture`).
_OF_CHECKPOINTS = ("source", "architecture", "out", "overwrite")


@reading.takes_read_options("noise")
def convert(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(help="A capture, or a checkpoint to import.")],
    target: Annotated[
        Path | None, typer.Argument(help="The capture to be written: .mat, .h5 or .tif.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="The model folder an import becomes.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    architecture: Annotated[
        str | None,
        typer.Option(
            help="Of a checkpoint: cnn, rsn-cnn or ffdnet.",
            autocompletion=choices.offer(choices.published),
            rich_help_panel=options.INPUT,
        ),
    ] = None,
    *,
    read_options: ReadOptions,
    overwrite: options.Overwrite = False,
) -> None:
    """Convert a capture into another format, or a published checkpoint into a model."""
    from deqsci_cli.engine import convert as engine  # torch is slow to import

    if architecture is not None:
        if out is None or target is not None:
            raise UsageError("a model needs a folder", hint="give it with -o")
        options.refuse_others(context, _OF_CHECKPOINTS, "has no meaning with --architecture")
        from deqsci_cli.zoo import argument_for

        card, count = engine.convert_checkpoint(source, out, architecture, overwrite=overwrite)
        console.out.print(
            f"{out}: {card.architecture}, {count:,} parameters; "
            f"use it with --model {argument_for(out)}",
            soft_wrap=True,
        )
        return
    destination = target or out
    if destination is None or (target is not None and out is not None):
        raise UsageError(
            "name one output",
            hint="a file ending in .mat, .h5 or .tif; or --architecture and -o for a checkpoint",
        )
    capture = engine.convert_capture(
        engine.ConvertConfig(
            source=source,
            out=destination,
            read_options=read_options,
            overwrite=overwrite,
        )
    )
    height, width = capture.shape
    console.note(f"{source.name}: scale {capture.scale_rule}")
    for sentence in capture.notes:
        console.note(f"{source.name}: {sentence}")
    console.out.print(
        f"{destination}: {capture.count} measurement(s) of {capture.frames} frames, "
        f"{height} x {width} pixels, {'with' if capture.truth is not None else 'without'} truth",
        soft_wrap=True,
    )
