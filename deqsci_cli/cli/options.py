"""Options that several commands share, by the groups in which the help lists them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated

import typer

from deqsci_cli.cli import choices
from deqsci_cli.cli.config_file import use_config
from deqsci_cli.cli.log import use_log
from deqsci_cli.errors import UsageError
from deqsci_cli.runtime.device_names import DEVICES, DTYPES

#: the model that is run when none is named
DEFAULT_MODEL = "pnp"

#: the groups, in the order in which the help lists them; arguments are in none
PANELS = (None, "Input", "Camera", "Solver", "Training", "Output", "Run")
_, INPUT, CAMERA, SOLVER, TRAINING, OUTPUT, RUN = PANELS
#: the default of what a model's card decides
FROM_CARD = "from the model's card"

#: where `--frames` means something else
MaskFrames = Annotated[
    str | None,
    typer.Option(
        help="Frames of the mask that code a measurement: 10, or 10:20.", rich_help_panel=CAMERA
    ),
]
Tol = Annotated[
    float | None,
    typer.Option(
        help="Relative residual at which the equilibrium is met.",
        show_default=FROM_CARD,
        rich_help_panel=SOLVER,
    ),
]
MaxIter = Annotated[
    int | None,
    typer.Option(
        help="Largest number of evaluations, not counting the warm-up.",
        show_default=FROM_CARD,
        rich_help_panel=SOLVER,
    ),
]
Solver = Annotated[
    str | None,
    typer.Option(
        help="anderson or picard.",
        show_default=FROM_CARD,
        autocompletion=choices.offer(choices.solvers),
        rich_help_panel=SOLVER,
    ),
]
Symmetries = Annotated[
    int | None,
    typer.Option(
        help="Mean over 1, 2, 4 or 8 turned and mirrored films: better, slower.",
        show_default=FROM_CARD,
        autocompletion=choices.offer(choices.symmetries),
        rich_help_panel=SOLVER,
    ),
]
Tile = Annotated[
    str | None,
    typer.Option(
        help="Tile size for the network, to save memory: auto, none, or pixels such as 512.",
        show_default=FROM_CARD,
        autocompletion=choices.offer(("auto", "none")),
        rich_help_panel=SOLVER,
    ),
]
Device = Annotated[
    str,
    typer.Option(
        help="auto, cpu, cuda or cuda:0 …",
        envvar="DEQSCI_DEVICE",
        autocompletion=choices.offer(DEVICES),
        rich_help_panel=RUN,
    ),
]
Dtype = Annotated[
    str,
    typer.Option(
        help="float32; mixed (coarse until near the end); tf32, float64 or bfloat16.",
        autocompletion=choices.offer(DTYPES),
        rich_help_panel=RUN,
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Threads that compute.",
        envvar="DEQSCI_THREADS",
        show_default="as many as there are cores",
        rich_help_panel=RUN,
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything random.", rich_help_panel=RUN)]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="TOML file with options by name (seed = 1). The command line overrides it.",
        is_eager=True,
        callback=use_config,
        rich_help_panel=RUN,
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace outputs that exist.", rich_help_panel=OUTPUT),
]
AsJson = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON object a line on stdout.", rich_help_panel=OUTPUT),
]
Log = Annotated[
    Path | None,
    typer.Option(
        help="File to which messages are added, also those that --quiet hides.",
        callback=use_log,
        rich_help_panel=OUTPUT,
    ),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Hide messages, not errors.", rich_help_panel=OUTPUT),
]
_ALWAYS = ("as_json", "config_file", "log", "quiet")


def refuse_others(context: typer.Context, allowed: Sequence[str], why: str) -> None:
    """Refuse what was given, in the command line or `--config`, but has no meaning in this use.

    Args:
        context: of the command.
        allowed: names of the parameters that belong to this use.
        why: what follows the option's name in the error.

    Raises:
        UsageError: another one was given.
    """
    names = {option.name or "" for option in context.command.params}
    refuse(context, names - {*allowed, *_ALWAYS}, why)


def refuse(context: typer.Context, names: Collection[str], why: str) -> None:
    """Refuse some options where they were given, in the command line or `--config`.

    Args:
        context: of the command.
        names: of their parameters.
        why: what follows the option's name in the error.

    Raises:
        UsageError: one was given.
    """
    for option in context.command.params:
        source = context.get_parameter_source(option.name or "")
        given = source is not None and source.name in ("COMMANDLINE", "DEFAULT_MAP")
        if given and option.name in names:
            raise UsageError(f"{option.opts[0]} {why}")
