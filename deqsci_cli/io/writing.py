"""Writing a capture in any of the array formats, such that reading it gives the same back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from deqsci_cli.errors import UsageError
from deqsci_cli.io.atomic import atomic_write
from deqsci_cli.io.formats import format_for
from deqsci_cli.io.nan_policy import single
from deqsci_cli.io.provenance import to_json
from deqsci_cli.io.scale import check_scale
from deqsci_cli.io.tiff import FORMAT as TIFF


def write_capture(
    path: str | Path,
    *,
    measurements: np.ndarray,
    mask: np.ndarray,
    truth: np.ndarray | None = None,
    scale: float,
    provenance: Mapping[str, Any],
    overwrite: bool,
    unseen: np.ndarray | None = None,
) -> None:
    """Write a capture as .mat (v5), .h5/.hdf5 or .tif/.tiff, by the ending.

    Variables `meas`, `mask`, `orig`, with `scale` and `provenance` recorded. Measurements and
    truth are stored as value * scale; whole numbers go into uint8 or uint16 where they fit, else
    float32. MATLAB files have the layout (H, W, ·), the others (·, H, W).

    Args:
        measurements: (N, H, W) or (H, W), for frames in [0, 1]; (N, K, H, W) of K arms.
        mask: (T, H, W); (K, T, H, W) of K arms.
        truth: (F, H, W) in [0, 1].
        unseen: booleans as the measurements: pixels that tell nothing, written as NaN.

    Raises:
        UsageError: for an ending that is none of these, or values that are not finite in the file.
        OutputExistsError, StorageError: see `atomic_write`.
    """
    target = Path(path)
    form = format_for(target)
    check_format(target, 1 if mask.ndim == 3 else len(mask))
    check_scale(scale)
    white = np.float64(scale)
    stacks = {
        "meas": _compact(_stack(measurements) * white, (np.uint16,), target),
        "mask": _compact(_stack(mask), (np.uint8,), target),
    }
    if truth is not None:
        stacks["orig"] = _compact(_stack(truth) * white, (np.uint8, np.uint16), target)
    if unseen is not None and unseen.any():
        stacks["meas"] = np.where(_stack(unseen), np.float32("nan"), stacks["meas"])
    attributes = {"scale": float(scale), "provenance": to_json(provenance)}
    with atomic_write(target, overwrite=overwrite) as temporary:
        form.write(temporary, stacks, attributes)


def check_format(path: Path, arms: int) -> None:
    """Refuse a format in which a capture of so many arms is not written.

    Raises:
        UsageError: it is TIFF, which has no axis for them.
    """
    if arms > 1 and path.suffix.lower() in TIFF.suffixes:
        raise UsageError(
            "a TIFF has no axis for the arms of a camera", path=path, hint="write .mat or .h5"
        )


def _stack(array: np.ndarray) -> np.ndarray:
    return array[None] if array.ndim == 2 else array


def _compact(values: np.ndarray, integers: tuple[type, ...], path: Path) -> np.ndarray:
    """Whole numbers in the first integer type that holds them exactly; float32 for the rest."""
    # float32 arithmetic leaves whole numbers off by an ulp or so; that is no information.
    whole = np.rint(values)
    if np.allclose(values, whole, rtol=2.0**-22, atol=0) and whole.min() >= 0:
        for dtype in integers:
            if whole.max() <= np.iinfo(dtype).max:
                return np.asarray(whole, dtype)
    return single(values, "the capture", path)
