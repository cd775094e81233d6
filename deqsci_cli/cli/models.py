"""`deqsci models`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from deqsci_cli.cli import console, options

models = typer.Typer(help="List the released models, or show one.", invoke_without_command=True)


@models.callback()
def list_models(context: typer.Context, as_json: options.AsJson = False) -> None:
    """List the released models."""
    if context.invoked_subcommand is not None:
        return
    from deqsci_cli import zoo  # torch is slow to import

    names = {name: [a for a, n in zoo.ALIASES.items() if n == name] for name in zoo.released()}
    cards = zoo.cards()
    if as_json:
        for card in cards:
            console.json_line(asdict(card) | {"aliases": names[card.name]})
        return
    shown = console.table("", "model")
    shown.add_column("alias")
    shown.add_column("what it is")
    for card in cards:
        shown.add_row(card.name, ", ".join(names[card.name]), card.summary)
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
    facts = asdict(model.card) | {
        "parameters": parameter_count(model.network),
        "sha256": model.sha256,
        "folder": str(model.path),
    }
    if as_json:
        console.json_line(facts)
        return
    for key, value in facts.items():
        text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
        console.out.print(f"[bold]{key}[/]: ", end="")
        console.out.print(text, markup=False, soft_wrap=True)
