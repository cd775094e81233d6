"""Which arrays of a capture are the measurement, the mask and the truth, and how they lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deqsci_cli.io.axes import parse_axes, resolve, to_thw
from deqsci_cli.io.container import Container
from deqsci_cli.io.keys import find_key, need_key


@dataclass(frozen=True)
class Choice:
    """One array of a capture: in which file, by which name, with which order of axes."""

    container: Container
    name: str
    axes: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """(T, H, W), from the header alone."""
        stored = self.container.entries[self.name].shape
        lengths = stored if len(stored) == 3 else _with_time(stored, self.axes)
        t, h, w = (lengths[self.axes.index(letter)] for letter in "THW")
        return t, h, w

    def read(self) -> np.ndarray:
        """The array as (T, H, W), of its own type.

        Raises:
            InputError: see `Container.read`.
        """
        return to_thw(self.container.read(self.name), self.axes)


def _with_time(shape: tuple[int, ...], axes: str) -> tuple[int, ...]:
    """The lengths of a single picture, with a time axis of length 1 where `axes` has it."""
    rest = iter(shape)
    return tuple(1 if letter == "T" else next(rest) for letter in axes)


def choose_arrays(
    source: Container,
    mask_source: Container,
    *,
    measurement_key: str | None = None,
    mask_key: str | None = None,
    truth_key: str | None = None,
    axes: str | None = None,
) -> dict[str, Choice]:
    """Find the arrays by their names and shapes; nothing is read.

    Args:
        source: the file with the measurement.
        mask_source: the file with the mask; the same object if it is the same file.

    Returns:
        `measurement`, `mask` and, if there is one, `truth`.

    Raises:
        InputError: an array cannot be found, or the axes are open.
        UsageError: for an axes option that cannot be meant.
    """
    given_axes = None if axes is None else parse_axes(axes)
    # What is known by name is set aside first, so that a single array of another name is found.
    mask_name = find_key(mask_source, "mask", mask_key, guess=False)
    truth_name = find_key(source, "truth", truth_key, guess=False)
    aside = [name for name in (truth_name,) if name]
    if mask_source is source and mask_name:
        aside.append(mask_name)
    measurement_name = need_key(source, "measurement", measurement_key, taken=aside)
    if mask_name is None:
        taken = [measurement_name, *aside] if mask_source is source else []
        mask_name = need_key(mask_source, "mask", taken=taken)
    found = [("measurement", source, measurement_name), ("mask", mask_source, mask_name)]
    if truth_name is not None:
        found.append(("truth", source, truth_name))
    stacks = [
        container.stack(name, f"{role} {name!r}", given_axes) for role, container, name in found
    ]
    orders = resolve(stacks, path=source.path)
    return {
        role: Choice(container, name, order)
        for (role, container, name), order in zip(found, orders, strict=True)
    }
