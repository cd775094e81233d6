"""Captures of one camera, read together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deqsci_cli.errors import InputError
from deqsci_cli.io import Capture, load_capture
from deqsci_cli.io.read_options import ReadOptions
from deqsci_cli.runtime.events import Note, OnEvent


def load_each(
    paths: Sequence[Path], read_options: ReadOptions, command: str, on_event: OnEvent
) -> list[Capture]:
    """Read captures without their truth; what was noticed on the way is told.

    Args:
        paths: their files.
        read_options: how they are to be understood.
        command: what asks for them, and cannot use those of several arms.
        on_event: told.

    Raises:
        InputError: one cannot be read.
        UsageError: one has several arms.
    """
    captures = []
    for path in paths:
        capture = load_capture(path, read_options, truth=False)
        capture.need_one_arm(command)
        for sentence in capture.notes:
            on_event(Note(f"{path.name}: {sentence}"))
        captures.append(capture)
    return captures


def together(captures: Sequence[Capture]) -> tuple[np.ndarray, np.ndarray | None, float]:
    """Their measurements as those of one file.

    Returns:
        The measurements `(N, H, W)` in the first one's unit; booleans `(N, H, W)`, pixels that
        tell something, None for all; and that unit's scale.

    Raises:
        InputError: a capture has another mask than the first.
    """
    first = captures[0]
    stacks, maps = [], []
    for capture in captures:
        if not np.array_equal(capture.mask, first.mask):
            raise InputError(
                f"its mask is not that of {first.path.name}",
                path=capture.path,
                hint="give captures of one camera, or its mask with --mask",
            )
        stacks.append(capture.measurements * np.float32(capture.scale / first.scale))
        unseen = capture.unseen
        maps.append(np.zeros(capture.measurements.shape, bool) if unseen is None else unseen > 0)
    y, hidden = np.concatenate(stacks), np.concatenate(maps)
    return y, (~hidden if hidden.any() else None), first.scale
