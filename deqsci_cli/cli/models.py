"""`deqsci models`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.padding import Padding

from deqsci_cli.cli import choices, console, options, reading
from deqsci_cli.cli.examples import Grouped, epilog
from deqsci_cli.cli.inputs import expand
from deqsci_cli.cli.live import live

if TYPE_CHECKING:
    from deqsci_cli.io.read_options import ReadOptions
    from deqsci_cli.zoo import Stored

_Name = Annotated[
    str,
    typer.Argument(
        help="A released model, or a model's folder.",
        autocompletion=choices.offer(choices.models),
    ),
]

models = typer.Typer(
    help="List the released models, or show one.",
    invoke_without_command=True,
    epilog=epilog("models"),
)


@models.callback()
def list_models(context: typer.Context, as_json: options.AsJson = False) -> None:
    """List the released models."""
    if context.invoked_subcommand is not None:
        return
    from deqsci_cli import zoo  # its libraries are slow to import

    names = {name: [a for a, n in zoo.ALIASES.items() if n == name] for name in zoo.released()}
    default = zoo.find(options.DEFAULT_MODEL).name
    for card in zoo.cards():
        aliases, chosen = names[card.name], card.name == default
        if as_json:
            console.json_line(asdict(card) | {"aliases": aliases, "default": chosen})
            continue
        console.out.print(card.name, style="bold", end="")
        console.out.print("".join(f", or {a}" for a in aliases) + (" (default)" if chosen else ""))
        for text in (card.summary, f"licence of the weights: {card.licence}"):
            console.out.print(Padding(text, (0, 0, 0, 2)))


@models.command(cls=Grouped)
def show(
    name: _Name,
    history: Annotated[
        bool,
        typer.Option(
            "--history", help="Show as well how it was trained.", rich_help_panel=options.OUTPUT
        ),
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Show a model's card: its licence, how it is run, what was measured."""
    from deqsci_cli import zoo  # its libraries are slow to import

    model = zoo.look_up(name)
    count = zoo.count_numbers(model)
    if as_json:
        card = model.card
        first = {"name": card.name, "summary": card.summary, "licence": card.licence}
        last = {"parameters": count, "sha256": model.sha256, "folder": str(model.path)}
        console.json_line((first | asdict(card)) | last)
        return
    _show_head(model, count)
    for title, figures in model.card.figures.items():
        _show_figures(title, figures)
    training = model.card.training
    if training and history:
        _show_facts("history of the training", training)
    elif training:
        console.note("how it was trained: give --history")


def _show_head(model: Stored, count: int) -> None:
    card = model.card
    console.out.print(card.name, style="bold")
    facts = {
        "licence": card.licence or "none is told",
        "what it is": card.summary,
        "network": f"{card.architecture}, {count:,} parameters",
        "run with": ", ".join(f"{k} {_words(v)}" for k, v in card.equilibrium.items()),
        "folder": str(model.path),
        "sha256": model.sha256 or "no weights",
    }
    console.out.print(console.pairs(facts))


def _show_figures(title: str, figures: Any) -> None:
    """A table where all rows have the same columns, as scenes have; else name and value."""
    if not isinstance(figures, dict):
        console.out.print(f"\n{title}: {_words(figures)}")
        return
    rows = list(figures.values())
    if not all(isinstance(row, dict) and row.keys() == rows[0].keys() for row in rows):
        _show_facts(title, figures)
        return
    console.out.print(f"\n{title}", style="bold")
    shown = console.table("", "", *rows[0])
    for name, row in figures.items():
        shown.add_row(name, *map(_words, row.values()))
    console.show_table(shown)


def _show_facts(title: str, facts: dict[str, Any]) -> None:
    console.out.print(f"\n{title}", style="bold")
    console.out.print(console.pairs({name: _words(value) for name, value in facts.items()}))


def _words(value: Any) -> str:
    """A value of a card for people."""
    if isinstance(value, dict):
        return "; ".join(f"{name}: {_words(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(_words, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


@models.command(cls=Grouped)
@reading.takes_read_options("noise", lab_camera=True)
def diagnose(
    name: _Name,
    captures: Annotated[list[str], typer.Argument(help="Captures, or quoted globs.")],
    *,
    read_options: ReadOptions,
    side: Annotated[
        int,
        typer.Option(
            help="Side of the centred crop, pixels; 0 for the whole picture.",
            rich_help_panel=options.INPUT,
        ),
    ] = 128,
    evaluations: Annotated[
        int, typer.Option(help="Most evaluations of an iteration.", rich_help_panel=options.SOLVER)
    ] = 100,
    device: options.Device = "auto",
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure whether a model's iteration converges on captures, and say so in words.

    The spectral radius is the modulus of the dominant eigenvalue of the map's Jacobian at the
    fixed point, estimated by 30 Arnoldi steps. Below 1, plain iteration converges near the fixed
    point. It tells the speed of the last evaluations, and nothing of the way there: the Jacobian
    is not symmetric, so that a residual may grow before it falls.
    """
    with live(shown=not quiet) as line:
        from deqsci_cli.engine import diagnose as engine  # torch is slow to import
        from deqsci_cli.runtime.device import keep_freed_memory

        keep_freed_memory()
        config = engine.DiagnoseConfig(
            model=name,
            inputs=expand(captures).paths,
            read_options=read_options,
            side=side or None,
            evaluations=evaluations,
            device=device,
        )
        line.show("measuring")
        diagnoses = engine.diagnose(config, console.note_events(shown=not quiet))
    if as_json:
        for diagnosis in diagnoses:
            console.json_line(asdict(diagnosis))
        return
    shown = console.table("", "capture", "spectral radius", "± error", "plain", "accelerated")
    shown.add_column("converges")
    for each in diagnoses:
        shown.add_row(
            each.input,
            f"{each.spectral_radius:.3f}",
            f"{each.error:.3f}",
            _decay(each.plain),
            _decay(each.accelerated),
            each.verdict,
        )
    console.show_table(shown)


def _decay(residual_trace: list[float]) -> str:
    """A residual and after how many evaluations."""
    return f"{min(residual_trace):.0e} in {len(residual_trace)}"
