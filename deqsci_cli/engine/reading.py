"""How a capture's file is to be understood, where it does not say so itself."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path

from deqsci_cli.io import Capture, check_options, load_capture
from deqsci_cli.io.boundary import enough_memory
from deqsci_cli.io.limits import byte_budget


@dataclass(frozen=True)
class Look:
    """What a run must know of a capture before it computes.

    Attributes:
        count: N, its measurements.
        shape: (T, H, W).
        camera: the hash of its mask.
        scale_rule: how its scale was found.
        notes: what a user should know of how it was read.
        path: where the measurements lie.
        sources: every file read.
    """

    count: int
    shape: tuple[int, int, int]
    camera: str
    scale_rule: str
    notes: tuple[str, ...]
    path: Path
    sources: tuple[Path, ...]


@dataclass(frozen=True)
class Reading:
    """What `io.load_capture` is told beside the path; None leaves it to the file.

    Attributes:
        mask: file with the mask.
        measurement_key, mask_key, truth_key: names of the arrays.
        axes: order of the axes, as `HWT`.
        scale: stored value of white.
        nan: what is done about values that are NaN or infinite: `refuse`, `zero` or `median`.
        frames: those of the mask that code a measurement, as `io.parse_frames` reads it.
        truth: whether truth is read.

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
    truth: bool = True

    def __post_init__(self) -> None:
        check_options(self.axes, self.scale, self.nan, self.frames, self.truth_key, self.truth)
        byte_budget()

    def load(self, path: Path) -> Capture:
        """Read a capture so."""
        with enough_memory("read", path):
            return load_capture(path, **asdict(self))

    def look(self, path: Path) -> Look:
        """Read a capture so, and keep of it what is needed for planning."""
        capture = self.load(path)
        return Look(
            count=capture.count,
            shape=(capture.frames, *capture.shape),
            camera=mask_sha256(capture),
            scale_rule=capture.scale_rule,
            notes=capture.notes,
            path=capture.path,
            sources=capture.sources,
        )


def mask_sha256(capture: Capture) -> str:
    """The hash of a capture's mask, its shape among it."""
    digest = hashlib.sha256(repr(capture.mask.shape).encode())
    digest.update(capture.mask.tobytes())
    return digest.hexdigest()
