"""`models diagnose`: whether a model has a fixed point on given captures, and who finds it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from deqsci_cli import zoo
from deqsci_cli.equilibrium.model import iterate, make_map, start_state
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.equilibrium.spectrum import spectrum
from deqsci_cli.errors import UsageError
from deqsci_cli.io import load_capture
from deqsci_cli.io.axes import centre_crop
from deqsci_cli.io.read_options import ReadOptions
from deqsci_cli.physics.sensing import SensingOperator
from deqsci_cli.runtime.device import (
    choose_device,
    convolutions_in,
    memory_errors,
    prepare,
)
from deqsci_cli.runtime.events import Note, OnEvent, ignore

# The fixed point is sought closer than for a film, so that the Jacobian is that of the point.
_TOLERANCE = 1e-5

# Where no more than this is reached, there is no point to look at.
_FAR = 1e-2


@dataclass(frozen=True)
class DiagnoseConfig:
    """What is measured.

    Attributes:
        model: a released model, an alias, or a model's folder.
        inputs: capture files; the first measurement of each is taken.
        read_options: how they are to be understood.
        side: of the centred crop, pixels; None for the whole picture.
        evaluations: that each iteration may take.
        device: `auto`, `cpu`, `cuda` or `cuda:i`.
    """

    model: str
    inputs: tuple[Path, ...]
    read_options: ReadOptions = field(default_factory=ReadOptions)
    side: int | None = 128
    evaluations: int = 100
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.evaluations < 2 or (self.side is not None and self.side < 8):
            raise UsageError("evaluations must be at least 2, the crop's side at least 8 pixels")


@dataclass(frozen=True)
class Diagnosis:
    """What was found on one capture.

    Attributes:
        input: the file.
        spectral_radius: of the map's Jacobian at the fixed point, as so many Arnoldi steps show it:
            the modulus of the dominant eigenvalue.
        error: how far that may be off: the norm of the Ritz residual.
        dominant: the eigenvalue itself, (real, imaginary).
        rightmost: the eigenvalue of the largest real part, likewise.
        max_relaxation: largest relaxation with which plain iteration converges; 0 for none.
        plain: residuals of plain iteration, `||f(x) - x|| / ||f(x)||` of every evaluation.
        accelerated: those of Anderson's.
        verdict: `plain`, `accelerated` or `none`: which iteration converges.
        words: the same as a sentence.
    """

    input: str
    spectral_radius: float
    error: float
    dominant: tuple[float, float]
    rightmost: tuple[float, float]
    max_relaxation: float
    plain: list[float]
    accelerated: list[float]
    verdict: str
    words: str


def diagnose(config: DiagnoseConfig, on_event: OnEvent = ignore) -> list[Diagnosis]:
    """Measure the spectral radius and the decay of the residual of a model on captures.

    Raises:
        InputError, ModelError, DeviceError: as their names say.
    """
    device = choose_device(config.device)
    model = zoo.load(config.model)
    network, _ = prepare(model.network, device, "float32")
    card = EquilibriumSettings.from_card(model.card.equilibrium)
    settings = replace(
        card, tol=_TOLERANCE, max_iter=config.evaluations, solver="anderson", warmup=()
    )
    diagnoses = []
    for path in config.inputs:
        capture = load_capture(path, config.read_options)
        capture.need_one_arm("diagnose")
        for sentence in capture.notes:
            on_event(Note(f"{path.name}: {sentence}"))
        mask = _tensor(capture.mask, config.side).to(device)
        y = _tensor(capture.measurements[:1], config.side).to(device)
        with memory_errors(device), convolutions_in("float32"):
            seen = capture.seen(0)
            known = None if seen is None else torch.from_numpy(centre_crop(seen, config.side)[None])
            operator = SensingOperator(mask, None if known is None else known.to(device))
            with torch.no_grad():
                f = make_map(network, operator, y, settings)
                state = start_state(f, settings)
                accelerated = iterate(f, state, settings)
                plain = iterate(f, state, replace(settings, solver="picard", relaxation=1.0))
            outer = spectrum(f, accelerated.x)[0]
        verdict, words = judge_convergence(
            outer.spectral_radius,
            outer.rightmost.real,
            outer.max_relaxation,
            error=outer.error,
            residual=accelerated.residual[0],
        )
        on_event(Note(f"{path}: {words}"))
        diagnoses.append(
            Diagnosis(
                str(path),
                outer.spectral_radius,
                outer.error,
                (outer.dominant.real, outer.dominant.imag),
                (outer.rightmost.real, outer.rightmost.imag),
                outer.max_relaxation,
                plain.residual_trace[0],
                accelerated.residual_trace[0],
                verdict,
                words,
            )
        )
    return diagnoses


def judge_convergence(
    spectral_radius: float,
    rightmost: float,
    max_relaxation: float,
    *,
    error: float,
    residual: float,
) -> tuple[str, str]:
    """Which iteration converges near a fixed point, as a word and as a sentence.

    Args:
        spectral_radius: of the Jacobian.
        rightmost: largest real part of an eigenvalue.
        max_relaxation: largest one with which plain iteration converges.
        error: how far the eigenvalue may be off.
        residual: at which the accelerated iteration stopped.
    """
    if residual > _FAR:
        return "none", f"no fixed point was found: the residual stays at {residual:.1e}"
    if spectral_radius < 1:
        doubt = (
            "" if spectral_radius + error < 1 else f", unless the estimate is off by {error:.3f}"
        )
        words = f"plain iteration converges, by a factor of {spectral_radius:.3f} an evaluation"
        return "plain", words + doubt
    if rightmost < 1:
        return (
            "accelerated",
            f"plain iteration diverges (eigenvalue of modulus {spectral_radius:.3f}); Anderson's "
            f"converges, and so does a relaxation below {max_relaxation:.2f}",
        )
    return (
        "none",
        f"the fixed point is unstable (eigenvalue with real part {rightmost:.3f}): no relaxation "
        "helps, and Anderson's iteration may leave it",
    )


def _tensor(pictures: np.ndarray, side: int | None) -> torch.Tensor:
    """The centre of pictures, all of it for None."""
    return torch.from_numpy(np.ascontiguousarray(centre_crop(pictures, side), np.float32))
