"""How single pictures are made to move: by a camera, each layer by itself, blurred as exposed."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

# Moments of an exposure that are averaged where it is blurred.
_MOMENTS = 5


def moving_camera(
    picture: np.ndarray,
    frames: int,
    side: int,
    max_pan: float,
    rng: np.random.Generator,
    *,
    rotation: float = 0.0,
    acceleration: float = 0.0,
    shear: float = 0.0,
    elastic_prob: float = 0.0,
    moments: np.ndarray | None = None,
) -> np.ndarray:
    """A still picture filmed by a camera that pans and zooms evenly, or rests: each fifth time.

    What is asked for beyond that comes on top where it does not rest.

    Args:
        picture: `(h, w)`, or several that move together, `(n, h, w)`.
        frames: T.
        side: of the frames, pixels.
        max_pan: fastest movement, pixels a frame.
        rng: draws the movement; half of those that do move are slower than a quarter of `max_pan`.
        rotation: fastest turn, degrees a frame.
        acceleration: greatest, pixels a frame and frame.
        shear: greatest entry of a matrix by which the picture is deformed in the course of the
            film: stretched, compressed and slanted.
        elastic_prob: how likely it bends smoothly as well.
        moments: at which it is seen, in frames from mid-time on; None for once a frame.

    Returns:
        `(T, side, side)` or `(n, T, side, side)`, the middle of the picture at mid-time, by
        cubic splines; T is the number of moments.
    """
    height, width = picture.shape[-2:]
    angle, lively = rng.uniform(0, 2 * np.pi), max(0, rng.uniform(-0.25, 1)) ** 2
    speed = max_pan * lively
    zoom = rng.uniform(-0.05, 0.05) * (lively > 0)
    moments = np.arange(frames) - (frames - 1) / 2 if moments is None else moments
    time, length = moments[:, None, None], max(1, frames - 1)
    grid = np.arange(side) - (side - 1) / 2
    scale = 1 + zoom * time / length
    y = (height - 1) / 2 + scale * grid[:, None] + speed * np.sin(angle) * time
    x = (width - 1) / 2 + scale * grid + speed * np.cos(angle) * time
    if lively:
        more = _more(side, time, length, scale, rng, rotation, acceleration, shear, elastic_prob)
        y, x = y + more[0], x + more[1]
    places = np.broadcast_arrays(y, x)
    filmed = [
        map_coordinates(p, places, order=3, mode="reflect")
        for p in picture.reshape(-1, height, width)
    ]
    return np.stack(filmed).astype(np.float32).reshape(*picture.shape[:-2], *places[0].shape)


def _more(
    side: int,
    time: np.ndarray,
    length: int,
    scale: np.ndarray,
    rng: np.random.Generator,
    rotation: float,
    acceleration: float,
    shear: float,
    elastic_prob: float,
) -> np.ndarray:
    """What turning, deforming, accelerating and bending add to places: `(2, T, side, side)`."""
    grid = np.stack(np.meshgrid(*[np.arange(side) - (side - 1) / 2] * 2, indexing="ij"))
    added = np.zeros((2, len(time), side, side))
    if rotation:
        turn = np.deg2rad(rotation * rng.uniform(-1, 1)) * time
        sine, cosine = np.sin(turn), np.cos(turn) - 1
        added[0] += scale * (cosine * grid[0] - sine * grid[1])
        added[1] += scale * (sine * grid[0] + cosine * grid[1])
    if shear:
        matrix = rng.uniform(-shear, shear, (2, 2))
        added += np.einsum("ij,jhw->ihw", matrix, grid)[:, None] * time / length
    if acceleration:
        way, much = rng.uniform(0, 2 * np.pi), acceleration * rng.uniform(0, 1)
        added[0] += much * np.sin(way) * time**2 / 2
        added[1] += much * np.cos(way) * time**2 / 2
    if elastic_prob and rng.random() < elastic_prob:
        added += random_bend(side, rng)[:, None] * time / length
    return added


def random_bend(side: int, rng: np.random.Generator) -> np.ndarray:
    """A smooth random displacement `(2, side, side)`, pixels, that folds nothing.

    Args:
        side: pixels.
        rng: draws it; it varies within an eighth to a third of `side`, and no two pixels that
            are neighbours move by more than 0.8 of a pixel against each other.
    """
    bend: np.ndarray = rng.standard_normal((2, side, side))
    scales = (0, *[side * rng.uniform(1 / 16, 1 / 6)] * 2)
    bend = np.asarray(gaussian_filter(bend, scales, mode="reflect"))
    steepest = max(float(np.abs(np.diff(bend, axis=axis)).max()) for axis in (1, 2))
    bend *= rng.uniform(0, 0.8) / max(steepest, 1e-12)
    return bend


def exposures(frames: int, rng: np.random.Generator) -> np.ndarray:
    """Moments at which a film is seen, five a frame, `(5 frames,)`, in frames from mid-time on.

    Args:
        frames: T.
        rng: draws which share of a frame's time it is exposed: half of it to all.
    """
    within = (np.arange(_MOMENTS) - (_MOMENTS - 1) / 2) / _MOMENTS * rng.uniform(0.5, 1)
    times = np.arange(frames) - (frames - 1) / 2
    return (times[:, None] + within).ravel()


def random_outline(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A random shape of round outline: 1 inside, 0 outside, the edge two pixels wide.

    Args:
        shape: `(h, w)`.
        rng: draws the shape; 10 to 50 % of the pixels lie inside.
    """
    hills = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), min(shape) / 16)
    inside = hills > np.quantile(hills, rng.uniform(0.5, 0.9))
    return np.asarray(gaussian_filter(inside.astype(np.float32), 0.7))
