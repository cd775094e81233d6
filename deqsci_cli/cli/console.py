"""What the user sees: results on stdout, messages on stderr."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from deqsci_cli.cli import log
from deqsci_cli.errors import DeqsciError, visible

if TYPE_CHECKING:
    from deqsci_cli.report.report import Failure
    from deqsci_cli.runtime.events import Event, OnEvent


class _Literal(Console):
    """A console to which no text is more than text: neither markup, nor what steers a terminal."""

    def render_str(self, text: str, **_: Any) -> Text:
        return Text(visible(text, keep="\n"))

    def print(self, *objects: Any, soft_wrap: bool | None = None, **settings: Any) -> None:
        """Print; `soft_wrap` keeps a sentence on one line, but at a terminal, for its words."""
        soft_wrap = bool(soft_wrap) and not self.is_terminal
        super().print(*objects, soft_wrap=soft_wrap, **settings)


# For 80 columns to hold a table.
_SHORT = {"evaluations": "evals"}
# Wider than any table.
_WIDEST = 10_000

out = _Literal(highlight=False)
err = _Literal(stderr=True, highlight=False)


def show_error(error: DeqsciError) -> None:
    """One error, as what, where, and how to fix it."""
    _complain("error:", str(error))


def note(text: str, *, shown: bool = True) -> None:
    """A message; the log keeps it even where it is not shown."""
    if shown:
        err.print(visible(text), soft_wrap=True)
    log.write(visible(text))


def note_events(*, shown: bool) -> OnEvent:
    """A listener that passes the sentences of a run on to `note`."""
    from deqsci_cli.runtime.events import Note

    def listen(event: Event) -> None:
        if isinstance(event, Note):
            note(event.text, shown=shown)

    return listen


def json_line(record: Any) -> None:
    """One JSON object a line, for programs; what is not finite becomes null."""
    from deqsci_cli.io.provenance import plain  # its libraries are slow to import

    sys.stdout.write(json.dumps(plain(record), allow_nan=False) + "\n")
    sys.stdout.flush()


def table(title: str, *columns: str) -> Table:
    """A table whose columns after the first are right-aligned, and narrow."""
    made = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        heading = _SHORT.get(column, column).replace(" ", "\n")
        made.add_column(heading, justify="left" if index == 0 else "right", overflow="fold")
    return made


def show_table(shown: Table) -> None:
    """A table; where it is wider than the terminal, row by row, so that no cell is broken."""
    whole = out.options.update(width=_WIDEST)
    if out.measure(shown, options=whole).maximum <= out.width:
        out.print(shown)
        return
    names = [" ".join(str(column.header).split()) for column in shown.columns]
    for first, *cells in zip(*(column.cells for column in shown.columns), strict=True):
        if first:
            out.print(first, style="bold")
        facts = {name: str(cell) for name, cell in zip(names[1:], cells, strict=True) if cell}
        out.print(Padding(pairs(facts), (0, 0, 0, 2)))


def pairs(facts: dict[str, str]) -> Table:
    """Names and their values, a line each; long values go on beside their name."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(2):
        grid.add_column(overflow="fold")
    for name, value in facts.items():
        grid.add_row(name, value)
    return grid


def number(value: float | None, form: str = ".2f") -> str:
    """A figure for a table; a dash for none."""
    return "–" if value is None else format(value, form)


def show_failures(failures: list[Failure]) -> None:
    """Inputs that came to nothing, and why."""
    for failure in failures:
        _complain("failed:", failure.error)


def _complain(word: str, text: str) -> None:
    log.write(f"{word} {visible(text)}")
    err.print(Text.assemble((word, "bold red"), " ", visible(text)), soft_wrap=True)
