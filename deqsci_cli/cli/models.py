"""`deqsci models`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from deqsci_cli.cli import console, options

if TYPE_CHECKING:
    from deqsci_cli.io.read_options import ReadOptions

models = typer.Typer(help="List the released models, or show one.", invoke_without_command=True)


@models.callback()
def list_models(context: typer.Context, as_json: options.AsJson = False) -> None:
    """List the released models."""
    if context.invoked_subcommand is not None:
        return
    from deqsci_cli import zoo  # torch is slow to import

    names = {name: [a for a, n in zoo.ALIASES.items() if n == name] for name in zoo.released()}
    default = zoo.find(options.DEFAULT_MODEL).name
    cards = zoo.cards()
    if as_json:
        for card in cards:
            facts = {"aliases": names[card.name], "default": card.name == default}
            console.json_line(asdict(card) | facts)
        return
    shown = console.table("", "model")
    for column in ("alias", "what it is", "licence of the weights"):
        shown.add_column(column, overflow="fold")
    for card in cards:
        alias = ", ".join(names[card.name]) + (" (default)" if card.name == default else "")
        shown.add_row(card.name, alias, card.summary, card.licence)
    console.out.print(shown)


@models.command()
def show(
    name: Annotated[str, typer.Argument(help="A released model, or a model's folder.")],
    as_json: options.AsJson = False,
) -> None:
    """Show a model's card: how it is run, how it was trained, what was measured."""
    from deqsci_cli import zoo  # torch is slow to import
    from deqsci_cli.networks.registry import parameter_count

    model = zoo.load(name)
    first = {"name": model.card.name, "summary": model.card.summary, "licence": model.card.licence}
    facts = (first | asdict(model.card)) | {
        "parameters": parameter_count(model.network),
        "sha256": model.sha256,
        "folder": str(model.path),
    }
    if as_json:
        console.json_line(facts)
        return
    for key, value in facts.items():
        text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
        console.out.print(key, style="bold", end=": ")
        console.out.print(text, soft_wrap=True)


@models.command()
@options.takes_read_options()
def diagnose(
    name: Annotated[str, typer.Argument(help="A released model, or a model's folder.")],
    captures: Annotated[list[str], typer.Argument(help="Captures, or quoted globs.")],
    *,
    read_options: ReadOptions,
    side: Annotated[
        int, typer.Option(help="Side of the centred crop, pixels; 0 for the whole picture.")
    ] = 128,
    evaluations: Annotated[int, typer.Option(help="Most evaluations of an iteration.")] = 100,
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
    from deqsci_cli.engine import diagnose as engine  # torch is slow to import
    from deqsci_cli.runtime.device import keep_freed_memory
    from deqsci_cli.runtime.events import Event, Note

    def listen(event: Event) -> None:
        if isinstance(event, Note) and not quiet:
            console.note(event.text)

    keep_freed_memory()
    config = engine.DiagnoseConfig(
        model=name,
        inputs=options.expand(captures).paths,
        read_options=read_options,
        side=side or None,
        evaluations=evaluations,
        device=device,
    )
    diagnoses = engine.diagnose(config, listen)
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
    console.out.print(shown)


def _decay(residual_trace: list[float]) -> str:
    """A residual and after how many evaluations."""
    return f"{min(residual_trace):.0e} in {len(residual_trace)}"
