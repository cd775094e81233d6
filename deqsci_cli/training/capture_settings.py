"""Which captures a model is trained on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from deqsci_cli.errors import UsageError
from deqsci_cli.physics.masks import KINDS

# Noise of a hundred whites leaves nothing of a capture.
_LOUDEST = 100


@dataclass(frozen=True)
class CaptureSettings:
    """Which captures a model is trained on.

    Attributes:
        frames: numbers of frames T of a measurement; every step draws one.
        measurements: numbers of consecutive measurements that are solved as one film; every step
            draws one.
        masks: kinds of mask (`physics.masks.KINDS`); every capture draws one.
        density_range: least and greatest share of open elements of binary and shifting masks;
            every capture draws its own.
        one_hot_prob: share of the captures whose mask opens every pixel in one frame alone.
        mask_blur: greatest standard deviation, pixels, of the Gaussian by which optics blur a
            mask; the calibrated mask shows it, so that the model is told.
        closed_prob: share of the captures some of whose pixels, up to a twentieth, no mask opens.
        mask_file: a camera's own calibrated mask, to train for that camera alone: pieces of it
            take the place of all these, its number of frames that of `frames`.
        frame_strides: every n-th frame of a clip is taken, n drawn from these.
        still_image_prob: share of the captures that film one frame of a clip with a moving camera.
            A snapshot camera films what moves little from one coded frame to the next. Clips of a
            common camera move far more: a model trained on these alone learns to blur.
        picture_prob: share of these that film a clip of a single frame, each as likely, where there
            are such clips beside longer ones.
        max_pan: fastest movement of that camera, pixels a frame. Slow ones are more frequent, and a
            fifth of these captures stands quite still.
        moving_object_prob: share of those captures in which a part of another clip moves by itself
            before the picture, in a random outline.
        max_objects: most such parts in a capture, each number as likely.
        rotation: fastest turn of the moving camera, and of such a part, degrees a frame.
        acceleration: greatest acceleration of either, pixels a frame and frame.
        shear: greatest entry of the matrix by which either is deformed in the course of a film.
        elastic_prob: how likely either bends smoothly as well.
        motion_blur_prob: share of the captures by a moving camera whose frames are blurred by what
            moves while they are exposed, for half of a frame's time to all of it.
        downsample_prob: share of the crops taken at half resolution, where the clip is large
            enough. They have finer detail, and less of a video codec's artefacts.
        upsample_prob: share of the crops taken at twice the resolution. They have coarser detail
            and move further, as films of larger sensors do.
        gain_range: least and greatest factor of the intensities; what exceeds white is clipped.
        noise_range: least and greatest standard deviation of the measurement's noise, in units of
            one frame's white. Every capture draws its own, each as likely, or, where the least is
            above 0, each factor as likely.
        prnu: greatest standard deviation of the pixels' gains around 1, of which the model is not
            told (photo-response non-uniformity).
        black_level: greatest that is left in the measurement, or taken out too much, in units of
            one frame's white.
        clipped_prob: share of the captures whose sensor clips its brightest pixels, up to a tenth.
            The model is told: in its mask such pixels are closed.
        hot_pixel_prob: share of the captures whose measurement has a few hot pixels, up to five
            whites too bright.
    """

    frames: tuple[int, ...] = (8,)
    measurements: tuple[int, ...] = (1,)
    masks: tuple[str, ...] = ("binary", "grey")
    density_range: tuple[float, float] = (0.5, 0.5)
    one_hot_prob: float = 0.0
    mask_blur: float = 0.0
    closed_prob: float = 0.0
    mask_file: Path | None = None
    frame_strides: tuple[int, ...] = (1, 2)
    still_image_prob: float = 0.5
    picture_prob: float = 0.5
    max_pan: float = 1.5
    moving_object_prob: float = 0.0
    max_objects: int = 1
    rotation: float = 0.0
    acceleration: float = 0.0
    shear: float = 0.0
    elastic_prob: float = 0.0
    motion_blur_prob: float = 0.0
    downsample_prob: float = 0.5
    upsample_prob: float = 0.0
    gain_range: tuple[float, float] = (0.7, 1.2)
    noise_range: tuple[float, float] = (0.0, 0.005)
    prnu: float = 0.0
    black_level: float = 0.0
    clipped_prob: float = 0.0
    hot_pixel_prob: float = 0.0

    def __post_init__(self) -> None:
        for name in ("frames", "measurements", "masks", "frame_strides"):
            if not getattr(self, name):
                raise UsageError(f"{name} must hold at least one value")
        if min(*self.frames, *self.measurements, *self.frame_strides) < 1:
            raise UsageError("frames, measurements and frame_strides must be at least 1")
        if unknown := sorted(set(self.masks) - set(KINDS)):
            raise UsageError(f"there is no mask '{unknown[0]}'", hint=f"one of {', '.join(KINDS)}")
        sizes = self.downsample_prob + self.upsample_prob
        if not all(0 <= s <= 1 for s in (self.downsample_prob, self.upsample_prob, sizes)):
            raise UsageError(
                "downsample_prob, upsample_prob and their sum are shares between 0 and 1"
            )
        shares = (
            "still_image_prob",
            "picture_prob",
            "moving_object_prob",
            "elastic_prob",
            "motion_blur_prob",
            "hot_pixel_prob",
        )
        for name in (*shares, "one_hot_prob", "closed_prob", "clipped_prob"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} is a share between 0 and 1")
        bounds = (
            "max_pan",
            "rotation",
            "acceleration",
            "shear",
            "mask_blur",
            "prnu",
            "black_level",
        )
        for name in bounds:
            if not 0 <= getattr(self, name) < math.inf:
                raise UsageError(f"{name} must not be negative, nor infinite")
        if self.shear > 1:
            raise UsageError("shear is at most 1, where things fold")
        if self.max_objects < 1:
            raise UsageError("max_objects must be at least 1")
        if not 0 < self.gain_range[0] <= self.gain_range[1] < math.inf:
            raise UsageError("gain_range must be two rising numbers above 0")
        if not 0 < self.density_range[0] <= self.density_range[1] <= 1:
            raise UsageError("density_range must be two rising numbers above 0 and at most 1")
        if not 0 <= self.noise_range[0] <= self.noise_range[1] <= _LOUDEST:
            raise UsageError(f"noise_range must be two rising numbers from 0 to {_LOUDEST}")
