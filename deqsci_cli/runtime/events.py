"""What the engine tells while it works; whoever calls it decides what to show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Note:
    """A sentence that the user should read.

    Attributes:
        text: the sentence.
        detail: whether it is for those alone who want to know all.
    """

    text: str
    detail: bool = False


@dataclass(frozen=True)
class Phase:
    """What a run is doing now.

    Attributes:
        name: `reading`, `starting`, `solving` or `writing`.
        done: how many measurements are finished, over all inputs.
        of: how many there are.
    """

    name: str
    done: int
    of: int


@dataclass(frozen=True)
class Iterated:
    """One evaluation of the equilibrium map, for a batch of measurements.

    Attributes:
        done: how many measurements are finished, over all inputs.
        of: how many there are.
        evaluations: how many it may have.
        residual: the largest of its best residuals `||f(x) - x|| / ||f(x)||`.
        share: of the whole run's work that is done, an estimate in [0, 1].
    """

    done: int
    of: int
    evaluations: int
    residual: float
    share: float


@dataclass(frozen=True)
class Finished:
    """A batch of measurements is done.

    Attributes:
        done: how many measurements are finished, over all inputs.
        of: how many there are.
        share: of the whole run's work that is done, in [0, 1].
    """

    done: int
    of: int
    share: float


@dataclass(frozen=True)
class Stepped:
    """One step of a training.

    Attributes:
        step: how many are done.
        steps: how many there will be; an estimate where the run ends by time.
        loss: mean over the samples of the step.
        facts: what else was seen, by name (`residual`, `evaluations` … at equilibrium).
    """

    step: int
    steps: int
    loss: float
    facts: dict[str, float]


@dataclass(frozen=True)
class Validated:
    """A look at the held-out clips.

    Attributes:
        step: after this many steps.
        figures: measured quantities by name (PSNR in dB).
        best: whether it is the best so far.
    """

    step: int
    figures: dict[str, float]
    best: bool


Event = Note | Phase | Iterated | Finished | Stepped | Validated
OnEvent = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The listener of somebody who does not listen."""
