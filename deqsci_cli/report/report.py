"""`report.json`: what a run did, in a versioned form that other programs can rely on."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from deqsci_cli.errors import InputError
from deqsci_cli.io.atomic import atomic_write

SCHEMA = "deqsci-report/1"


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
        seconds: from the measurement in memory to the film in memory.
        scale: stored values of the film = scale * intensity in [0, 1].
        scale_rule: how it was found.
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
    psnr: float | None = None
    ssim: float | None = None
    frame_psnr: tuple[float, ...] | None = None
    frame_ssim: tuple[float, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values; what is not finite becomes null."""
        return dict(_plain(asdict(self)))


@dataclass(frozen=True)
class Failure:
    """An input that could not be reconstructed: why, and what would mend it."""

    input: str
    error: str
    hint: str | None
    exit_code: int


@dataclass
class Report:
    """A run: its config, provenance, records and failures."""

    config: dict[str, Any]
    provenance: dict[str, Any]
    measurements: list[Record] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """Write the report, whole; a run calls this again as it goes on."""
        content = {
            "schema": SCHEMA,
            "config": _plain(self.config),
            "provenance": _plain(self.provenance),
            "measurements": [record.to_json() for record in self.measurements],
            "failures": [asdict(failure) for failure in self.failures],
        }
        with atomic_write(path, overwrite=True) as temporary:
            text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
            temporary.write_text(text + "\n", encoding="utf-8")


def read_report(path: Path) -> dict[str, Any]:
    """Read a report back.

    Raises:
        InputError: it cannot be read, or has a schema that this version does not know.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"the report cannot be read: {error}", path=path) from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise InputError(f"this is no report of schema {SCHEMA}", path=path)
    return content


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    return value
