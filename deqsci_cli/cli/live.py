"""The live line of a run: what it does, how far it is, and how long it will take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.text import Text

from deqsci_cli.cli.console import err

# A terminal as narrow as this has no place for more than what is done and how long it takes.
_NARROW = 60
# Less time, or work, tells nothing of the rest.
_LEAST_SECONDS, _LEAST_SHARE = 5, 0.01
# A spinner stands still at 1, while reports are still to be written.
_ALL = 0.999


class Live:
    """A line that moves from the beginning on; nothing where stderr is no terminal.

    Args:
        bar: that shows it.
    """

    def __init__(self, bar: Progress):
        self.bar = bar
        self.task = bar.add_task("starting", total=None, detail="", remaining="")
        self.begun: tuple[float, float] | None = None

    def show(self, what: str, *, share: float | None = None, detail: str = "") -> None:
        """Say what is done now.

        Args:
            what: is done, in a few words.
            share: of the whole run that is done, in [0, 1]; None where it is not known yet.
            detail: a figure, where there is place for it.
        """
        self.bar.update(self.task, description=what, detail=detail)
        if share is None:
            return
        now = time.monotonic()
        self.begun = self.begun or (now, share)
        began, before = self.begun
        left = time_left(now - began, share - before, 1 - share)
        self.bar.update(self.task, total=1.0, completed=min(share, _ALL), remaining=left)


def time_left(passed: float, done: float, left: float) -> str:
    """How long the rest takes if it goes on as before, in words; empty where that is not known.

    Args:
        passed: seconds in which
        done: of the work was done, with
        left: of it still to do.
    """
    if passed < _LEAST_SECONDS or done < _LEAST_SHARE or not left:
        return ""
    return f"about {clock(passed * left / done)} left"


def clock(seconds: float) -> str:
    """A time as a clock shows it: 0:07, 12:30, 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class _Elapsed(ProgressColumn):
    """The time that has passed."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        return Text(clock(task.elapsed or 0) + ("," if task.fields["remaining"] else ""))


@contextmanager
def live(*, shown: bool) -> Iterator[Live]:
    """A live line on stderr while the block runs."""
    columns: list[ProgressColumn | str] = [SpinnerColumn(), "{task.description}"]
    wide = err.width > _NARROW
    if wide:
        columns += [BarColumn(bar_width=None), TextColumn("{task.fields[detail]}"), _Elapsed()]
    columns.append(TextColumn("{task.fields[remaining]}"))
    bar = Progress(
        *columns,
        console=err,
        expand=wide,
        transient=True,
        disable=not (shown and err.is_terminal),
    )
    with bar:
        yield Live(bar)
