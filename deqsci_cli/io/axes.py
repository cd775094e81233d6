"""Which axis of a stack is time: recorded, given, or concluded from shapes that must agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from deqsci_cli.errors import InputError, UsageError

Pictures = TypeVar("Pictures", bound=Any)

# The two layouts in circulation: this project's own, and MATLAB's.
_LAYOUTS = ("THW", "HWT")
# With time in each place: what a picture's sizes alone can tell from one another.
_PLACES = ("THW", "HWT", "HTW")
_ORDERS = ("THW", "HWT", "HTW", "TWH", "WHT", "WTH")
_SYNONYMS = str.maketrans({"N": "T", "Z": "T", "F": "T", "Y": "H", "X": "W"})


@dataclass(frozen=True)
class Stack:
    """An array whose axes are to be found: its name in messages, shape, and axes if known.

    `assumed` axes are the usual ones of the file's format: nothing in the file says so. Of one that
    is `turned`, the rows are the columns of the others.
    """

    what: str
    shape: tuple[int, ...]
    axes: str | None
    assumed: bool = False
    turned: bool = False


def parse_axes(text: str) -> str:
    """An option's axes as a permutation of "THW" (N, Y, X are understood as T, H, W).

    >>> parse_axes("yxn")
    'HWT'

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
    Axes found or assumed so must be the only ones that fit, or have time as the shortest axis.

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
    if len(fitting) != 1 or _has_rival(stacks, fitting[0]):
        shapes = ", ".join(f"{stack.what} {stack.shape}" for stack in stacks)
        raise InputError(
            f"the order of the axes is open: {shapes}{_as_usual(stacks)}",
            path=path,
            hint=_advice(stacks),
        )
    return list(fitting[0])


def _has_rival(stacks: Sequence[Stack], chosen: Sequence[str]) -> bool:
    """Whether another order fits as well, and time, as the shortest axis, does not tell them apart.

    The rivals are orders that --axes could give to all stacks.
    """
    deep = [(stack, axes) for stack, axes in zip(stacks, chosen, strict=True) if _is_deep(stack)]
    free = [(stack, axes) for stack, axes in deep if stack.assumed or _full(stack) is None]
    orders = {axes for _, axes in free}
    if not free or not {axes for _, axes in deep} <= orders:
        return False
    if len(orders) == 1 and all(_time_is_shortest(stack.shape, axes) for stack, axes in free):
        return False
    return any(order not in orders or len(orders) > 1 for order in _fitting(stacks, _PLACES))


def _as_usual(stacks: Sequence[Stack]) -> str:
    """What the format's usual order would make of the last of the stacks, as half a sentence."""
    for stack in reversed(stacks):
        if stack.assumed and stack.axes and _is_deep(stack):
            height, width = _picture(stack, stack.axes)
            frames = stack.shape[stack.axes.index("T")]
            return f"; as {stack.axes} these are {frames} frames of {height} x {width} pixels"
    return ""


def _advice(stacks: Sequence[Stack]) -> str | None:
    """Which orders, given for all of them, would do; those with time as the shortest axis first."""
    orders = _fitting(stacks, _ORDERS)
    deep = [stack.shape for stack in stacks if _is_deep(stack)]
    orders.sort(key=lambda order: not all(_time_is_shortest(shape, order) for shape in deep))
    return f"tell the order with --axes {' or --axes '.join(orders)}" if orders else None


def _fitting(stacks: Sequence[Stack], orders: Sequence[str]) -> list[str]:
    """Those orders that, given to all stacks, make the picture sizes agree."""
    return [order for order in orders if len({_picture(stack, order) for stack in stacks}) == 1]


def _full(stack: Stack) -> str | None:
    if len(stack.shape) == 2:
        # A single picture has no time axis to look for.
        return "TWH" if (stack.axes or "").replace("T", "") == "WH" else "THW"
    if stack.axes is None or sorted(stack.axes) != sorted("THW"):
        return None
    return stack.axes


def _picture(stack: Stack, axes: str) -> tuple[int, int]:
    axes = axes if _is_deep(stack) else axes.replace("T", "")
    height, width = stack.shape[axes.index("H")], stack.shape[axes.index("W")]
    return (width, height) if stack.turned else (height, width)


def _is_deep(stack: Stack) -> bool:
    return len(stack.shape) == 3


def _time_is_shortest(shape: tuple[int, ...], axes: str) -> bool:
    time = axes.index("T")
    return all(shape[time] < length for axis, length in enumerate(shape) if axis != time)


def centre(have: int, want: int) -> int:
    """Where the middle `want` of `have` pixels begin; 0 where there are fewer."""
    return max(0, have - want) // 2


def centre_crop(pictures: Pictures, side: int | None) -> Pictures:
    """The centre of the last two axes.

    Args:
        pictures: `(..., H, W)`, an array or a tensor.
        side: of the square, pixels; less where a picture is smaller, all of it for None.

    Returns:
        A view.
    """
    if side is None:
        return pictures
    top, left = (centre(length, side) for length in pictures.shape[-2:])
    middle: Pictures = pictures[..., top : top + side, left : left + side]
    return middle
