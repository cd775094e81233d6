"""Several arms: measurements of the same frames, each through a mask of its own.

In memory a capture of K arms has measurements `(N, K, H, W)` and masks `(K, T, H, W)`; one of a
single arm has `(N, H, W)` and `(T, H, W)`. In files, MATLAB has `meas` (H, W, K[, N]) and `mask`
(H, W, T, K), the others have ([N,] K, H, W) and (K, T, H, W).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deqsci_cli.errors import InputError, UsageError

#: two arms, of which the second has the light that the first one's mask holds back
COMPLEMENT = "complement"
# A pixel's K x K matrix is inverted; more arms than frames tell nothing more.
_MOST = 16
_LAYOUTS = ("THW", "HWT")
_FORMS = {
    "measurement": "--arms K goes with (H, W, K[, N]) in MATLAB files, else ([N,] K, H, W)",
    "mask": "--arms K goes with (H, W, T, K) in MATLAB files, else (K, T, H, W); --arms complement "
    "with one mask for two arms",
}


def count_arms(text: str | None) -> int:
    """How many arms a text tells: a number, or `complement` for two.

    Raises:
        UsageError: it tells none.
    """
    if text is None:
        return 1
    if text == COMPLEMENT:
        return 2
    if text.isascii() and text.isdigit() and 1 <= int(text) <= _MOST:
        return int(text)
    raise UsageError(
        f"the arms '{text}' are not understood",
        hint=f"a number from 1 to {_MOST}, or {COMPLEMENT}: the mask of the second is what the "
        "first one's holds back",
    )


def complement(mask: np.ndarray) -> np.ndarray:
    """The mask `(T, H, W)` that lets through what another one holds back."""
    return np.asarray(mask.max() - mask)


def layout_of(axes: str | None, *, matlab: bool, given: str | None) -> str:
    """Whether an array of four axes has its pictures last (`THW`) or first (`HWT`).

    Args:
        axes: as its file tells them.
        matlab: the file is one of MATLAB's.
        given: as the user tells them.

    Raises:
        UsageError: he tells another order.
    """
    if given is not None:
        if given not in _LAYOUTS:
            raise UsageError(
                f"--axes {given} is no order that captures of several arms have",
                hint=f"one of {', '.join(_LAYOUTS)}",
            )
        return given
    return "HWT" if matlab or (axes or "").startswith("HW") else "THW"


def folded_shape(shape: Sequence[int], layout: str) -> tuple[int, ...]:
    """The shape of `folded`, of the same axes."""
    if len(shape) != 4:
        return tuple(shape)
    if layout == "HWT":
        return shape[0], shape[1], math.prod(shape[2:])
    return math.prod(shape[:2]), shape[2], shape[3]


def folded(array: np.ndarray, layout: str) -> np.ndarray:
    """An array of four axes as one of three: a measurement's arms, or an arm's frames, together."""
    if array.ndim != 4:
        return array
    shape = folded_shape(array.shape, layout)
    return array.reshape(shape, order="F") if layout == "HWT" else array.reshape(shape)


def together(arms: Sequence[np.ndarray], axis: int) -> np.ndarray:
    """Arrays of all arms with a new axis for them; that of a single one as it is."""
    return arms[0] if len(arms) == 1 else np.stack(arms, axis)


def check_arms(
    shape: Sequence[int], what: str, wanted: int, layout: str, frames: int, path: Path
) -> None:
    """Refuse a measurement or a mask that has not as many arms as are told.

    Args:
        shape: as stored.
        what: `measurement` or `mask`.
        wanted: the number of arms.
        layout: see `layout_of`.
        frames: the length of `folded`.
        path: the file.

    Raises:
        InputError: it has more or fewer.
    """
    if len(shape) == 4:
        place = {"mask": {"THW": 0, "HWT": 3}, "measurement": {"THW": 1, "HWT": 2}}[what][layout]
        have = shape[place]
    else:  # a mask of one arm; one measurement with all of its arms
        have = 1 if what == "mask" else frames
    if have != wanted:
        raise InputError(
            f"the {what} {tuple(shape)} is of {have} arm(s), not of {wanted}",
            path=path,
            hint=_FORMS[what],
        )
