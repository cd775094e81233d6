"""What a camera did to its measurements is undone, and pixels that tell nothing are found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deqsci_cli.errors import InputError, UsageError
from deqsci_cli.io.camera import Camera, check_gains, level_of, numbers
from deqsci_cli.io.clipping import clipping_level
from deqsci_cli.io.orientation import ORIENTATIONS
from deqsci_cli.io.read_errors import input_errors, require_file

#: why a pixel tells nothing, by the value that it has in `Capture.unseen`
REASONS = ("seen", "clipped", "broken", "not a number", "black")
# A pixel that answers with less than this of the mean is broken.
_DEAF = 0.05
# So many standard deviations below black a value is no noise; nor is it this near, of the mean.
_BEYOND, _NEAR_BLACK = 8.0, 0.05
# Noise takes half of the values of a black measurement below 0. Far below, it takes few.
_MOST_BELOW, _MANY_BELOW = 0.9, 0.01
# A broken pixel stands out from its neighbours by so many times what they differ by, and by
# this share of the brightest.
_OUTLIER, _STANDS_OUT = 12.0, 0.25
# Gains of a thousand frames take less.
_MOST_TEXT = 100_000


@dataclass(frozen=True, eq=False)
class Corrected:
    """Measurements without what the sensor added.

    Attributes:
        measurements: (N, H, W), in stored units; the very array where nothing was to be done.
        unseen: (N, H, W) uint8, an index of `REASONS`; None where all pixels are seen.
        notes: what was found, as sentences.
    """

    measurements: np.ndarray
    unseen: np.ndarray | None
    notes: tuple[str, ...]

    @property
    def seen(self) -> np.ndarray | None:
        """The pixels that tell something; None for all."""
        return None if self.unseen is None else self.unseen == 0


def correct(
    raw: np.ndarray,
    mask: np.ndarray,
    camera: Camera,
    pictures: Mapping[str, np.ndarray],
    path: Path,
    *,
    not_numbers: np.ndarray | None = None,
) -> Corrected:
    """Undo what the camera's sensor did: `(raw - dark) / flat`, and mark pixels that tell nothing.

    Args:
        raw: (N, H, W), as stored.
        mask: (T, H, W), the true one.
        camera: that it is.
        pictures: (n, H, W) each: `dark`, `flat`, `bad_pixels`, those that are known.
        path: of the measurements, for errors.
        not_numbers: where they, or a picture of the camera, were no numbers, and were replaced.

    Raises:
        InputError: a picture of the camera is none that a camera makes.
    """
    unseen = np.zeros(raw.shape, np.uint8)
    level, notes = _saturation(raw, mask, camera)
    if level is not None:
        unseen[raw >= level] = REASONS.index("clipped")
    dark = pictures["dark"].mean(0) if "dark" in pictures else camera.black_level
    precise = np.result_type(raw.dtype, np.float32)
    measurements = raw if dark is None else raw - np.asarray(dark, precise)
    bad = np.zeros(raw.shape[1:], bool)
    if "flat" in pictures:
        answers = answers_of(pictures["flat"], camera.files.get("flat", path))
        bad |= answers == 0
        measurements = (measurements / np.where(bad, 1, answers)).astype(precise)
    if "bad_pixels" in pictures:
        bad |= pictures["bad_pixels"].any(0)
    if camera.bad_pixels == "auto":
        bad |= broken_pixels(measurements, mask)
    unseen[:, bad] = REASONS.index("broken")
    _check_lit(measurements, raw, path, corrected=dark is not None)
    if dark is not None:
        unseen[too_black(measurements)] = REASONS.index("black")
    elif (below := _far_below(measurements)) > _MANY_BELOW:
        notes = (
            *notes,
            f"{below:.1%} of the values lie far below 0, down to "
            f"{float(measurements.min()):g}: is the type of the numbers right (16 bits "
            "without a sign?), or has a black level been taken off twice?",
        )
    if not_numbers is not None:
        unseen[not_numbers] = REASONS.index("not a number")
    return Corrected(measurements, unseen if unseen.any() else None, notes)


def _saturation(
    raw: np.ndarray, mask: np.ndarray, camera: Camera
) -> tuple[float | None, tuple[str, ...]]:
    """The stored value from which on pixels are clipped, and a sentence if it was found."""
    given = level_of(camera.saturation)
    if given not in (None, "auto"):
        return (None if isinstance(given, str) else given), ()
    level = clipping_level(raw, mask)
    if level is None:
        return None, ()
    share = np.mean(raw >= level)
    return level, (
        f"{share:.2%} of the pixels pile up at {level:g}, and are taken for clipped: they are not "
        "looked at (--saturation none has them believed)",
    )


def answers_of(flat: np.ndarray, path: Path) -> np.ndarray:
    """How strongly each pixel (H, W) answers, 1 on the mean; 0 for a broken one, not in the mean.

    Args:
        flat: (n, H, W), in any unit.
        path: for the error.

    Raises:
        InputError: it is dark.
    """
    picture = flat.mean(0, dtype=np.float64)
    if not (mean := picture.mean()) > 0:
        raise InputError("the flat field is dark", path=path, hint="give that of this camera")
    usual = picture[picture >= _DEAF * mean].mean()
    return np.where(picture < _DEAF * usual, 0, picture / usual)


def _check_lit(measurements: np.ndarray, raw: np.ndarray, path: Path, *, corrected: bool) -> None:
    """Refuse measurements without light, or from which a black level takes all of it.

    Raises:
        InputError: nearly all values are below 0.
    """
    if np.mean(measurements < 0) <= _MOST_BELOW:
        return
    if not corrected:
        raise InputError(
            f"nearly all of the measurement is below 0 (from {float(raw.min()):g} to "
            f"{float(raw.max()):g})",
            path=path,
            hint="export it with light above 0: it may be inverted, or a black level taken off",
        )
    raise InputError(
        f"without its black level nearly all of the measurement is below 0 (it reached "
        f"{float(raw.max()):g}, as stored)",
        path=path,
        hint="give the dark frame, or the black level, of this camera in the file's own unit",
    )


def _far_below(measurements: np.ndarray) -> float:
    """The share of values that lie below 0 by more than a tenth of the largest ones."""
    if measurements.dtype.kind in ("b", "u") or not (measurements < 0).any():
        return 0.0
    return float(np.mean(measurements < -0.1 * np.percentile(np.abs(measurements), 99.9)))


def too_black(measurements: np.ndarray) -> np.ndarray:
    """Values (N, H, W) that are further below black than noise takes them.

    The noise is told by the other values below black: the median of their size is 0.67 of it.
    """
    below: np.ndarray = measurements < 0
    if not below.any():
        return below
    noise = float(np.median(-measurements[below])) / 0.6745
    far: np.ndarray = measurements < -max(_BEYOND * noise, _NEAR_BLACK * float(measurements.mean()))
    return far


def broken_pixels(measurements: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Pixels (H, W) that stand out from their neighbours in every measurement.

    Args:
        measurements: (N, H, W), in any unit.
        mask: (T, H, W).
    """
    from scipy.ndimage import median_filter  # slow to import

    total = mask.sum(0, dtype=np.float64)
    exposed = total >= 0.25 * np.median(total[total > 0])
    broken: np.ndarray = exposed.copy()
    for measurement in measurements:
        bright = np.where(exposed, measurement / np.where(exposed, total, 1), 0.0)
        bright = np.where(exposed, bright, median_filter(bright, 3))
        off = np.abs(bright - median_filter(bright, 5))
        usual = 1.4826 * median_filter(off, 7)
        broken &= off > _OUTLIER * usual + _STANDS_OUT * np.percentile(bright[exposed], 99)
    return broken


def true_mask(mask: np.ndarray, camera: Camera, path: Path | None) -> np.ndarray:
    """The mask (T, H, W) as light met it: turned, displaced, blurred, and times the lamp's gains.

    Args:
        mask: as its file has it, those of its frames that are used.
        camera: what it is to be turned into.
        path: its file, for errors.

    Raises:
        UsageError: there are not as many gains as frames, or nothing of the mask stays in place.
        InputError: the file with the gains cannot be read.
    """
    mask = np.ascontiguousarray(ORIENTATIONS[camera.orientation](mask))
    if any(abs(s) >= size for s, size in zip(camera.shift, mask.shape[1:], strict=True)):
        raise UsageError(
            f"the shift of {camera.shift} pixels is as far as the mask of {mask.shape[1:]} is wide",
            path=path,
            hint="pixels down and to the right, commonly few",
        )
    if camera.displaced:
        mask = displaced(mask, camera.shift, camera.rotation, camera.zoom, camera.blur)
    gains = _gains(camera)
    if gains is None:
        return mask
    if len(gains) != len(mask):
        raise UsageError(
            f"there are {len(gains)} gains for the {len(mask)} frames of the mask",
            path=path,
            hint="give one for each frame that is used",
        )
    lit: np.ndarray = (
        mask * np.asarray(gains, np.result_type(mask.dtype, np.float32))[:, None, None]
    )
    return lit


def displaced(
    mask: np.ndarray,
    shift: tuple[float, float],
    rotation: float = 0.0,
    zoom: float = 1.0,
    blur: float = 0.0,
) -> np.ndarray:
    """A mask (T, H, W) elsewhere, by cubic splines; what comes in from outside repeats the edge.

    Args:
        shift: pixels down and to the right.
        rotation: degrees about the centre, from the rows' axis towards the columns'.
        zoom: factor about the centre.
        blur: standard deviation of a Gaussian, pixels.
    """
    from scipy.ndimage import affine_transform, gaussian_filter  # slow to import

    angle, centre = np.deg2rad(rotation), (np.array(mask.shape[1:]) - 1) / 2
    cos, sin = np.cos(angle), np.sin(angle)
    # Where each place of the result comes from.
    back = np.array([[cos, sin], [-sin, cos]]) / zoom
    offset = centre - back @ (centre + np.array(shift))
    wide = mask.astype(np.result_type(mask.dtype, np.float32))
    moved = np.stack([affine_transform(m, back, offset, order=3, mode="nearest") for m in wide])
    if blur:
        moved = gaussian_filter(moved, (0, blur, blur), mode="nearest")
    return np.asarray(np.clip(moved, 0, None))


def _gains(camera: Camera) -> tuple[float, ...] | None:
    """The gains of the frames, told or in a text file."""
    file = camera.files.get("frame_gains")
    if file is None:
        return numbers(camera.frame_gains, "frame_gains")
    with input_errors(require_file(file), "file"), file.open("rb") as stream:
        text = stream.read(_MOST_TEXT + 1)
    try:
        if len(text) > _MOST_TEXT:
            raise ValueError
        found = tuple(map(float, text.decode("utf-8-sig").replace(",", " ").split()))
        check_gains(found)
    except (ValueError, UsageError) as error:
        raise InputError(
            "this is no list of gains",
            path=file,
            hint="a text file with a number for each frame, about 1",
        ) from error
    return found
