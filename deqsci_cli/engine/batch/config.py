"""What a user asks of `reconstruct`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deqsci_cli.config import check_seed
from deqsci_cli.errors import UsageError
from deqsci_cli.io import Look, formats
from deqsci_cli.io.read_options import ReadOptions
from deqsci_cli.runtime.device_names import check_dtype

FORMATS = tuple(each.suffixes[0][1:] for each in formats.FORMATS)
PREVIEWS = ("gif", "png", "mp4")


@dataclass(frozen=True)
class ReconstructConfig:
    """Everything that decides a reconstruction.

    Attributes:
        inputs: capture files.
        out: folder of films and report.
        model: a released model, an alias, or a model's folder.
        read_options: how the inputs are to be understood.
        measurements: which of each file, as `selection.parse_selection` reads it.
        equilibrium: fields of `EquilibriumSettings` to have other than the model's card says.
        roi: where the model computes, gap-tv elsewhere, as `roi.read_roi` reads it; None for all.
        device: `auto`, `cpu`, `cuda` or `cuda:i`.
        dtype: `float32`; `mixed`, float32 near the fixed point and coarser before, where the device
            computes that faster; `tf32` (convolutions on an NVIDIA GPU), `float64`, or `bfloat16`
            (the network alone runs in it; residuals stay above some 1e-3).
        seed: of PyTorch's generator, for models that draw numbers.
        format: of the films: `tif`, `mat` or `h5`.
        previews: any of `gif`, `png`, `mp4`.
        look: contrast and speed of these.
        page: write `report.html` as well.
        overwrite: replace what lies there.
        resume: leave what an earlier run has made of the same inputs, model and settings.
        fail_fast: stop at the first input that fails.
        batch_size: measurements solved together; None for what suits the device. With `sequence`
            the most that make one window of a recording; None for what suits most machines.
        cluster: None for this process, `local:N` for N processes, or a Dask scheduler's address.
        found: those of `inputs` that a folder or a glob stood for: a film of ours among them is
            passed over, where one that was named is an error.
        lists: files that `inputs` were read from; no output may replace them.
        sequence: the measurements of an input follow one another, and become one film.
        folders: with `sequence`, the inputs that lie directly in one of these are one recording.
    """

    inputs: tuple[Path, ...]
    out: Path
    model: str = "pnp"
    read_options: ReadOptions = field(default_factory=ReadOptions)
    measurements: str = ":"
    equilibrium: dict[str, Any] = field(default_factory=dict)
    roi: str | None = None
    device: str = "auto"
    dtype: str = "float32"
    seed: int = 0
    format: str = "tif"
    previews: tuple[str, ...] = ("gif",)
    look: Look = field(default_factory=Look)
    page: bool = False
    overwrite: bool = False
    resume: bool = False
    fail_fast: bool = False
    batch_size: int | None = None
    cluster: str | None = None
    found: tuple[Path, ...] = ()
    lists: tuple[Path, ...] = ()
    sequence: bool = False
    folders: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        if not self.inputs:
            raise UsageError("there is nothing to reconstruct", hint="name a capture file")
        if self.format not in FORMATS:
            raise UsageError(
                f"films are not written as '{self.format}'", hint=f"one of {', '.join(FORMATS)}"
            )
        if unknown := sorted(set(self.previews) - set(PREVIEWS)):
            raise UsageError(
                f"there is no preview '{unknown[0]}'", hint=f"one of {', '.join(PREVIEWS)}, none"
            )
        check_dtype(self.dtype)
        check_seed(self.seed)
        if self.sequence and self.roi is not None:
            raise UsageError("--roi computes single measurements, not a --sequence", hint="choose")
        if self.sequence and self.read_options.arms not in (None, "1"):
            raise UsageError("--sequence takes captures of one arm", hint="leave out --sequence")
        if self.resume and self.overwrite:
            raise UsageError("--resume keeps what is done, --overwrite replaces it", hint="choose")
        if self.batch_size is not None and self.batch_size < 1:
            raise UsageError("a batch holds at least 1 measurement")

    @property
    def several(self) -> bool:
        """Whether there are other inputs that one at which a reader crashes would take along."""
        return len(self.inputs) > 1
