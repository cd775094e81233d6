"""The eight ways in which a picture can lie: turned and mirrored."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

#: what is done to the last two axes `(…, H, W)`; the first leaves them as they are
ORIENTATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as-is": lambda a: a,
    "flip-rows": lambda a: a[..., ::-1, :],
    "flip-columns": lambda a: a[..., ::-1],
    "rotate-180": lambda a: a[..., ::-1, ::-1],
    "transpose": lambda a: a.swapaxes(-1, -2),
    "rotate-90": lambda a: a.swapaxes(-1, -2)[..., ::-1, :],
    "rotate-270": lambda a: a.swapaxes(-1, -2)[..., ::-1],
    "anti-transpose": lambda a: a.swapaxes(-1, -2)[..., ::-1, ::-1],
}


def turns(orientation: str) -> bool:
    """Whether rows become columns."""
    return orientation in ("transpose", "rotate-90", "rotate-270", "anti-transpose")
