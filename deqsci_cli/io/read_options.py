"""How a capture's file is to be understood, where it does not say so itself."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from deqsci_cli.io import Capture, CaptureHeader, check_options, load_capture, read_header
from deqsci_cli.io.limits import byte_budget
from deqsci_cli.io.read_errors import enough_memory


@dataclass(frozen=True)
class ReadOptions:
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

    def read_header(self, path: Path) -> CaptureHeader:
        """Look into a capture's header so; no pixel is read."""
        options = asdict(self)
        for name in ("scale", "nan"):  # they concern values alone
            del options[name]
        return read_header(path, **options)
