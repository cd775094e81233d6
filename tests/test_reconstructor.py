"""Arrays in, arrays out: what is checked of them, and what is kept of a mask."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from deqsci_cli import zoo
from deqsci_cli.errors import InputError, UsageError
from deqsci_cli.reconstructor import Reconstructor, reconstruct

T, H, W = 3, 12, 16


@pytest.fixture(scope="module")
def model():
    return zoo.load("gap-tv")


def scene(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A measurement (H, W) and its mask (T, H, W)."""
    rng = np.random.default_rng(seed)
    mask = (rng.random((T, H, W)) < 0.5).astype(np.float32)
    return (mask * (0.2 + 0.6 * rng.random((T, H, W)))).sum(0).astype(np.float32), mask


def spoilt(array, place, value):
    bad = np.array(array, dtype=np.result_type(array, type(value)))
    bad[place] = value
    return bad


Y, MASK = scene(0)
BAD = {
    "one row": (Y[:1], MASK, "pixels"),
    "one column": (Y[:, :1], MASK, "pixels"),
    "a vector": (Y[0], MASK, "must be"),
    "a picture for a mask": (Y, MASK[0], "must be"),
    "another size": (Y, MASK[:, 1:], "pixels"),
    "no frames": (Y, MASK[:0], "must be"),
    "no measurement": (Y[None][:0], MASK, "must be"),
    "NaN": (spoilt(Y, (3, 4), np.nan), MASK, "measurement has 1 values"),
    "infinite mask": (Y, spoilt(MASK, (1, 3, 4), np.inf), "mask has 1 values"),
    "a negative mask": (Y, spoilt(MASK, (1, 3, 4), -0.2), "negative"),
    "a closed mask": (Y, 0 * MASK, "closed"),
    "complex": (Y * 1j, MASK, "real numbers"),
    "text": (Y, MASK.astype(str), "real numbers"),
}


@pytest.mark.parametrize("fault", BAD)
def test_arrays_are_held_to_what_files_are(model, fault):
    measurement, mask, words = BAD[fault]
    with pytest.raises(InputError, match=words):
        reconstruct(measurement, mask, model)
    batch = measurement[None] if measurement.ndim == 2 else measurement
    with pytest.raises(InputError, match=words):
        Reconstructor(model)(batch, mask)


@pytest.mark.parametrize("white", [255, 4095])
def test_frames_in_another_unit_are_refused(model, white):
    with pytest.raises(InputError, match="where white is 1"):
        reconstruct(white * Y, MASK, model)


@pytest.mark.parametrize("truth", [np.ones((T + 1, H, W)), np.ones((T, H, 1)), np.ones((H, W))])
def test_truths_must_fit(model, truth):
    with pytest.raises(InputError, match="truth"):
        Reconstructor(model)(Y[None], MASK, truths=[truth])


def test_any_byte_order_stride_and_kind_of_number(model):
    expected = reconstruct(Y, MASK, model).video
    turned = np.asfortranarray(Y[::-1])[::-1], MASK[:, :, ::-1].copy()[:, :, ::-1]
    for y, mask in (turned, (Y.astype(">f4"), MASK.astype(">i2")), (Y, MASK.astype(bool))):
        np.testing.assert_array_equal(reconstruct(y, mask, model).video, expected)


def test_what_cannot_be_written_is_taken_without_a_warning(model):
    """So are masks that several captures of a run share."""
    measurement, mask = scene(0)
    expected = reconstruct(measurement, mask, model).video
    for array in (measurement, mask):
        array.flags.writeable = False
    torch.set_warn_always(True)  # PyTorch says this only once in a process
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = reconstruct(measurement, mask, model).video
    finally:
        torch.set_warn_always(False)
    assert np.array_equal(found, expected)


def test_a_mask_that_is_edited_in_place_is_another_mask(model):
    run = Reconstructor(model)
    mask = MASK.copy()
    run(Y[None], mask)
    other_y, other = scene(1)
    mask[...] = other
    expected = Reconstructor(model)(other_y[None], other).x
    assert run(other_y[None], mask).x.equal(expected)
    # Nor does the edit reach into what was kept for the mask as it was.
    again = Reconstructor(model)
    mine = MASK.copy()
    first = again(Y[None], mine).x
    mine[...] = 0
    assert again(Y[None], MASK).x.equal(first)


def test_pixels_that_tell_nothing_are_as_closed_ones():
    """What stands at an unseen pixel decides nothing, and is the answer of a mask closed there."""
    rng = np.random.default_rng(5)
    mask = rng.random((4, 16, 16)).astype(np.float32)
    y = (mask * rng.random((2, 4, 16, 16))).sum(1).astype(np.float32)
    seen = rng.random((2, 16, 16)) > 0.2
    run = Reconstructor("gap-tv")
    told = run(np.where(seen, y, np.float32(7)), mask, seen=seen).x
    for number in (0, 1):
        closed = run(np.where(seen, y, 0)[number][None], mask * seen[number]).x[0]
        torch.testing.assert_close(told[number], closed, atol=2e-5, rtol=0)
    assert run(y, mask, seen=np.ones_like(seen)).x.equal(run(y, mask).x)
    spoilt = np.where(seen, y, np.float32("nan"))
    assert run(spoilt, mask, seen=seen).x.equal(told)
    seen[1] = False
    with pytest.raises(InputError, match="no pixel of measurement 1"):
        run(y, mask, seen=seen)


def test_an_unknown_precision_is_refused():
    with pytest.raises(UsageError, match="no dtype 'float16'"):
        Reconstructor("gap-tv", dtype="float16")


def test_double_precision_keeps_every_buffer(recwarn):
    """rsn-cnn has complex ones, which are no double numbers."""
    network = Reconstructor("pnp-rsn-cnn", dtype="float64").network
    assert {p.dtype for p in network.parameters()} == {torch.float64}
    assert all(b.is_complex() for b in network.buffers()) and not list(recwarn)
