"""`deqsci adapt`."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deqsci_cli.cli import console, options

if TYPE_CHECKING:
    from deqsci_cli.io.read_options import ReadOptions
    from deqsci_cli.runtime.events import Event


@options.takes_read_options("frames", "no_truth", "truth_key", "arms", "noise")
def adapt(
    captures: Annotated[
        list[str],
        typer.Argument(help="Captures of one camera: files, folders, quoted globs, @list.txt."),
    ],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The model folder to be written.")],
    model: Annotated[
        str, typer.Option(help="The model that is adapted: a name, or a folder.")
    ] = options.DEFAULT_MODEL,
    mask_frames: Annotated[
        str | None, typer.Option(help="Frames of the mask that code a measurement: 10, or 10:20.")
    ] = None,
    read_options: ReadOptions,
    steps: Annotated[int, typer.Option(help="At most; it ends by itself before.")] = 120,
    batch_size: Annotated[int, typer.Option(help="Pieces of measurements a step.")] = 2,
    patch_size: Annotated[int, typer.Option(help="Their side, pixels.")] = 64,
    learning_rate: Annotated[float, typer.Option(help="Learning rate.")] = 1e-4,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Adapt a model to a camera and its scenes by their captures alone; no truth is needed.

    Pixels of the measurements are hidden, and the model learns to predict them. What it predicts
    of others, which no step sees, tells when it is at its best.

    deqsci adapt night/*.mat --camera lab.h5 -o lab-pnp, then
    deqsci reconstruct night/ --camera lab.h5 --model ./lab-pnp
    """
    from deqsci_cli.engine.adapt import AdaptConfig
    from deqsci_cli.engine.adapt import adapt as run
    from deqsci_cli.runtime.device import keep_freed_memory
    from deqsci_cli.runtime.events import Note, Stepped, Validated

    keep_freed_memory()
    config = AdaptConfig(
        captures=options.expand(captures, besides=read_options.files().values()).paths,
        out=out,
        model=model,
        read_options=replace(read_options, frames=mask_frames),
        steps=steps,
        batch_size=batch_size,
        patch_size=patch_size,
        learning_rate=learning_rate,
        seed=seed,
        device=device,
        overwrite=overwrite,
    )
    with console.progress("loss", shown=not quiet) as bar:
        task = bar.add_task("looking at the model", total=None, loss="")

        def listen(event: Event) -> None:
            if isinstance(event, Stepped):
                bar.update(
                    task,
                    description="adapting",
                    completed=event.step,
                    total=event.steps,
                    loss=f"loss {event.loss:.4f}",
                )
            elif isinstance(event, Validated) and not quiet:
                figures = ", ".join(f"{k} {v:.4g}" for k, v in event.figures.items())
                console.note(f"step {event.step}: {figures}{' (best so far)' * event.best}")
            elif isinstance(event, Note) and not quiet:
                console.note(event.text)

        done = run(config, listen)
    if as_json:
        console.json_line(asdict(done))
        return
    before, after = done.before["held_out"], done.after["held_out"]
    if not done.step:
        console.note(f"no step made {model} better on these captures: {done.out} is {model}")
    console.out.print(
        f"{done.out}: held-out score {before:.4f} before, {after:.4f} after {done.step} steps; "
        f"use it with --model {done.out}",
        soft_wrap=True,
    )
