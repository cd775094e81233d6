"""How a capture's file is to be understood, where it does not say so itself."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from deqsci_cli.errors import UsageError
from deqsci_cli.io.camera import ROLES, Camera, files_beside, read_camera
from deqsci_cli.io.limits import byte_budget
from deqsci_cli.io.nan_policy import check_nan_policy


@dataclass(frozen=True)
class ReadOptions:
    """What `load_capture` and `read_header` are told beside the path; None leaves it to the file.

    Attributes:
        mask: file with the mask.
        measurement_key, mask_key, truth_key: names of the arrays.
        axes: order of the axes, as `HWT`.
        scale: stored value of white.
        nan: what is done about values that are NaN or infinite: `refuse`, `zero` or `median`. A
            pixel of a measurement, or of a picture of the camera, that is replaced counts as
            closed.
        frames: those of the mask that code a measurement, as `parse_frames` reads it.
        arms: measurements of the same frames, see `io.camera.Camera`.
        truth: whether truth is read.
        camera: the camera's own file, see `io.camera`; what is said here overrides it.
        dark, flat, frame_gains, bad_pixels, saturation, noise: see `io.camera.Camera`.

    Raises:
        UsageError: one of these, or the limit of the environment, cannot be meant, whatever the
            file.
    """

    mask: Path | None = None
    measurement_key: str | None = None
    mask_key: str | None = None
    truth_key: str | None = None
    axes: str | None = None
    scale: float | None = None
    nan: str = "refuse"
    frames: str | None = None
    arms: str | None = None
    truth: bool = True
    camera: Path | None = None
    dark: str | None = None
    flat: str | None = None
    frame_gains: str | None = None
    bad_pixels: str | None = None
    saturation: str | None = None
    noise: str | None = None

    def __post_init__(self) -> None:
        check_nan_policy(self.nan)
        if self.truth_key is not None and not self.truth:
            raise UsageError("--truth-key names the truth, --no-truth leaves it out", hint="choose")
        byte_budget()
        Camera(**self._said())

    @classmethod
    def of(cls, options: ReadOptions | None, **changes: Any) -> ReadOptions:
        """Options with some changed; the names of files may be text, as a library's user has it."""
        files = {name: changes[name] for name in ("mask", "camera") if changes.get(name)}
        return replace(options or cls(), **changes | {k: Path(v) for k, v in files.items()})

    def read_camera(self) -> Camera:
        """The camera as its file describes it, but for what is said here.

        Raises:
            UsageError, InputError: the file cannot be read or understood.
        """
        return replace(read_camera(self.camera), **self._said())

    def files(self) -> dict[str, Path]:
        """Every file that is read beside the captures, by what it is for.

        Raises:
            UsageError: the camera's file cannot be understood.
        """
        return (files_beside(self.camera) if self.camera else {}) | Camera(**self._said()).files

    def absolute(self) -> ReadOptions:
        """The same with whole paths, for workers that stand in another folder."""
        files = {role: file.absolute() for role, file in Camera(**self._said()).files.items()}
        whole: dict[str, Any] = {
            role: file if role == "mask" else str(file) for role, file in files.items()
        }
        return replace(self, camera=self.camera and self.camera.absolute(), **whole)

    def decisive(self) -> dict[str, Any]:
        """What decides how a capture is read, but for the content of `files`."""
        files = Camera(**self._said()).files
        table = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {name: "file" if name in files else value for name, value in table.items()} | {
            "camera": self.camera and "file",
            "mask": self.mask and "file",
        }

    def _said(self) -> dict[str, Any]:
        """What is said here about the camera."""
        known = {entry.name for entry in fields(Camera)}
        said = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {
            name: str(value) if name in ROLES else value
            for name, value in said.items()
            if name in known and value is not None
        }
