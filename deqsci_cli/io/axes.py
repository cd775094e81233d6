"""Which axis of a stack is time: recorded, given, or concluded from shapes that must agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from deqsci_cli.errors import InputError, UsageError

# The two layouts in circulation: this project's own, and MATLAB's.
_LAYOUTS = ("THW", "HWT")
_SYNONYMS = str.maketrans({"N": "T", "Z": "T", "F": "T", "Y": "H", "X": "W"})


@dataclass(frozen=True)
class Stack:
    """An array whose axes are to be found: its name in messages, shape, and axes if known."""

    what: str
    shape: tuple[int, ...]
    axes: str | None


def parse_axes(text: str) -> str:
    """An option's axes as a permutation of "THW" (N, Y, X are understood as T, H, W).

    Raises:
        UsageError: if it is no permutation.
    """
    axes = text.strip().upper().translate(_SYNONYMS)
    if sorted(axes) != sorted("THW"):
        raise UsageError(
            f"--axes {text!r} is not an order of the three letters T, H, W",
            hint="for example --axes HWT, as MATLAB has it, or --axes THW",
        )
    return axes


def to_thw(array: np.ndarray, axes: str) -> np.ndarray:
    """The array as (T, H, W); one of rank 2 gets a first axis of length 1, nothing is squeezed."""
    if array.ndim == 2:
        flat = axes.replace("T", "")
        return array[None] if flat == "HW" else array.T[None]
    return array.transpose([axes.index(letter) for letter in "THW"])


def resolve(stacks: Sequence[Stack], *, path: Path) -> list[str]:
    """Find the axes of `stacks` so that all have one picture size H x W.

    Known axes stay. The open ones take the layout, (T, H, W) or (H, W, T), in which the picture
    sizes agree; where both agree, all stacks share one layout, and time is the shortest axis.

    Returns:
        For each stack its axes, a permutation of "THW".

    Raises:
        InputError: naming the shapes that no layout makes agree, or --axes where two would do.
    """
    for stack in stacks:
        if len(stack.shape) not in (2, 3):
            raise InputError(
                f"{stack.what} has the shape {stack.shape}; 2 or 3 axes are needed",
                path=path,
                hint="leave out axes of length 1, or colours, when exporting",
            )
    known = [_full(stack) for stack in stacks]
    choices = [(axes,) if axes else _LAYOUTS for axes in known]
    fitting = [
        choice
        for choice in product(*choices)
        if len({_picture(s, a) for s, a in zip(stacks, choice, strict=True)}) == 1
    ]
    if not fitting:
        shapes = ", ".join(f"{stack.what} {stack.shape}" for stack in stacks)
        raise InputError(
            f"the picture sizes do not agree: {shapes}",
            path=path,
            hint=_advice(stacks) or "check that these belong together, and that none is transposed",
        )
    open_ones = [i for i, axes in enumerate(known) if axes is None]
    # One layout for all the open stacks is likelier than a mixture.
    uniform = [c for c in fitting if len({c[i] for i in open_ones}) <= 1]
    fitting = uniform or fitting
    if len(fitting) > 1:
        deep = [i for i in open_ones if len(stacks[i].shape) == 3]
        fitting = [
            c for c in fitting if all(_time_is_shortest(stacks[i].shape, c[i]) for i in deep)
        ]
    if len(fitting) != 1:
        shapes = ", ".join(f"{stack.what} {stack.shape}" for stack in stacks)
        raise InputError(
            f"the order of the axes is open: {shapes}",
            path=path,
            hint=_advice(stacks),
        )
    return list(fitting[0])


def _advice(stacks: Sequence[Stack]) -> str | None:
    """Which orders, given for all of them, would do; those with time as the shortest axis first."""
    orders = [
        order
        for order in ("THW", "HWT", "HTW", "TWH", "WHT", "WTH")
        if len({_picture(stack, order) for stack in stacks}) == 1
    ]
    deep = [stack.shape for stack in stacks if len(stack.shape) == 3]
    short = [o for o in orders if all(_time_is_shortest(shape, o) for shape in deep)]
    chosen = [f"--axes {order}" for order in (short or orders)[:3]]
    return f"tell the order with {' or '.join(chosen)}" if chosen else None


def _full(stack: Stack) -> str | None:
    if len(stack.shape) == 2:
        # A single picture has no time axis to look for.
        return "TWH" if (stack.axes or "").replace("T", "") == "WH" else "THW"
    if stack.axes is None or sorted(stack.axes) != sorted("THW"):
        return None
    return stack.axes


def _picture(stack: Stack, axes: str) -> tuple[int, int]:
    flat = axes.replace("T", "") if len(stack.shape) == 2 else axes
    return stack.shape[flat.index("H")], stack.shape[flat.index("W")]


def _time_is_shortest(shape: tuple[int, ...], axes: str) -> bool:
    time = axes.index("T")
    return all(shape[time] < length for axis, length in enumerate(shape) if axis != time)
