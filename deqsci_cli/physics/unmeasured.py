"""What stands in a measurement where the camera measures nothing."""

from __future__ import annotations

import torch
from torch import Tensor


def fill_unmeasured(values: Tensor, measured: Tensor) -> Tensor:
    """Put the mean of the measured values where nothing is measured.

    Args:
        values: `(B, …)`.
        measured: booleans, `(B or 1, …)`.

    Returns:
        `(B, …)`; zeros for a sample in which nothing is measured.
    """
    known = torch.where(measured, values, 0.0)
    total, count = known, measured
    # Row by row: one long sum would depend on how many threads take part in it.
    while total.ndim > 1:
        total, count = total.sum(-1), count.sum(-1)
    mean = total / count.clamp(min=1)
    return torch.where(measured, known, mean.view(-1, *[1] * (values.ndim - 1)))
