"""`models certify`: whether a model has a fixed point on given captures, and who finds it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from deqsci_cli import zoo
from deqsci_cli.equilibrium.model import EquilibriumSettings, iterate, make_map, start_state
from deqsci_cli.equilibrium.spectrum import spectrum
from deqsci_cli.errors import UsageError
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
class CertifyConfig:
    """What is measured.

    Attributes:
        model: a released model, an alias, or a model's folder.
        inputs: capture files; the first measurement of each is taken.
        reading: how they are to be understood.
        side: of the centred crop, pixels; None for the whole picture.
        evaluations: that each iteration may take.
        device: `auto`, `cpu`, `cuda` or `cuda:i`.
    """

    model: str
    inputs: tuple[Path, ...]
    reading: ReadOptions = field(default_factory=ReadOptions)
    side: int | None = 128
    evaluations: int = 100
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.evaluations < 2 or (self.side is not None and self.side < 8):
            raise UsageError("evaluations must be at least 2, the crop's side at least 8 pixels")


@dataclass(frozen=True)
class Certificate:
    """What was found on one capture.

    Attributes:
        input: the file.
        contraction: modulus of the dominant eigenvalue of the map's Jacobian at the fixed point.
        error: how far that may be off.
        dominant: the eigenvalue itself, (real, imaginary).
        rightmost: the eigenvalue of the largest real part, likewise.
        damping: largest damping of plain iteration that contracts; 0 for none.
        plain: residuals of plain iteration, `||f(x) - x|| / ||f(x)||` of every evaluation.
        accelerated: those of Anderson's.
        verdict: `plain`, `accelerated` or `none`: which iteration converges.
        words: the same as a sentence.
    """

    input: str
    contraction: float
    error: float
    dominant: tuple[float, float]
    rightmost: tuple[float, float]
    damping: float
    plain: list[float]
    accelerated: list[float]
    verdict: str
    words: str


def certify(config: CertifyConfig, on_event: OnEvent = ignore) -> list[Certificate]:
    """Measure contraction and residual decay of a model on captures.

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
    certificates = []
    for path in config.inputs:
        capture = config.reading.load(path)
        for sentence in capture.notes:
            on_event(Note(f"{path.name}: {sentence}"))
        mask = centre(torch.as_tensor(capture.mask), config.side).to(device)
        y = centre(torch.as_tensor(capture.measurements[:1]), config.side).to(device)
        with memory_errors(device), convolutions_in("float32"):
            operator = SensingOperator(mask)
            with torch.no_grad():
                f = make_map(network, operator, y, settings)
                state = start_state(f, settings)
                accelerated = iterate(f, state, settings)
                plain = iterate(f, state, replace(settings, solver="picard", damping=1.0))
            outer = spectrum(f, accelerated.x)[0]
        verdict, words = judge_convergence(
            outer.radius,
            outer.rightmost.real,
            outer.damping,
            error=outer.error,
            residual=accelerated.residual[0],
        )
        on_event(Note(f"{path}: {words}"))
        certificates.append(
            Certificate(
                str(path),
                outer.radius,
                outer.error,
                (outer.dominant.real, outer.dominant.imag),
                (outer.rightmost.real, outer.rightmost.imag),
                outer.damping,
                plain.residuals[0],
                accelerated.residuals[0],
                verdict,
                words,
            )
        )
    return certificates


def judge_convergence(
    contraction: float, rightmost: float, damping: float, *, error: float, residual: float
) -> tuple[str, str]:
    """Which iteration converges near a fixed point, as a word and as a sentence.

    Args:
        contraction: modulus of the Jacobian's dominant eigenvalue.
        rightmost: largest real part of an eigenvalue.
        damping: largest one of plain iteration that contracts.
        error: how far the eigenvalue may be off.
        residual: at which the accelerated iteration stopped.
    """
    if residual > _FAR:
        return "none", f"no fixed point was found: the residual stays at {residual:.1e}"
    if contraction < 1:
        doubt = "" if contraction + error < 1 else f", if it is not off by the whole {error:.3f}"
        words = f"plain iteration converges, by a factor of {contraction:.3f} an evaluation"
        return "plain", words + doubt
    if rightmost < 1:
        return (
            "accelerated",
            f"plain iteration runs away (eigenvalue of modulus {contraction:.3f}); Anderson's, or "
            f"one damped below {damping:.2f}, converges",
        )
    return (
        "none",
        f"the fixed point repels (eigenvalue with real part {rightmost:.3f}): no damping helps, "
        "and Anderson's iteration may leave it",
    )


def centre(x: torch.Tensor, side: int | None) -> torch.Tensor:
    """The centre of the last two axes, `side` pixels square at most; all of it for None."""
    if side is None:
        return x.float()
    h, w = x.shape[-2:]
    top, left = max(0, h - side) // 2, max(0, w - side) // 2
    return x[..., top : top + side, left : left + side].float().contiguous()
