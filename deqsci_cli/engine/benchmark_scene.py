"""What a benchmark takes of a capture: measurements, alone or several as one, and their truth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deqsci_cli.engine.sweep import Given
from deqsci_cli.io import Capture


def name_of(capture: Capture, chosen: Sequence[int]) -> str:
    """What a measurement, or a recording, is called wherever it is shown."""
    if len(chosen) == capture.count:
        return capture.path.stem
    last = f" to #{chosen[-1]}" if len(chosen) > 1 else ""
    return f"{capture.path.stem} #{chosen[0]}{last}"


def given_of(capture: Capture, chosen: Sequence[int]) -> Given:
    """Measurements (N, H, W) as they are."""
    maps = [capture.seen(index) for index in chosen]
    whole = np.ones(capture.shape, bool)
    seen = np.stack([whole if each is None else each for each in maps])
    return Given(capture.measurements[list(chosen)], capture.mask, None if seen.all() else seen)


def truth_of(capture: Capture, chosen: Sequence[int]) -> np.ndarray:
    """The truth of measurements that follow one another, as far as it goes."""
    known = [truth for index in chosen if (truth := capture.truth_of(index)) is not None]
    return np.concatenate(known)
