"""Masks for simulated cameras."""

from __future__ import annotations

import numpy as np

from deqsci_cli.errors import UsageError

KINDS = ("binary", "grey", "shifting")


def make_mask(
    kind: str, shape: tuple[int, int, int], rng: np.random.Generator, *, density: float = 0.5
) -> np.ndarray:
    """A mask stack.

    Args:
        kind: `binary` (each element open with probability `density`), `grey` (uniform in
            [0, 1]), or `shifting` (one binary pattern, moved a row a frame: the moving
            aperture of Llull et al., Optics Express 21 (2013) 10526).
        shape: `(T, H, W)`.
        rng: draws it.
        density: share of open elements, in (0, 1].

    Returns:
        `(T, H, W)` float32 in [0, 1].

    Raises:
        UsageError: no such kind, or a density out of range.
    """
    if not 0 < density <= 1:
        raise UsageError("the density of a mask lies above 0 and at most at 1")
    frames, height, width = shape
    if kind == "binary":
        return (rng.random(shape) < density).astype(np.float32)
    if kind == "grey":
        return rng.random(shape, dtype=np.float32)
    if kind == "shifting":
        pattern = (rng.random((height + frames - 1, width)) < density).astype(np.float32)
        return np.stack([pattern[t : t + height] for t in range(frames)])
    raise UsageError(f"there is no mask kind '{kind}'", hint=f"one of {', '.join(KINDS)}")


def one_hot_mask(shape: tuple[int, int, int], rng: np.random.Generator) -> np.ndarray:
    """A mask stack that opens every pixel in one frame alone, as likely in any.

    Args:
        shape: `(T, H, W)`.
        rng: draws it.

    Returns:
        `(T, H, W)` float32, 0 or 1.
    """
    frames, height, width = shape
    chosen = rng.integers(frames, size=(height, width))
    return np.equal(np.arange(frames)[:, None, None], chosen).astype(np.float32)
