"""Values that are no numbers: told with their place, or replaced where that is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deqsci_cli.errors import InputError, UsageError

#: what may be done about them
NAN_POLICIES = ("refuse", "zero", "median")


def check_nan_policy(policy: str) -> str:
    """`policy` itself.

    Raises:
        UsageError: it is none of `NAN_POLICIES`.
    """
    if policy not in NAN_POLICIES:
        raise UsageError(f"there is no --nan '{policy}'", hint=f"one of {', '.join(NAN_POLICIES)}")
    return policy


def check_finite(array: np.ndarray, what: str, path: Path | None) -> None:
    """Refuse an array (·, H, W) with values that are NaN or infinite.

    Args:
        path: the file it comes from, None for none.

    Raises:
        InputError: how many there are, and where the first is.
    """
    if array.dtype.kind == "f" and not (finite := np.isfinite(array)).all():
        hint = "a capture's are replaced with --nan zero, or --nan median (of their neighbours)"
        if path is None:
            hint = "replace them, by numpy.nan_to_num for example"
        elif what == "film":  # read alone, where nothing is replaced
            hint = "write the file again without them"
        elif what == "truth":
            hint += "; --no-truth leaves the truth out"
        raise InputError(
            f"the {what} has {tell(~finite, what, 'NaN or infinite')}", path=path, hint=hint
        )


def replaced(
    array: np.ndarray, what: str, policy: str, path: Path
) -> tuple[np.ndarray, np.ndarray | None, str]:
    """An array (·, H, W) without NaN and infinities, where they were, and a sentence on that.

    Where there were none, the map is None and the sentence empty.

    Args:
        array: left as it is; a copy is made where something changes.
        what: `measurement`, `mask`, `truth` …
        policy: `zero`, or `median` of the finite values among the eight around, in the same
            picture; a patch of them is filled from its edge inwards.

    Raises:
        InputError: a picture has no finite value to take a median from; with `refuse`, any.
    """
    if array.dtype.kind != "f" or (finite := np.isfinite(array)).all():
        return array, None, ""
    if policy == "refuse":
        check_finite(array, what, path)
    if policy == "median" and not finite.any((1, 2)).all():
        raise InputError(f"a picture of the {what} has no finite value at all", path=path)
    filled = np.where(finite, array, np.nan if policy == "median" else 0)
    if policy == "median":
        for number in np.flatnonzero(~finite.all((1, 2))):
            _fill(filled[number])
    by = "the median of their neighbours" if policy == "median" else "zero"
    closed = "" if what in ("mask", "truth") else ", and not looked at"
    told = tell(~finite, what, "NaN or infinite")
    return filled, ~finite, f"the {what} has {told}; replaced by {by}{closed}"


def single(values: np.ndarray, what: str, path: Path) -> np.ndarray:
    """Values in single precision, as they are to be written.

    Raises:
        UsageError: some are NaN, infinite, or past its range.
    """
    with np.errstate(over="ignore"):
        stored = np.ascontiguousarray(values, dtype=np.float32)
    if bad := np.count_nonzero(~np.isfinite(stored)):
        raise UsageError(
            f"{bad} of {stored.size} values of {what} are past single precision, in which it is "
            "written",
            path=path,
            hint="give a smaller value of white with --scale",
        )
    return stored


def tell(bad: np.ndarray, what: str, kind: str) -> str:
    """How many values (·, H, W) are bad, and where the first of them is, counted from 0."""
    place, row, column = (int(index) for index in np.argwhere(bad)[0])
    stack = "measurement" if what == "measurement" else "frame"
    return (
        f"{np.count_nonzero(bad)} values that are {kind}, of {bad.size}, "
        f"the first at {stack} {place}, row {row}, column {column}"
    )


def _fill(picture: np.ndarray) -> None:
    """Fill the NaN of a picture (H, W) in place, those beside finite values first."""
    while (rows_columns := np.argwhere(np.isnan(picture))).size:
        padded = np.pad(picture, 1, constant_values=np.nan)
        rows, columns = rows_columns.T
        around = np.stack(
            [padded[rows + dy, columns + dx] for dy in range(3) for dx in range(3)], axis=1
        )
        known = ~np.isnan(around).all(1)
        picture[rows[known], columns[known]] = np.nanmedian(around[known], axis=1)
