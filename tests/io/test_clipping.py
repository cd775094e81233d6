"""Which synthetic scenes are taken for clipped, and which are not."""

from __future__ import annotations

import numpy as np
import pytest

from deqsci_cli.io import load_capture
from deqsci_cli.io.clipping import clipping_level
from deqsci_cli.physics.masks import one_hot_mask
from deqsci_cli.physics.simulation import simulate

SHAPE = (64, 72)
# The value of white of each type, and the values that it has room for.
KINDS = {"float": None, "8 bits": 255, "12 bits": 4095, "16 bits": 65535}


def film(frames: int, *, white: float = 0.0) -> np.ndarray:
    """Soft shapes that move, and a part of the picture that is white throughout."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    moving = [
        0.5 + 0.45 * np.sin((x - 2 * t) / 7) * np.cos((y + t) / 9) + 0.04 * np.sin(x * y / 3)
        for t in range(frames)
    ]
    video = np.clip(moving, 0, 1)
    video[:, :, : round(white * SHAPE[1])] = 1
    return video


def mask(frames: int, kind: str = "binary") -> np.ndarray:
    rng = np.random.default_rng(frames)
    if kind == "one-hot":
        return one_hot_mask((frames, *SHAPE), rng)
    if kind == "grey":
        return rng.random((frames, *SHAPE))
    return (rng.random((frames, *SHAPE)) < 0.5).astype(np.float32)


def stored(measurement: np.ndarray, bits: int | None, level: float) -> np.ndarray:
    """As a converter whose range ends at `level` stores it; a float as it is."""
    clipped = np.minimum(measurement, level)[None]
    return clipped if bits is None else np.rint(clipped / level * bits).astype(np.uint16)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.02, 0.05, 0.1, 0.4])
@pytest.mark.parametrize("frames", [2, 4, 8])
@pytest.mark.parametrize("coding", ["binary", "grey"])
def test_a_clipped_scene_is_found(kind, share, frames, coding):
    code = mask(frames, coding)
    measurement = simulate(film(frames), code)
    level = np.quantile(measurement, 1 - share, method="lower")
    raw = stored(measurement, KINDS[kind], level)
    found = clipping_level(raw, code)
    assert found == raw.max()
    assert np.mean(raw >= found) == pytest.approx(share, rel=0.3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("white", [0.0, 0.1, 0.3, 0.7])
@pytest.mark.parametrize("frames", [2, 4, 8])
@pytest.mark.parametrize("coding", ["binary", "grey", "one-hot"])
def test_a_white_scene_is_not_taken_for_clipped(kind, white, frames, coding):
    """Where every frame is white the measurement is the sum of masks, and piles up at its top."""
    code = mask(frames, coding)
    measurement = simulate(film(frames, white=white), code)
    raw = stored(measurement, KINDS[kind], max(1, float(code.sum(0).max())))
    assert clipping_level(raw, code) is None


def test_a_white_and_clipped_scene_is_clipped():
    code = mask(8)
    raw = stored(simulate(film(8, white=0.3), code), 255, 3.0)
    assert clipping_level(raw, code) == 255


@pytest.mark.parametrize("frames", [1, 3])
def test_sums_that_are_all_equal_cannot_tell(frames):
    """White or clipped: one value at the top either way."""
    code = mask(frames, "one-hot")
    raw = stored(simulate(film(frames), code), 255, 0.6)
    assert np.mean(raw == 255) > 0.1
    assert clipping_level(raw, code) is None


@pytest.mark.parametrize(
    "raw", [np.zeros((1, *SHAPE)), np.full((1, *SHAPE), 7), -np.eye(64, 72)[None]]
)
def test_what_is_no_picture_is_not_clipped(raw):
    assert clipping_level(raw, mask(4)) is None


def test_a_few_bright_pixels_are_no_clipping():
    code = mask(8)
    raw = simulate(film(8), code)[None]
    raw[0, 5, 5:12] = raw.max() + 1
    assert clipping_level(raw, code) is None


def test_what_is_found_is_told_and_closed(tmp_path):
    import h5py

    code = mask(8)
    raw = stored(simulate(film(8), code), 4095, 4.5)
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["meas"], file["mask"] = raw, code
    capture = load_capture(tmp_path / "c.h5")
    np.testing.assert_array_equal(capture.unseen == 1, raw == 4095)
    assert any("pile up at 4095" in note for note in capture.notes)
    assert load_capture(tmp_path / "c.h5", saturation="none").unseen is None
    third = load_capture(tmp_path / "c.h5", saturation="3000")
    np.testing.assert_array_equal(third.unseen == 1, raw >= 3000)
