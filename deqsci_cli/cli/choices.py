"""What a shell offers for an option; the words are looked up when somebody presses Tab."""

from __future__ import annotations

from collections.abc import Callable, Iterable

Complete = Callable[[str], list[str]]


def offer(words: Iterable[str] | Callable[[], Iterable[str]]) -> Complete:
    """A completion: those of the words that begin as what is typed; files where none does.

    Args:
        words: themselves, or a function that looks them up: some are slow to import.
    """

    def complete(incomplete: str) -> list[str]:
        known = words() if callable(words) else words
        return [word for word in known if word.startswith(incomplete)]

    return complete


def models() -> list[str]:
    """The released models and their short names."""
    from deqsci_cli.zoo import ALIASES, released

    return sorted((*ALIASES, *released()))


def formats() -> tuple[str, ...]:
    """What a film may be written as."""
    from deqsci_cli.engine.batch.config import FORMATS

    return FORMATS


def solvers() -> list[str]:
    """What brings a map to its fixed point."""
    from deqsci_cli.equilibrium.registries import SOLVERS

    return SOLVERS.names()


def symmetries() -> list[str]:
    """Over how many symmetries a denoiser may be averaged."""
    from deqsci_cli.networks.options import SYMMETRIES

    return [str(count) for count in SYMMETRIES]


def nan_policies() -> tuple[str, ...]:
    """What may be done about values that are no numbers."""
    from deqsci_cli.io.nan_policy import NAN_POLICIES

    return NAN_POLICIES


def architectures() -> list[str]:
    """The networks that can be trained."""
    from deqsci_cli.networks.registry import ARCHITECTURES

    return ARCHITECTURES.names()


def mask_kinds() -> tuple[str, ...]:
    """Which masks can be made."""
    from deqsci_cli.physics.masks import KINDS

    return KINDS


def stages() -> tuple[str, ...]:
    """What a training can be."""
    from deqsci_cli.training.settings import STAGES

    return STAGES


def training_dtypes() -> tuple[str, ...]:
    """In which precision a training can run."""
    from deqsci_cli.training.settings import DTYPES

    return DTYPES


def published() -> list[str]:
    """Of which published checkpoints models can be made."""
    from deqsci_cli.engine.convert import PUBLISHED

    return [*PUBLISHED]
