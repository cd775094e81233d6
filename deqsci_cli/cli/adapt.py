"""`deqsci adapt`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deqsci_cli.cli import choices, console, options, reading
from deqsci_cli.cli.inputs import expand
from deqsci_cli.cli.learning import tell
from deqsci_cli.cli.live import live

if TYPE_CHECKING:
    from deqsci_cli.engine.adapt import AdaptConfig, Adapted
    from deqsci_cli.io.read_options import ReadOptions


@reading.takes_read_options("no_truth", "truth_key", "noise", lab_camera=True)
def adapt(
    captures: Annotated[
        list[str],
        typer.Argument(help="Captures of one camera: files, folders, quoted globs, @list.txt."),
    ],
    *,
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="The model folder to be written.", rich_help_panel=options.OUTPUT
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            help="The model that is adapted: a name, or a folder.",
            autocompletion=choices.offer(choices.models),
            rich_help_panel=options.SOLVER,
        ),
    ] = options.DEFAULT_MODEL,
    read_options: ReadOptions,
    steps: Annotated[
        int,
        typer.Option(help="Most steps; it may stop earlier.", rich_help_panel=options.TRAINING),
    ] = 120,
    batch_size: Annotated[
        int,
        typer.Option(help="Pieces of measurements a step.", rich_help_panel=options.TRAINING),
    ] = 2,
    patch_size: Annotated[
        int, typer.Option(help="Their side, pixels.", rich_help_panel=options.TRAINING)
    ] = 64,
    learning_rate: Annotated[
        float, typer.Option(help="Learning rate.", rich_help_panel=options.TRAINING)
    ] = 1e-4,
    device: options.Device = "auto",
    threads: options.Threads = None,
    seed: options.Seed = 0,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Adapt a model to a camera and its scenes by their captures alone; no truth is needed.

    Some pixels of the measurements are hidden, and the model learns to predict them. Other pixels
    are never used for training; the error on them decides which step to keep.
    """
    from deqsci_cli.engine.adapt import AdaptConfig

    config = AdaptConfig(
        captures=expand(captures, besides=read_options.files().values()).paths,
        out=out,
        model=model,
        read_options=read_options,
        steps=steps,
        batch_size=batch_size,
        patch_size=patch_size,
        learning_rate=learning_rate,
        seed=seed,
        device=device,
        overwrite=overwrite,
    )
    done = _run(config, threads, quiet=quiet)
    if as_json:
        console.json_line(asdict(done))
        return
    from deqsci_cli.zoo import argument_for

    before, after = done.before["held_out"], done.after["held_out"]
    if not done.step:
        console.note(f"no step made {model} better on these captures: {out} is {model}")
    console.out.print(
        f"{done.out}: held-out score {before:.4f} before, {after:.4f} after {done.step} steps; "
        f"use it with --model {argument_for(done.out)}",
        soft_wrap=True,
    )


def _run(config: AdaptConfig, threads: int | None, *, quiet: bool) -> Adapted:
    from deqsci_cli.engine.adapt import adapt as run
    from deqsci_cli.runtime.device import keep_freed_memory, use_threads

    keep_freed_memory()
    use_threads(threads)
    with live(shown=not quiet) as line:
        line.show("looking at the model")
        return run(config, tell(line, "adapting", quiet=quiet))
