"""`report.json`: what a run did, in a versioned form that other programs can rely on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from textwrap import indent
from typing import Any

from deqsci_cli.errors import DeqsciError, UsageError
from deqsci_cli.io.atomic import atomic_write
from deqsci_cli.io.json_file import read_json
from deqsci_cli.io.provenance import plain

SCHEMA = "deqsci-report/2"

#: the file's name in a run's folder
REPORT = "report.json"

STATUSES = ("converged", "max_iter", "diverged")

# Those of 30,000 measurements take some 200 MB.
_MOST_BYTES = 500_000_000
_ANEW = "run `deqsci reconstruct` again, it writes the report anew"


@dataclass(frozen=True)
class Source:
    """A file that was read: where it lay, the hash of its content, and its length."""

    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Region:
    """A rectangle that the model has reconstructed: its place in pixels, and how that went."""

    top: int
    left: int
    height: int
    width: int
    status: str
    evaluations: int
    residual: float | None


@dataclass(frozen=True)
class Measured:
    """One measurement of a recording; the fields that `Record` has too mean the same.

    Attributes:
        input: the capture's file, and
        index: which of its measurements.
        status, evaluations, residual: of the window that it was solved in.
    """

    input: str
    index: int
    status: str
    evaluations: int
    residual: float | None
    misfit: float | None = None
    held_out: float | None = None
    mask_score: float | None = None
    mask_verdict: str | None = None
    seen: float | None = None
    unseen: dict[str, float] = field(default_factory=dict)
    outside: float | None = None
    warnings: tuple[str, ...] = ()
    psnr: float | None = None
    ssim: float | None = None

    def __post_init__(self) -> None:
        if self.status not in STATUSES or min(self.index, self.evaluations) < 0:
            raise UsageError("a measurement of a recording has a known status, no negative index")


@dataclass(frozen=True)
class Record:
    """One reconstructed measurement, or recording; each field stands in the report by its name.

    Attributes:
        input: the capture's file; of a recording in several files their folder.
        index: which of the file's measurements, from 0; the first one of a recording.
        output: the film.
        previews: pictures of it.
        model: by which name.
        status: `converged`, `max_iter` or `diverged`.
        evaluations: of the network, the warm-up among them.
        residual: `||f(x) - x|| / ||f(x)||` of the answer (null where nothing was finite).
        residual_trace: of every evaluation.
        psnr_trace: dB, of the answer that each evaluation would have given; null without truth.
        seconds: from the measurement in memory to the film in memory; of several solved together
            this one's share.
        solved_together: how many these are; 1 for one alone, and for a recording.
        scale: stored values of the film = scale * intensity in [0, 1].
        scale_rule: how it was found.
        replaced: what was replaced in the input because it was no number, as sentences.
        notes: all that was found or changed in the input when it was read, as sentences.
        sources: the files that it was made from.
        misfit: `||y - A x|| / ||y||` of the film over the pixels that were used; with a consistency
            that is exact it is near 0 for any mask (null for a black measurement).
        held_out: the same over pixels that a total-variation solve was not shown (null where
            nothing could be hidden).
        mask_score: `held_out`, divided by that of the same mask rolled far away: a wrong mask has
            about 1 (null where nothing can be told).
        mask_verdict: `fits`; `moved`, another placement of the mask fits clearly better; `foreign`,
            none does; `unknown`, the measurement does not tell.
        seen: share of the measurement's pixels that were used.
        unseen: shares of those that were not, by the reason.
        outside: share of the film that lies outside 0 … 1.05 of white.
        warnings: what is probably wrong with the camera as it was told, as sentences.
        roi: the regions that the model has made, gap-tv the rest; empty where nothing moves; null
            where the model has made all. Status, evaluations and residuals are then those of the
            region in which it came least far, of an empty one those of gap-tv.
        psnr: mean over the frames that have truth, dB, or null without truth.
        ssim: likewise.
        frame_psnr: frame by frame, or null.
        frame_ssim: likewise.
        recording: the measurements that follow one another in this film; empty for one alone. Then
            status, evaluations and residuals above are those of the window that came worst, the
            figures from misfit to outside are means, the mask's verdict is the worst one, and
            sentences that differ in a number alone are told once.
    """

    input: str
    index: int
    output: str
    previews: tuple[str, ...]
    model: str
    status: str
    evaluations: int
    residual: float | None
    residual_trace: tuple[float | None, ...]
    seconds: float
    scale: float
    scale_rule: str
    solved_together: int = 1
    replaced: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()
    misfit: float | None = None
    held_out: float | None = None
    mask_score: float | None = None
    mask_verdict: str | None = None
    seen: float | None = None
    unseen: dict[str, float] = field(default_factory=dict)
    outside: float | None = None
    warnings: tuple[str, ...] = ()
    roi: tuple[Region, ...] | None = None
    psnr: float | None = None
    ssim: float | None = None
    psnr_trace: tuple[float | None, ...] | None = None
    frame_psnr: tuple[float | None, ...] | None = None
    frame_ssim: tuple[float | None, ...] | None = None
    recording: tuple[Measured, ...] = ()

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise UsageError(f"the status is none of {', '.join(STATUSES)}")
        if min(self.index, self.evaluations, self.seconds) < 0 or not self.scale > 0:
            raise UsageError("index, evaluations and seconds are not below 0, the scale above 0")

    def to_json(self) -> dict[str, Any]:
        """Plain values; what is not finite becomes null."""
        return dict(plain(asdict(self)))


@dataclass(frozen=True)
class Failure:
    """An input that could not be reconstructed: why, and how to fix it."""

    input: str
    error: str
    hint: str | None
    exit_code: int

    @classmethod
    def of(cls, path: Path, error: DeqsciError) -> Failure:
        """The failure of an input, by the error that it raised."""
        text = str(error) if error.path is not None else f"{path}: {error}"
        return cls(str(path), text, error.hint, error.exit_code)


@dataclass
class Report:
    """A run: its config, provenance, records and failures.

    Attributes:
        config: what was asked for.
        provenance: where it comes from.
        measurements: what is done, in the order of the inputs.
        failures: what came to nothing.
        skipped: of the measurements, how many an earlier run had done.
        seconds: from the first look at the inputs to the last film.
    """

    config: dict[str, Any]
    provenance: dict[str, Any]
    measurements: list[Record] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    skipped: int = 0
    seconds: float = 0.0

    @classmethod
    def read(cls, path: Path) -> Report:
        """What `write` wrote.

        Raises:
            InputError: it cannot be read, or is no report.
        """
        found = read_json(
            path, _Content, what="report", again=_ANEW, most=_MOST_BYTES, schema=SCHEMA
        )
        return cls(
            found.config, found.provenance, list(found.measurements), list(found.failures),
            found.skipped, found.seconds,
        )  # fmt: skip

    def write(self, path: Path) -> None:
        """Write the report, whole; a run calls this again as it goes on."""
        head = {
            "schema": SCHEMA,
            "config": plain(self.config),
            "provenance": plain(self.provenance),
            "skipped": self.skipped,
            "seconds": self.seconds,
        }
        lists: dict[str, Sequence[Record | Failure]] = {
            "measurements": self.measurements,
            "failures": self.failures,
        }
        with (
            atomic_write(path, overwrite=True) as temporary,
            temporary.open("w", encoding="utf-8") as file,
        ):
            # One by one: of ten thousand measurements no second copy is held.
            file.write(json.dumps(head, indent=2, allow_nan=False)[: -len("\n}")])
            for name, items in lists.items():
                file.write(f',\n  "{name}": [')
                for number, item in enumerate(items):
                    text = json.dumps(plain(asdict(item)), indent=2, allow_nan=False)
                    file.write(("," if number else "") + "\n" + indent(text, "    "))
                file.write("\n  ]" if items else "]")
            file.write("\n}\n")


@dataclass(frozen=True)
class _Content:
    """What the file holds."""

    schema: str
    config: dict[str, Any]
    provenance: dict[str, Any]
    skipped: int
    seconds: float
    measurements: tuple[Record, ...]
    failures: tuple[Failure, ...]
