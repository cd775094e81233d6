"""`deqsci train`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deqsci_cli.cli import choices, console, options
from deqsci_cli.cli.learning import tell
from deqsci_cli.cli.live import live
from deqsci_cli.runtime.device_names import DEVICES

if TYPE_CHECKING:
    from deqsci_cli.training.train import TrainResult


def train(
    data: Annotated[
        list[Path] | None, typer.Argument(help="Folders of training videos or pictures.")
    ] = None,
    validation: Annotated[
        Path | None, typer.Option(help="Folder of held-out clips.", rich_help_panel=options.INPUT)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="The model folder to be written.", rich_help_panel=options.OUTPUT
        ),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(
            help="TOML file of settings, or a released model to use its recipe. Other options "
            "override it.",
            autocompletion=choices.offer(choices.models),
            rich_help_panel=options.RUN,
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="One more setting, as in the file: solve.sigma=0.04 …",
            rich_help_panel=options.RUN,
        ),
    ] = None,
    stage: Annotated[
        str | None,
        typer.Option(
            help="denoiser or equilibrium.",
            autocompletion=choices.offer(choices.stages),
            rich_help_panel=options.TRAINING,
        ),
    ] = None,
    init_from: Annotated[
        str | None,
        typer.Option(
            "--init-from",
            help="Model whose weights to start from.",
            autocompletion=choices.offer(choices.models),
            rich_help_panel=options.TRAINING,
        ),
    ] = None,
    architecture: Annotated[
        str | None,
        typer.Option(
            help="cnn, rsn-cnn, ffdnet, rnn or video.",
            autocompletion=choices.offer(choices.architectures),
            rich_help_panel=options.TRAINING,
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Steps in all.", rich_help_panel=options.TRAINING)
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            help="Stop after this many minutes instead; resumed runs are added up.",
            rich_help_panel=options.TRAINING,
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            help="Patches, or captures, a step.",
            rich_help_panel=options.TRAINING,
        ),
    ] = None,
    patch_size: Annotated[
        int | None, typer.Option(help="Side of a patch, pixels.", rich_help_panel=options.TRAINING)
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Highest learning rate.", rich_help_panel=options.TRAINING)
    ] = None,
    validate_every: Annotated[
        int | None,
        typer.Option(
            help="Steps between two validations.",
            rich_help_panel=options.TRAINING,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Seed of everything random.", rich_help_panel=options.RUN),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="auto, cpu, cuda or cuda:0 …",
            envvar="DEQSCI_DEVICE",
            autocompletion=choices.offer(DEVICES),
            rich_help_panel=options.RUN,
        ),
    ] = None,
    threads: options.Threads = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            help="float32, tf32 or bfloat16.",
            autocompletion=choices.offer(choices.training_dtypes),
            rich_help_panel=options.RUN,
        ),
    ] = None,
    tensorboard: Annotated[
        bool,
        typer.Option(
            "--tensorboard", help="Log for TensorBoard, in --out.", rich_help_panel=options.OUTPUT
        ),
    ] = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with the run in --out.", rich_help_panel=options.RUN),
    ] = False,
    overwrite: options.Overwrite = False,
    log: options.Log = None,
    quiet: options.Quiet = False,
) -> None:
    """Train a model on folders of videos; it can be stopped and resumed at any time.

    Stage `denoiser` trains the network to remove Gaussian noise from frames, or from films if the
    network takes films. Stage `equilibrium` trains it through the fixed point of the solver.
    Several GPUs: `torchrun --nproc-per-node 2 -m deqsci_cli train …`.
    """
    from deqsci_cli import zoo
    from deqsci_cli.config import override, read_toml

    recipe = None if config is None else zoo.find_recipe(config)
    given: dict[str, Any] = {
        "data": [str(path) for path in data or []] or None,
        "validation": validation and str(validation),
        "out": out and str(out),
        "stage": stage,
        "init_from": init_from,
        "architecture": architecture,
        "steps": steps,
        # Steps that are asked for override the minutes of a recipe.
        "minutes": 0.0 if minutes is None and steps is not None else minutes,
        "batch_size": batch_size,
        "patch_size": patch_size,
        "learning_rate": learning_rate,
        "validate_every": validate_every,
        "seed": seed,
        "device": device,
        "dtype": dtype,
        "tensorboard": tensorboard or None,
        "resume": resume or None,
        "overwrite": overwrite or None,
    }
    table = {} if recipe is None else read_toml(recipe)
    table |= {name: value for name, value in given.items() if value is not None}
    result = _run(override(table, settings or []), recipe, threads, quiet=quiet)
    if result is None:
        return
    figure = result.figures.get("psnr")
    console.out.print(
        f"{result.out}: {result.steps} steps, best validation PSNR {console.number(figure)} dB; "
        f"use it with --model {zoo.argument_for(result.out)}",
        soft_wrap=True,
    )


def _run(
    table: dict[str, Any], recipe: Path | None, threads: int | None, *, quiet: bool
) -> TrainResult | None:
    """Train; None in a process that is not the first of several."""
    from deqsci_cli.config import build
    from deqsci_cli.errors import UsageError

    with live(shown=not quiet and os.environ.get("RANK", "0") == "0") as line:
        from deqsci_cli.runtime.device import keep_freed_memory, use_threads
        from deqsci_cli.training import train as engine  # torch is slow to import
        from deqsci_cli.training.parallel import is_first
        from deqsci_cli.training.settings import TrainConfig
        from deqsci_cli.training.setup import take_over_solve

        keep_freed_memory()
        use_threads(threads)
        run = build(TrainConfig, take_over_solve(table), path=recipe)
        line.show("reading clips")
        listen = tell(line, "training", quiet=quiet)
        try:
            result = engine.train(run, listen, recipe_file=recipe)
        except UsageError as error:  # a setting that is found wrong only where it is used
            error.path = error.path or recipe
            raise
        return result if is_first() else None
