"""`report.json`: what a run did, in a versioned form that other programs can rely on."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from deqsci_cli.errors import InputError
from deqsci_cli.io.atomic import atomic_write
from deqsci_cli.io.boundary import reading
from deqsci_cli.io.provenance import plain

SCHEMA = "deqsci-report/1"

#: the file's name in a run's folder
REPORT = "report.json"


@dataclass(frozen=True)
class Record:
    """One reconstructed measurement; each field stands in the report under its name.

    Attributes:
        input: the capture's file.
        index: which of the file's measurements, from 0.
        output: the film.
        previews: pictures of it.
        model: by which name.
        status: `converged`, `max_iter` or `diverged`.
        evaluations: of the network, the warm-up among them.
        residual: `||f(x) - x|| / ||f(x)||` of the answer (null where nothing was finite).
        residuals: of every evaluation.
        psnrs: after every evaluation, of what would be the answer by then, dB; null without truth.
        seconds: from the measurement in memory to the film in memory.
        scale: stored values of the film = scale * intensity in [0, 1].
        scale_rule: how it was found.
        replaced: what was replaced in the input because it was no number, as sentences.
        notes: all that was found or changed in the input when it was read, as sentences.
        sources: the files that it was made from: path, sha256 and bytes of each.
        psnr: mean over the frames that have truth, dB, or null without truth.
        ssim: likewise.
        frame_psnr: frame by frame, or null.
        frame_ssim: likewise.
    """

    input: str
    index: int
    output: str
    previews: tuple[str, ...]
    model: str
    status: str
    evaluations: int
    residual: float | None
    residuals: tuple[float | None, ...]
    seconds: float
    scale: float
    scale_rule: str
    replaced: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    sources: tuple[dict[str, Any], ...] = ()
    psnr: float | None = None
    ssim: float | None = None
    psnrs: tuple[float | None, ...] | None = None
    frame_psnr: tuple[float, ...] | None = None
    frame_ssim: tuple[float, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values; what is not finite becomes null."""
        return dict(plain(asdict(self)))

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Record:
        """The record that `to_json` gave, from JSON's own types."""
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in content.items()
        }
        return cls(**values)


@dataclass(frozen=True)
class Failure:
    """An input that could not be reconstructed: why, and what would mend it."""

    input: str
    error: str
    hint: str | None
    exit_code: int


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
        with reading(path, "report"):
            text = path.read_text(encoding="utf-8")
        try:
            content = json.loads(text)
            if content.pop("schema") != SCHEMA:
                raise ValueError
            records = [Record.from_json(record) for record in content.pop("measurements")]
            failures = [Failure(**failure) for failure in content.pop("failures")]
            return cls(measurements=records, failures=failures, **content)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"the file is no report of {SCHEMA}", path=path) from error

    def write(self, path: Path) -> None:
        """Write the report, whole; a run calls this again as it goes on."""
        content = {
            "schema": SCHEMA,
            "config": plain(self.config),
            "provenance": plain(self.provenance),
            "skipped": self.skipped,
            "seconds": self.seconds,
            "measurements": [record.to_json() for record in self.measurements],
            "failures": [asdict(failure) for failure in self.failures],
        }
        with atomic_write(path, overwrite=True) as temporary:
            text = json.dumps(content, indent=2, allow_nan=False)
            temporary.write_text(text + "\n", encoding="utf-8")
