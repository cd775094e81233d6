"""`deqsci train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deqsci_cli.cli import console, options
from deqsci_cli.errors import UsageError

if TYPE_CHECKING:
    from deqsci_cli.engine.events import Event


def train(
    data: Annotated[list[Path], typer.Argument(help="Folders of training videos or pictures.")],
    validation: Annotated[Path, typer.Option(help="Folder of held-out clips.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The model folder to be written.")],
    stage: Annotated[str, typer.Option(help="denoiser.")] = "denoiser",
    architecture: Annotated[str, typer.Option(help="cnn, rsn-cnn or ffdnet.")] = "ffdnet",
    steps: Annotated[int, typer.Option(help="Steps in all.")] = 10_000,
    batch: Annotated[int, typer.Option(help="Patches a step.")] = 16,
    patch: Annotated[int, typer.Option(help="Side of a patch, pixels.")] = 64,
    learning_rate: Annotated[float, typer.Option(help="Highest learning rate.")] = 1e-3,
    sigma_min: Annotated[float, typer.Option(help="Least noise level, out of 255.")] = 0.0,
    sigma_max: Annotated[float, typer.Option(help="Greatest noise level, out of 255.")] = 55.0,
    validate_every: Annotated[int, typer.Option(help="Steps between two validations.")] = 500,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a model on folders of videos; it can be stopped and resumed at any time.

    The stage `denoiser` teaches a network to take Gaussian noise off single frames.
    """
    from deqsci_cli.engine import train as engine  # torch is slow to import
    from deqsci_cli.engine.device import keep_freed_memory
    from deqsci_cli.engine.events import Note, Stepped, Validated

    if stage != "denoiser":
        raise UsageError(f"there is no stage '{stage}'", hint="denoiser")
    keep_freed_memory()
    config = engine.TrainConfig(
        data=tuple(data),
        validation=validation,
        out=out,
        architecture=architecture,
        steps=steps,
        batch=batch,
        patch=patch,
        learning_rate=learning_rate,
        sigma_range=(sigma_min / 255, sigma_max / 255),
        validate_every=validate_every,
        seed=seed,
        device=device,
        resume=resume,
        overwrite=overwrite,
    )
    with console.progress("loss", shown=not quiet) as bar:
        task = bar.add_task("reading clips", total=None, loss="")

        def listen(event: Event) -> None:
            if isinstance(event, Stepped):
                bar.update(
                    task,
                    description="training",
                    completed=event.step,
                    total=event.steps,
                    loss=f"loss {event.loss:.4f}",
                )
            elif isinstance(event, Validated) and not quiet:
                figures = ", ".join(f"{k} {v:.2f} dB" for k, v in event.figures.items())
                best = " (best so far)" if event.best else ""
                console.note(f"step {event.step}: {figures}{best}")
            elif isinstance(event, Note) and not quiet:
                console.note(event.text)

        result = engine.train(config, listen)
    figure = result.figures.get("psnr")
    console.out.print(
        f"{result.out}: {result.steps} steps, best validation PSNR {console.number(figure)} dB; "
        f"use it with --model {result.out}",
        soft_wrap=True,
    )
