"""What a capture's files hold, from their headers alone: which arrays, and how their axes lie."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from deqsci_cli.errors import InputError
from deqsci_cli.io.axes import Stack, parse_axes, resolve
from deqsci_cli.io.container import Container, open_container
from deqsci_cli.io.keys import find_key, need_key


@dataclass(frozen=True)
class Part:
    """An array of a capture.

    Attributes:
        what: `measurement`, `mask` or `truth`.
        container: its file, and
        name: its name there.
        axes: their order, a permutation of "THW".
    """

    what: str
    container: Container
    name: str
    axes: str


@dataclass(frozen=True)
class Header:
    """The arrays of a capture.

    Attributes:
        measurement, mask: these.
        truth: None where there is none, or none that can be used.
        notes: why not, as sentences.
    """

    measurement: Part
    mask: Part
    truth: Part | None
    notes: tuple[str, ...]

    @property
    def path(self) -> Path:
        """The measurement's file."""
        return self.measurement.container.path

    @property
    def sources(self) -> tuple[Path, ...]:
        """The files, each once."""
        files = (self.path, self.mask.container.path)
        return tuple(dict.fromkeys(files))


def read_header(
    path: str | Path,
    *,
    mask: str | Path | None = None,
    measurement_key: str | None = None,
    mask_key: str | None = None,
    truth_key: str | None = None,
    axes: str | None = None,
    truth: bool = True,
) -> Header:
    """Find a capture's arrays; nothing but headers is read. The arguments are `load_capture`'s.

    Raises:
        InputError: a file cannot be read or does not hold a capture.
        UsageError: axes that cannot be meant.
    """
    source = open_container(path)
    mask_source = source if mask is None else open_container(mask)
    given = None if axes is None else parse_axes(axes)

    # What is known by name is set aside first, so that a single array of another name is found.
    mask_name = find_key(mask_source, "mask", mask_key, guess=False)
    truth_name = find_key(source, "truth", truth_key, guess=False)
    aside = [name for name in (truth_name,) if name]
    if mask is None and mask_name:
        aside.append(mask_name)
    measurement_name = need_key(source, "measurement", measurement_key, taken=aside)
    if mask_name is None:
        taken = [measurement_name, *aside] if mask is None else []
        mask_name = need_key(mask_source, "mask", taken=taken)

    chosen = [("measurement", source, measurement_name), ("mask", mask_source, mask_name)]
    notes: tuple[str, ...] = ()
    if truth and truth_name is not None:
        reason = None if truth_key is not None else _unusable(source, truth_name)
        if reason is None:
            chosen.append(("truth", source, truth_name))
        else:
            notes = (f"truth not used: {reason}",)
    parts = _ordered(chosen, given)
    return Header(parts[0], parts[1], parts[2] if len(parts) == 3 else None, notes)


def _unusable(container: Container, name: str) -> str | None:
    """Why an array can be no truth whatever the capture, None if it can."""
    shape = container.entries[name].shape
    try:
        container.check(name)
    except InputError as error:
        return error.message
    if len(shape) not in (2, 3):
        return f"{name!r} has the shape {shape}; 2 or 3 axes are needed, and no colours"
    return None


def _ordered(chosen: Sequence[tuple[str, Container, str]], given: str | None) -> list[Part]:
    """The arrays with the orders of their axes, in which their picture sizes agree."""
    for _, container, name in chosen:
        container.check(name)
    stacks = [
        Stack(
            f"{what} {name!r}", container.entries[name].shape, given or container.entries[name].axes
        )
        for what, container, name in chosen
    ]
    path = chosen[0][1].path
    try:
        orders = resolve(stacks, path=path)
    except InputError as error:
        if len(stacks) == 3:
            with suppress(InputError):
                resolve(stacks[:2], path=path)
                error.hint = f"{error.hint}; --no-truth leaves the truth out"
        raise
    return [Part(*each, order) for each, order in zip(chosen, orders, strict=True)]
