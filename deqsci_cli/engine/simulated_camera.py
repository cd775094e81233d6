"""The camera that `simulate` codes a film with: its mask, its sensor, what its file says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from deqsci_cli.config import to_table
from deqsci_cli.errors import InputError
from deqsci_cli.io import ReadOptions, read_camera_picture, read_mask
from deqsci_cli.io.arms import count_arms
from deqsci_cli.io.camera import Camera, level_of
from deqsci_cli.io.frames import chosen_frames, parse_frames
from deqsci_cli.io.orientation import turns
from deqsci_cli.io.sensor import answers_of, true_mask
from deqsci_cli.physics.noise import Pixels, SensorNoise

_WHITE = 255.0


@dataclass(frozen=True)
class SimulatedCamera:
    """A camera that is to be simulated.

    Attributes:
        camera: what its file and the options say.
        files: all that it is read from.
        noise: of its sensor.
        scale: stored value of white.
        notes: what cannot be simulated, as sentences.
    """

    camera: Camera
    files: tuple[Path, ...]
    noise: SensorNoise
    scale: float
    notes: tuple[str, ...]

    @classmethod
    def of(
        cls, file: Path | None, mask: Path | None, noise: SensorNoise, scale: float | None
    ) -> SimulatedCamera:
        """The camera of a file, but for what is said beside it.

        Raises:
            UsageError, InputError: the file cannot be read or understood.
        """
        options = ReadOptions(camera=file, mask=mask, scale=scale)
        camera = options.read_camera()
        white = camera.scale or _WHITE
        files = tuple(dict.fromkeys(options.files().values()))
        sensor = _sensor(camera, noise, white)
        return cls(camera, files, sensor, white, _not_simulated(camera, sensor))

    @property
    def path(self) -> Path | None:
        """The file to be named where the mask does not fit."""
        return self.camera.files.get("mask") or next(iter(self.files), None)

    def mask_on_file(self) -> np.ndarray | None:
        """The mask (n, H, W) as its file has it; None where there is none.

        Raises:
            InputError: see `read_mask`.
        """
        file = self.camera.files.get("mask")
        if file is None:
            return None
        return read_mask(file, key=self.camera.mask_key, axes=self.camera.axes)

    def shape_on_file(self, frames: int, shape: tuple[int, int]) -> tuple[int, int, int]:
        """The shape of a mask, as a file would have it, of which `frames` code pictures (H, W)."""
        if self.camera.frames is not None:
            frames = parse_frames(self.camera.frames).stop
        return (frames, *(shape[::-1] if turns(self.camera.orientation) else shape))

    def frames_of(self, mask: np.ndarray | None) -> int | None:
        """T, where the mask (n, H, W) or the camera's file says it.

        Raises:
            UsageError: the mask has fewer frames.
        """
        if mask is None and self.camera.frames is None:
            return None
        chosen = self._chosen(mask)
        return int(chosen.stop - chosen.start)

    def true_mask(self, mask: np.ndarray) -> np.ndarray:
        """The mask (T, H, W) that codes the film, of the one on file.

        Raises:
            UsageError, InputError: see `io.sensor.true_mask`.
        """
        return true_mask(mask[self._chosen(mask)], self.camera, self.path)

    @property
    def arms(self) -> int:
        """How many arms its file tells."""
        return count_arms(self.camera.arms)

    def pixels(self, shape: tuple[int, int]) -> Pixels:
        """In what its pixels (H, W) differ.

        Raises:
            InputError: a picture of the camera cannot be read, or is of another size.
        """
        files = self.camera.files
        pictures = {
            role: read_camera_picture(files[role], role, shape, axes=self.camera.axes)
            for role in ("dark", "flat", "bad_pixels")
            if role in files
        }
        dark = pictures["dark"].mean(0) if "dark" in pictures else self.camera.black_level or 0.0
        return Pixels(
            answers_of(pictures["flat"], files["flat"]) if "flat" in pictures else 1.0,
            dark / self.scale,
            np.asarray(pictures["bad_pixels"].any(0)) if "bad_pixels" in pictures else None,
        )

    def table(self) -> dict[str, Any]:
        """What its file and the options say, for the provenance."""
        return to_table(self.camera, only_changed=True)

    def _chosen(self, mask: np.ndarray | None) -> slice:
        if mask is None:
            return parse_frames(self.camera.frames or "")
        return chosen_frames(self.camera.frames, len(mask), self.path)


def check_size(mask: np.ndarray, shape: tuple[int, int], path: Path | None) -> None:
    """Refuse a mask (T, H, W) that does not fit the pictures (H, W).

    Raises:
        InputError: it does not.
    """
    if mask.shape[1:] != shape:
        raise InputError(
            f"the mask has {mask.shape[1:]} pixels, the video {shape}",
            path=path,
            hint="crop or resize the video to the mask",
        )


def _sensor(camera: Camera, given: SensorNoise, white: float) -> SensorNoise:
    """The noise of a camera; what is given overrides it."""
    read, level = level_of(camera.noise), level_of(camera.saturation)
    found = SensorNoise(
        peak=camera.photons,
        read=read if isinstance(read, float) else None,
        saturation=level / white if isinstance(level, float) else None,
    )
    said = {name: value for name, value in vars(given).items() if value is not None}
    return replace(found, **said)


def _not_simulated(camera: Camera, sensor: SensorNoise) -> tuple[str, ...]:
    """What a camera's file leaves to be found out, which no simulation can do."""
    asked = ["noise"] if camera.noise == "auto" and sensor.read is None else []
    asked += ["bad_pixels"] if camera.bad_pixels == "auto" else []
    return tuple(f"the camera's {name} is 'auto', so none is simulated" for name in asked)
