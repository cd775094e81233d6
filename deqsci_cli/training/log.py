"""What a training leaves to be read: `log.jsonl`, and TensorBoard's files where asked for."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

from deqsci_cli.errors import UsageError
from deqsci_cli.io.atomic import atomic_write, storage_errors
from deqsci_cli.io.json_file import parse_json, read_regular
from deqsci_cli.io.paths import open_plain
from deqsci_cli.io.provenance import to_json

LOG = "log.jsonl"

# A line has some 300 bytes.
_MOST_BYTES = 256_000_000


class TrainingLog:
    """The figures of a run, a line for each validation.

    Args:
        folder: of the run.
        step: where the run stands; what a killed run has written beyond it is taken out.
        tensorboard: write for TensorBoard as well.

    Raises:
        UsageError: a link or the like lies in the log's place.
    """

    def __init__(self, folder: Path, *, step: int, tensorboard: bool):
        self.path, self.boards = folder / LOG, folder / "tensorboard"
        there = self._is_there()  # what could not be written to later is told now
        #: how many lines could not be read, and were taken out
        self.damaged = self._cut(step) if step and there else 0
        self._begun = step > 0
        self.board: Any = _board(self.boards, step) if tensorboard else None

    def begin(self) -> None:
        """Empty the log of a run that this one replaces, once there is something in its place."""
        if not self._begun and self._is_there():
            self._cut(0)
        self._begun = True

    def _is_there(self) -> bool:
        """Whether there is a log; what is none, but lies in its place, is refused."""
        if not os.path.lexists(self.path):
            return False
        with storage_errors(self.path):
            os.close(open_plain(self.path, os.O_RDWR))
        return True

    def _cut(self, step: int) -> int:
        """Take out what lies beyond a step, and what cannot be read: the number of the latter."""
        lines = read_regular(self.path, most=_MOST_BYTES).splitlines(keepends=True)
        steps = [_step(line) for line in lines]
        kept = [
            line for line, at in zip(lines, steps, strict=True) if at is not None and at <= step
        ]
        with atomic_write(self.path, overwrite=True) as temporary:
            temporary.write_bytes(b"".join(kept))
        return steps.count(None)

    def write(self, step: int, figures: dict[str, float]) -> None:
        """One line, figures by name."""
        self.begin()
        with storage_errors(self.path):
            descriptor = open_plain(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            with os.fdopen(descriptor, "a", encoding="utf-8") as file:
                file.write(to_json({"step": step} | figures) + "\n")
        # Means over steps would lie on the curves of the steps themselves.
        self.plot(step, {k: v for k, v in figures.items() if not k.startswith("train/")})

    def plot(self, step: int, figures: dict[str, float]) -> None:
        """Figures for TensorBoard alone."""
        if self.board is not None:
            with storage_errors(self.boards):
                for name, value in figures.items():
                    self.board.add_scalar(name, value, step)

    def close(self) -> None:
        """Write the rest of what is for TensorBoard."""
        if self.board is not None:
            with storage_errors(self.boards):
                self.board.close()


def _step(line: bytes) -> int | None:
    """The step of a line; None for one that is damaged, or that a killed run has begun."""
    try:
        content = parse_json(line)
    except ValueError:
        return None
    step = content.get("step") if isinstance(content, dict) else None
    return step if type(step) is int and step >= 0 and line.endswith(b"\n") else None


def _board(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UsageError(
            "TensorBoard is not installed", hint="pip install 'deqsci[train]'"
        ) from error
    try:
        str(folder).encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            "TensorBoard writes into no folder whose name is not UTF-8",
            path=folder,
            hint="rename it",
        ) from error
    threading.excepthook = _complain
    with storage_errors(folder):
        return SummaryWriter(str(folder), purge_step=step + 1)


def _complain(told: threading.ExceptHookArgs) -> None:
    """Leave out what TensorBoard's thread could not write: its next call here raises it anew."""
    board = type(told.thread).__module__.startswith("tensorboard.")
    if not (board and issubclass(told.exc_type, OSError)):
        threading.__excepthook__(told)
