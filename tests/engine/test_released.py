"""The released models on the sample capture: they settle, and better than what learned nothing.

A crop, so that it takes seconds; the figures of whole scenes are in benchmarks/README.md.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deqsci_cli import zoo
from deqsci_cli.io import load_capture
from deqsci_cli.physics.masks import make_mask
from deqsci_cli.reconstructor import reconstruct
from deqsci_cli.report.metrics import compute_metrics

SAMPLE = Path(__file__).resolve().parents[2] / "sample_data" / "wheel.mat"
PLACE = np.s_[..., 24:88, 24:88]
LEARNED = [name for name in zoo.released() if zoo.read_card(zoo.find(name)).training]
learned = pytest.mark.parametrize("name", LEARNED)


@pytest.fixture(scope="module")
def sample() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Measurement, mask and truth."""
    capture = load_capture(SAMPLE)
    arrays = capture.measurements[0], capture.mask, capture.truth_of(0)
    return tuple(np.ascontiguousarray(a[PLACE]) for a in arrays)


@learned
def test_it_settles_and_beats_total_variation(name, sample):
    measurement, mask, truth = sample
    found = reconstruct(measurement, mask, name)
    plain = reconstruct(measurement, mask, "gap-tv")
    assert found.status == ["converged"]
    ours, theirs = (compute_metrics(s.video, truth) for s in (found, plain))
    assert ours["ssim"] > theirs["ssim"] + 0.01
    assert ours["psnr"] > theirs["psnr"] - 0.1  # pnp-rsn-cnn equals it, the others gain 2 dB


@learned
@pytest.mark.parametrize(
    ("frames", "kind"), [(1, "grey"), (3, "binary"), (14, "grey"), (20, "shifting")]
)
def test_any_number_of_frames_and_any_mask(name, frames, kind):
    """A moving edge, filmed by a camera that no model was trained for."""
    rng = np.random.default_rng(2)
    mask = make_mask(kind, (frames, 31, 40), rng)
    columns = np.arange(40)[None, None, :]
    video = 0.2 + 0.6 * (columns > 10 + np.arange(frames)[:, None, None] / 2)
    video = np.broadcast_to(video, mask.shape).astype(np.float32)
    found = reconstruct((mask * video).sum(0), mask, name)
    average = np.broadcast_to((mask * video).sum(0) / mask.sum(0).clip(1e-6), video.shape)
    error = np.square(found.video - video).mean()
    assert np.isfinite(error) and error < max(0.5 * np.square(average - video).mean(), 1e-3)
