"""What is to be seen of a recording: a film of many measurements."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from deqsci_cli.io import Capture, shown_frames
from deqsci_cli.report.page import Pictures
from deqsci_cli.report.report import Record

#: a capture by its path, or why it cannot be shown
CaptureOf = Callable[[str], Capture | str]


def pictures_of(record: Record, video: np.ndarray, capture_of: CaptureOf) -> Pictures:
    """The film, the first measurement, and the truth as far as it is known.

    Args:
        record: of the recording.
        video: the film, `(N T, H, W)`. Of a long one some frames are left out.
        capture_of: reads its captures.
    """
    first, chosen = record.recording[0], shown_frames(len(video))
    capture = capture_of(first.input)
    if isinstance(capture, Capture):
        shape = (len(record.recording) * capture.frames, *capture.shape)
        if first.index >= capture.count or video.shape != shape:
            capture = "Its measurement is not shown: the film is not of this capture."
    missing = [capture] if isinstance(capture, str) else []
    if chosen.step > 1:
        missing.append(f"One of {chosen.step} frames is shown.")
    if isinstance(capture, str):
        return Pictures(None, None, (video[chosen],), tuple(missing), chosen.step)
    measurement, truth = capture.measurements[first.index], _truth_of(record, capture_of)
    shown = None if truth is None else truth[chosen]
    return Pictures(measurement, shown, (video[chosen],), tuple(missing), chosen.step)


def _truth_of(record: Record, capture_of: CaptureOf) -> np.ndarray | None:
    """The truth of the frames up to the first measurement that has none."""
    known: list[np.ndarray] = []
    for one in record.recording if record.psnr is not None else ():
        capture = capture_of(one.input)
        truth = None if isinstance(capture, str) else capture.truth_of(one.index)
        if truth is None or (known and len(known[-1]) < len(known[0])):
            break
        known.append(truth)
    return np.concatenate(known) if known else None
