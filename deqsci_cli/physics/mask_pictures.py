"""A mask from pictures of it: what a camera saw of each of its positions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deqsci_cli.errors import InputError

# A pixel that answers to white with less than this of the median is dead.
_DEAD = 0.05
# So many robust standard deviations above the others a pixel of the dark frame is hot.
_HOT = 20.0
# A pixel that no position opens further than this counts as never opened.
_CLOSED = 0.05
# Positions brighter than white by more than this do not belong to that white picture.
_TOO_BRIGHT = 1.1
# Without a white picture: this percentile of the brightest positions is fully open.
_OPEN = 99.0


@dataclass(frozen=True, eq=False)
class MaskPictures:
    """What pictures of a mask tell.

    Attributes:
        mask: `(T, H, W)`, 1 where fully open; 0 at pixels that are broken or never opened.
        flat: `(H, W)` of mean 1, how strongly each pixel answers; None without a white picture.
        bad_pixels: booleans `(H, W)`.
        never_open: booleans `(H, W)`, pixels that work and that no position opens.
        notes: what was found, as sentences.
    """

    mask: np.ndarray
    flat: np.ndarray | None
    bad_pixels: np.ndarray
    never_open: np.ndarray
    notes: tuple[str, ...]


def mask_from_pictures(
    pictures: np.ndarray, dark: np.ndarray | float = 0.0, white: np.ndarray | None = None
) -> MaskPictures:
    """The mask that a camera shows.

    Args:
        pictures: `(T, H, W)`, an even white surface through each position of the mask.
        dark: `(H, W)` or a number, what the camera shows without light, in the same unit.
        white: `(H, W)`, the same surface without the mask; None if it was not taken.

    Raises:
        InputError: the pictures show no mask.
    """
    shape = pictures.shape[1:]
    black = np.broadcast_to(np.asarray(dark, np.float64), shape)
    bad = _hot(black)
    light = pictures.astype(np.float64) - black
    if white is None:
        whole = np.full(shape, np.percentile(light.max(0), _OPEN))
    else:
        whole = white.astype(np.float64) - black
    if not np.median(whole) > 0:
        raise InputError(
            "the pictures show no light", hint="check that dark and white are not mixed up"
        )
    bad |= whole < _DEAD * np.median(whole)
    flat = None if white is None else np.where(bad, 1.0, whole / whole[~bad].mean())
    mask = np.where(bad, 0.0, light / np.where(bad, 1.0, whole))
    never_open = ~bad & (mask.max(0) < _CLOSED)
    if (bad | never_open).all() or not mask[:, ~bad].mean() > 0:
        raise InputError(
            "the pictures are as dark as the dark frame, or darker", hint="are they mixed up?"
        )
    notes = _notes(mask[:, ~bad], bad, never_open, white is not None)
    mask = np.clip(np.where(never_open, 0.0, mask), 0, None).astype(np.float32)
    return MaskPictures(
        mask, None if flat is None else flat.astype(np.float32), bad, never_open, notes
    )


def _hot(dark: np.ndarray) -> np.ndarray:
    """Pixels of a dark frame that stand out above all noise."""
    middle = np.median(dark)
    spread = 1.4826 * np.median(np.abs(dark - middle))
    # A frame that is even to its last digit has a spread of 0, and steps of one count.
    return np.asarray(dark - middle > _HOT * max(spread, 0.5 if spread == 0 else 0.0))


def _notes(
    mask: np.ndarray, bad: np.ndarray, never_open: np.ndarray, with_white: bool
) -> tuple[str, ...]:
    """What a user should know.

    Args:
        mask: `(T, pixels)`, of those that work.
    """
    mean = mask.mean(0)
    notes = [
        f"on the mean over the positions {mean.mean():.1%} of the light passes (middle 90 % of the "
        f"pixels: {np.percentile(mean, 5):.1%} to {np.percentile(mean, 95):.1%})"
    ]
    for what, count in (("broken", bad.sum()), ("never opened", never_open.sum())):
        if count:
            notes.append(f"{count} of {bad.size} pixels are {what}")
    if with_white and (brightest := float(np.percentile(mask.max(0), 99))) > _TOO_BRIGHT:
        notes.append(
            f"positions are up to {brightest:.2f} times as bright as the white picture: the lamp "
            "or the exposure was another, or the mask was not away"
        )
    return tuple(notes)
