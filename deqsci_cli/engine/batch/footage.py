"""The measurements of a recording, read as they are needed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deqsci_cli.engine.batch.job import Job, Order, Stretch
from deqsci_cli.engine.batch.work import load_planned
from deqsci_cli.errors import InputError
from deqsci_cli.io import Capture
from deqsci_cli.io.file_version import FileVersion, changed, read_version

_ONE_CAMERA = "a recording has one camera; give the files of each in a run of its own"


@dataclass(frozen=True, eq=False)
class Shot:
    """One measurement of a recording: its capture, and which of the capture's it is."""

    capture: Capture
    index: int

    @property
    def measurement(self) -> np.ndarray:
        """(H, W)."""
        picture: np.ndarray = self.capture.measurements[self.index]
        return picture

    @property
    def truth(self) -> np.ndarray | None:
        """(k, H, W), k <= T."""
        return self.capture.truth_of(self.index)


class Footage:
    """The measurements of a job; of several files, those of one window are held.

    All files are hashed first, since their content decides every piece of the film.

    Args:
        order: of the run.
        job: a recording.

    Raises:
        InputError, UsageError, DeviceError: a file cannot be read, or has changed.
    """

    def __init__(self, order: Order, job: Job):
        self.order = order
        self.places = [(stretch, index) for stretch in job.recording for index in stretch.indices]
        self.versions = {stretch.input: _version(stretch) for stretch in job.recording}
        self.held: dict[Path, Capture] = {}
        #: tells the scale and the mask of all
        self.first = self._load(job.recording[0])
        self.mask = self.first.mask

    def shots(self, first: int, last: int) -> list[Shot]:
        """The measurements from `first` up to, not including, `last`.

        Raises:
            InputError, UsageError, DeviceError: a file cannot be read, has changed, or is of
                another camera.
        """
        wanted = self.places[first:last]
        needed = {stretch.input for stretch, _ in wanted}
        self.held = {path: capture for path, capture in self.held.items() if path in needed}
        for stretch, _ in wanted:
            if stretch.input not in self.held:
                same = stretch.input == self.first.path
                self.held[stretch.input] = self.first if same else self._later(stretch)
        return [Shot(self.held[stretch.input], index) for stretch, index in wanted]

    def _later(self, stretch: Stretch) -> Capture:
        """A file that is not the first: read at the first one's scale, whatever its own light."""
        capture = self._load(stretch, scale=self.first.scale)
        if not np.array_equal(capture.mask, self.mask):
            raise InputError(
                f"its mask is another than that of {self.first.path.name}",
                path=stretch.input,
                hint=_ONE_CAMERA,
            )
        return capture

    def _load(self, stretch: Stretch, **changes: float) -> Capture:
        capture = load_planned(self.order, stretch.input, stretch.stamp, **changes)
        if capture.version != self.versions[stretch.input]:
            raise changed(stretch.input)
        return capture


def _version(stretch: Stretch) -> FileVersion:
    version = read_version(stretch.input)
    if version.stamp != stretch.stamp:
        raise changed(stretch.input)
    return version
