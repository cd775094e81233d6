"""Renders the sample captures: `python sample_data/make.py [FOLDER]`.

Four scenes are drawn in continuous coordinates (units: pixels, y downwards), four by four samples
a pixel, coded with a mask and written as small captures. Every random number comes from a seed, so
that the same arrays come out each time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, map_coordinates

from deqsci_cli import __version__
from deqsci_cli.io import atomic_write, write_capture, write_preview
from deqsci_cli.io.tiff import write_arrays
from deqsci_cli.physics.masks import make_mask
from deqsci_cli.physics.noise import SensorNoise
from deqsci_cli.physics.sensing import SensingOperator

SEED = 2201
SAMPLES = 4  # an axis of a pixel
LENS = 0.7  # standard deviation of its blur, pixels
Texture = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Canvas:
    """One frame while it is drawn: `y`, `x` are the samples' coordinates, `grey` their values."""

    def __init__(self, shape: tuple[int, int]):
        self.shape = shape
        rows, columns = ((np.arange(n * SAMPLES) + 0.5) / SAMPLES for n in shape)
        self.y, self.x = np.meshgrid(rows, columns, indexing="ij")
        self.grey = np.zeros_like(self.y)

    def paint(self, where: np.ndarray, value: np.ndarray | float) -> None:
        self.grey = np.where(where, value, self.grey)

    def frame(self) -> np.ndarray:
        """What a lens lets through and each pixel gathers, in [0, 1]."""
        h, w = self.shape
        seen = gaussian_filter(self.grey, LENS * SAMPLES, mode="nearest")
        pixels = seen.reshape(h, SAMPLES, w, SAMPLES).mean(axis=(1, 3))
        return np.clip(pixels, 0, 1)


def fractal(rng: np.random.Generator, *, coarsest: float = 32, octaves: int = 5) -> Texture:
    """Value noise around 0 with a standard deviation of 1; finer octaves are weaker."""
    grids = [rng.standard_normal((64, 64)) * 0.6**n for n in range(octaves)]
    norm = np.sqrt(sum(0.36**n for n in range(octaves)))

    def sample(y: np.ndarray, x: np.ndarray) -> np.ndarray:
        total = np.zeros_like(y)
        for n, grid in enumerate(grids):
            cell = coarsest / 2**n
            total += map_coordinates(grid, [y / cell, x / cell], order=1, mode="grid-wrap")
        return total * 1.5 / norm  # interpolation between grid points costs a third

    return sample


def stroke(
    y: np.ndarray, x: np.ndarray, a: tuple[float, float], b: tuple[float, float], width: float
) -> np.ndarray:
    """Points within half a `width` of the line from a to b, both (y, x)."""
    dy, dx = b[0] - a[0], b[1] - a[1]
    along = np.clip(((y - a[0]) * dy + (x - a[1]) * dx) / (dy * dy + dx * dx), 0, 1)
    return np.hypot(y - a[0] - along * dy, x - a[1] - along * dx) < width / 2


def box(
    y: np.ndarray, x: np.ndarray, top: float, left: float, height: float, width: float
) -> np.ndarray:
    return (y >= top) & (y < top + height) & (x >= left) & (x < left + width)


def wheel(frames: int, rng: np.random.Generator) -> np.ndarray:
    """A five-bladed chopper wheel, a K on one blade, 3 degrees a frame, before a brick wall."""
    wall, metal = fractal(rng, coarsest=10), fractal(rng, coarsest=6, octaves=3)
    film = []
    for t in range(frames):
        c = Canvas((128, 128))
        row = np.floor(c.y / 14)
        shade = 0.06 * np.sin(7.3 * row + 3.1 * np.floor((c.x + 12 * (row % 2)) / 24))
        joint = (c.y % 14 < 1.6) | ((c.x + 12 * (row % 2)) % 24 < 1.6)
        c.grey = 0.36 + shade + 0.06 * wall(c.y, c.x)
        c.paint(joint, 0.48 + 0.03 * wall(c.y, c.x))
        # The wheel's own frame: y and x turned back by its angle.
        angle = np.deg2rad(3 * t - 20)
        y0, x0 = c.y - 64, c.x - 64
        y = y0 * np.cos(angle) - x0 * np.sin(angle)
        x = y0 * np.sin(angle) + x0 * np.cos(angle)
        radius, theta = np.hypot(y, x), np.arctan2(y, x)
        blade = np.abs((theta / (2 * np.pi) * 5 + 0.5) % 1 - 0.5) < 0.27
        brushed = 0.78 + 0.03 * metal(y, x) + 0.06 * np.cos(2 * (theta + 2 * angle))
        c.paint((radius < 56) & blade, brushed)
        c.paint((radius > 51) & (radius < 57), 0.62 + 0.05 * metal(y, x))
        # The letter stands on the blade at theta = 0: its up is outwards (+x).
        letter = (
            stroke(y, x, (-7, 26), (-7, 46), 4)
            | stroke(y, x, (-7, 35), (7, 46), 4)
            | stroke(y, x, (-3, 37), (8, 26), 4)
        )
        c.paint(letter, 0.08)
        c.paint(radius < 15, 0.5 + 0.04 * metal(y, x))
        c.paint(radius < 9, 0.22)
        for bolt in range(3):
            turn = 2 * np.pi * bolt / 3
            at = np.hypot(y - 12 * np.sin(turn), x - 12 * np.cos(turn)) < 1.6
            c.paint(at, 0.9)
        film.append(c.frame())
    return np.stack(film)


def street(frames: int, rng: np.random.Generator) -> np.ndarray:
    """A car and a cyclist pass each other before a house, while the camera pans after the car."""
    plaster, asphalt, paint = fractal(rng, coarsest=16), fractal(rng, coarsest=4), fractal(rng)
    film = []
    for t in range(frames):
        c = Canvas((112, 160))
        pan = 0.4 * t
        y, x = c.y, c.x + pan
        c.grey = 0.58 + 0.05 * plaster(y, x)
        c.paint((y < 8) & (x % 6 < 3), 0.4)
        for floor in (14, 46):
            v, u = y - floor, x % 34 - 9
            glass = 0.2 + 0.004 * (v + u) ** 2 % 0.25 + 0.05 * paint(y, 3 * x)
            c.paint(box(v, u, -2, -2, 28, 20), 0.82)
            c.paint(box(v, u, 0, 0, 24, 16) & (np.abs(u - 8) > 0.8) & (np.abs(v - 9) > 0.8), glass)
        c.paint(y > 78, 0.5 + 0.04 * asphalt(y, x))
        c.paint(y > 84, 0.27 + 0.05 * asphalt(y, x))
        c.paint((y > 103) & (y < 105.5) & (x % 30 < 16), 0.9)
        _cyclist(c, y, x - (112 - 1.4 * t), t)
        _car(c, y, x - (16 + 2.4 * t), t, paint)
        # A lamp post close by: it moves faster than the house.
        near = c.x + 1.6 * pan
        c.paint((np.abs(near - 92) < 2.2 - 0.006 * (112 - y)) & (y > 12), 0.12 + 0.02 * paint(y, x))
        c.paint(np.hypot((y - 12) / 1, (near - 92) / 1.6) < 5, 0.95)
        film.append(c.frame())
    return np.stack(film)


def _car(c: Canvas, y: np.ndarray, u: np.ndarray, t: int, paint: Texture) -> None:
    """A car of 52 pixels, its rear bumper at u = 0."""
    body = box(y, u, 74, 0, 18, 52) & (np.hypot(np.maximum(u - 44, 0), np.maximum(80 - y, 0)) < 8)
    cabin = (y > 60) & (y <= 74) & (u > 6 + 0.5 * (74 - y)) & (u < 42 - 0.8 * (74 - y))
    pane = (y > 62.5) & (y < 73) & (u > 10 + 0.5 * (74 - y)) & (u < 38 - 0.8 * (74 - y))
    c.paint(box(y, u, 90, 2, 7, 48), 0.1)
    c.paint(body | cabin, 0.74 - 0.012 * (y - 60) + 0.02 * paint(y, u))
    c.paint(pane & (np.abs(u - 24) > 1), 0.16 + 0.008 * (74 - y))
    c.paint(box(y, u, 82, 0, 1.2, 52) | box(y, u, 76, 23.5, 14, 0.8), 0.35)
    c.paint(box(y, u, 77, 0, 4, 2.5), 0.15)
    c.paint(box(y, u, 78, 48, 4, 4), 1.0)
    for axle in (11, 41):
        _wheel_of(c, y - 92, u - axle, 6.5, 2.4 * t / 6.5, spokes=5)


def _cyclist(c: Canvas, y: np.ndarray, u: np.ndarray, t: int) -> None:
    for axle in (-9, 9):
        radius = np.hypot(y - 82, u - axle)
        turned = np.arctan2(y - 82, u - axle) + 1.4 * t / 7
        c.paint((radius < 7) & (radius > 5.6), 0.06)
        c.paint((radius < 6) & (np.abs(np.sin(4 * turned)) * radius < 1), 0.3)
    swing = 2.5 * np.sin(0.7 * t)
    for a, b in (((82, -9), (74, -4)), ((74, -4), (82, 1)), ((82, 1), (73, 5)), ((73, 5), (82, 9))):
        c.paint(stroke(y, u, a, b, 1.6), 0.85)
    c.paint(stroke(y, u, (71, 4), (84 + swing, 1 + swing), 3), 0.12)
    c.paint(stroke(y, u, (71, 4), (58, -1), 6), 0.9)
    c.paint(stroke(y, u, (59, -1), (70, -8), 2.6), 0.75)
    c.paint(np.hypot(y - 52, u + 3) < 4.2, 0.68)
    c.paint((np.hypot(y - 51, u + 2.6) < 4.6) & (y < 51), 0.15)


def _wheel_of(
    c: Canvas, y: np.ndarray, x: np.ndarray, radius: float, turn: float, spokes: int
) -> None:
    r, theta = np.hypot(y, x), np.arctan2(y, x) - turn
    c.paint(r < radius, 0.05)
    c.paint((r < 0.68 * radius) & (np.cos(spokes * theta) > 0), 0.8)
    c.paint(r < 0.2 * radius, 0.6)


def fall(frames: int, rng: np.random.Generator) -> np.ndarray:
    """A ball falls towards a basin, in which another has just thrown up a splash."""
    wall, skin = fractal(rng, coarsest=24), fractal(rng, coarsest=5, octaves=3)
    speed = rng.uniform(2, 7, 60)
    lean = rng.normal(0, 0.5, 60)
    size = rng.uniform(0.6, 2.2, 60)
    light = rng.uniform(0.6, 1.0, 60)
    film = []
    for t in range(frames):
        c = Canvas((128, 96))
        y, x = c.y, c.x
        c.grey = 0.2 + 0.0012 * y + 0.05 * wall(y, x)
        for line in range(16, 100, 16):  # a ruler on the wall
            c.paint(box(y, x, line, 6, 1.2, 8 if line % 32 else 14), 0.7)
        ripple = np.hypot(x - 54, 3.2 * (y - 106))
        wave = np.exp(-ripple / 45) * np.cos(0.55 * ripple - 1.1 * t)
        c.paint(y > 98 + 2 * np.exp(-np.abs(x - 54) / 30) * np.cos(0.4 * (x - 54) - t), 0.34)
        c.grey += np.where(y > 100, 0.18 * wave + 0.02 * wall(2 * y, x), 0)
        # The crown, and drops on parabolas; gravity is 0.5 pixels a frame squared.
        height = 15 * np.exp(-(((t - 2) / 6) ** 2))
        flank = np.abs(np.abs(x - 54) - 11 - 0.9 * t - 0.12 * (102 - y))
        c.paint((y < 104) & (y > 102 - height + 2 * np.sin(2.1 * x)) & (flank < 1.6), 0.72)
        time = t + 3
        for v, a, r, grey in zip(speed, lean, size, light, strict=True):
            py = 102 - v * np.cos(a) * time + 0.25 * time**2
            px = 54 + np.sign(a) * 8 + 0.8 * v * np.sin(a) * time
            if py < 104:
                c.paint(np.hypot(y - py, x - px) < r, grey)
        by, bx = 14 + 3.0 * t + 0.25 * t**2, 58 + 0.4 * t
        r, turn = np.hypot(y - by, x - bx), 0.12 * t
        v = (y - by) * np.cos(turn) - (x - bx) * np.sin(turn)
        u = (y - by) * np.sin(turn) + (x - bx) * np.cos(turn)
        shine = 0.9 * np.exp(-(np.hypot(y - by + 4, x - bx + 4) ** 2) / 40)
        c.paint(r < 11, 0.42 + 0.3 * shine + 0.06 * skin(v, u) - 0.0018 * r**2)
        c.paint((r < 11) & (np.abs(v - 0.05 * u**2) < 1.8), 0.12 + 0.3 * shine)
        film.append(c.frame())
    return np.stack(film)


def clip(frames: int, rng: np.random.Generator) -> np.ndarray:
    """A pendulum swings over a chequered floor, on which a ball bounces."""
    paper, wood = fractal(rng, coarsest=8), fractal(rng, coarsest=20)
    film = []
    for t in range(frames):
        c = Canvas((96, 96))
        y, x = c.y, c.x
        c.grey = 0.62 + 0.05 * paper(y, x) - 0.05 * (x % 12 < 6)
        depth = 26 / np.maximum(y - 58, 1e-3)  # the floor in perspective, horizon at y = 58
        chequer = (np.floor(3 * depth) + np.floor((x - 48) * depth / 9)) % 2
        c.paint(y > 70, 0.25 + 0.4 * chequer + 0.02 * wood(y, x))
        c.paint((y > 68) & (y <= 70), 0.3)
        swing = 0.6 * np.cos(2 * np.pi * t / 24)
        py, px = 4 + 46 * np.cos(swing), 32 + 46 * np.sin(swing)
        c.paint(stroke(y, x, (4, 32), (py, px), 1.4), 0.1)
        bob = np.hypot(y - py, x - px)
        c.paint(bob < 9, 0.75 - 0.004 * bob**2)
        c.paint((bob < 9) & (np.hypot(y - py + 3, x - px + 3) < 2), 1.0)
        phase = (t % 12) / 12
        by, bx = 80 - 30 * 4 * phase * (1 - phase), 90 - 2.2 * t
        c.paint(np.hypot(2.5 * (y - 87), x - bx) < 9 - 4 * phase * (1 - phase), 0.12)
        r = np.hypot(y - by, x - bx)
        stripes = np.sin(1.1 * ((y - by) * np.cos(0.3 * t) + (x - bx) * np.sin(0.3 * t)))
        c.paint(r < 7, 0.5 + 0.38 * np.sign(stripes) - 0.003 * r**2)
        film.append(c.frame())
    return np.stack(film)


def code(film: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Measurements `(N, H, W)` of a film `(N * T, H, W)`."""
    video = torch.from_numpy(film.reshape(-1, *mask.shape))
    return SensingOperator(torch.from_numpy(mask).double()).A(video).numpy()


def eight_bits(film: np.ndarray) -> np.ndarray:
    return np.rint(film * 255) / 255


def make(folder: Path) -> Iterator[Path]:
    """Write all sample files into a folder; yields their paths."""
    # No date in it: the files stay the same until the script or the package changes.
    origin = {"deqsci": __version__, "command": "sample_data/make.py", "seed": SEED}

    rng = np.random.default_rng([SEED, 1])
    film, mask = eight_bits(wheel(16, rng)), make_mask("binary", (8, 128, 128), rng)
    write_capture(
        folder / "wheel.mat", measurements=code(film, mask), mask=mask, truth=film,
        scale=255, provenance=origin, overwrite=True,
    )  # fmt: skip
    yield folder / "wheel.mat"

    rng = np.random.default_rng([SEED, 2])
    film = eight_bits(street(10, rng))
    mask = (np.rint(make_mask("grey", (10, 112, 160), rng) * 255) / 255).astype(np.float32)
    sensor = SensorNoise(read=0.01, bits=12)
    measurement = sensor.apply(code(film, mask), rng, full_range=10)
    write_capture(
        folder / "street.h5", measurements=measurement, mask=mask, truth=film,
        scale=1, provenance={**origin, "noise": {"read": 0.01, "bits": 12}}, overwrite=True,
    )  # fmt: skip
    yield folder / "street.h5"

    # As a camera would leave it: 16-bit counts alone, the mask in a file of its own.
    rng = np.random.default_rng([SEED, 3])
    film, mask = fall(8, rng), make_mask("shifting", (8, 128, 96), rng)
    counts = np.rint(255 * SensorNoise(read=0.01).apply(code(film, mask), rng, full_range=8))
    stacks = {"fall": ("meas", counts.clip(0).astype(np.uint16))}
    stacks["fall_mask"] = ("mask", mask.astype(np.uint8))
    for name, (key, stack) in stacks.items():
        with atomic_write(folder / f"{name}.tif", overwrite=True) as temporary:
            write_arrays(temporary, {key: stack}, {})
        yield folder / f"{name}.tif"

    film = clip(24, np.random.default_rng([SEED, 4]))
    write_preview(folder / "clip.gif", film, fps=12, provenance=origin, overwrite=True)
    yield folder / "clip.gif"


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for path in make(target):
        print(f"{path}  {path.stat().st_size / 1000:.0f} kB")
