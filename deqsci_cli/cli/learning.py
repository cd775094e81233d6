"""What the commands say while a model learns."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from deqsci_cli.cli import console
from deqsci_cli.cli.live import Live

if TYPE_CHECKING:
    from deqsci_cli.runtime.events import Event


def tell(line: Live, what: str, *, quiet: bool) -> Callable[[Event], None]:
    """Steps move the line; what is found, and what is of note, stays.

    Args:
        line: of the run.
        what: is done, a word.
        quiet: tell nothing that stays.
    """
    from deqsci_cli.runtime.events import Note, Stepped, Validated

    def listen(event: Event) -> None:
        if isinstance(event, Stepped):
            step, steps, residual = event.step, event.steps, event.facts.get("residual")
            detail = f"loss {event.loss:.4f}"
            detail += "" if residual is None else f", residual {residual:.1e}"
            line.show(f"{what} {step}/{steps} steps", share=step / steps, detail=detail)
        elif isinstance(event, Validated):
            figures = ", ".join(f"{k} {v:.4g}" for k, v in event.figures.items())
            best = " (best so far)" if event.best else ""
            console.note(f"step {event.step}: {figures}{best}", shown=not quiet)
        elif isinstance(event, Note):
            console.note(event.text, shown=not quiet)

    return listen
