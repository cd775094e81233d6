"""What a capture's files hold, from their headers alone: which arrays, and how their axes lie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deqsci_cli.errors import InputError, UsageError
from deqsci_cli.io.array_names import find_key, need_key
from deqsci_cli.io.axes import parse_axes, resolve, to_thw
from deqsci_cli.io.container import Container
from deqsci_cli.io.file_version import FileStamp
from deqsci_cli.io.mask_file import open_mask
from deqsci_cli.io.opening import open_container


class OwnFilmError(InputError):
    """The file is a film that this program made, not a capture."""


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

    @property
    def shape(self) -> tuple[int, int, int]:
        """(T, H, W)."""
        lengths = iter(self.container.entries[self.name].shape)
        if len(self.container.entries[self.name].shape) == 2:
            found = {letter: next(lengths) for letter in self.axes if letter != "T"} | {"T": 1}
        else:
            found = dict(zip(self.axes, lengths, strict=True))
        return found["T"], found["H"], found["W"]

    def read(self) -> np.ndarray:
        """The array as (T, H, W), of its own type.

        Raises:
            InputError: see `Container.read`.
        """
        return to_thw(self.container.read(self.name), self.axes)


@dataclass(frozen=True)
class Parts:
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


@dataclass(frozen=True)
class CaptureHeader:
    """What is known of a capture before it is read.

    Attributes:
        count: N, its measurements.
        shape: (T, H, W).
        stamp: of the file with the measurements.
        mask: the stamp of the mask's own file; None where the mask lies in the capture.
    """

    count: int
    shape: tuple[int, int, int]
    stamp: FileStamp
    mask: FileStamp | None


def read_header(
    path: str | Path,
    *,
    mask: str | Path | None = None,
    measurement_key: str | None = None,
    mask_key: str | None = None,
    truth_key: str | None = None,
    axes: str | None = None,
    frames: str | None = None,
    truth: bool = True,
) -> CaptureHeader:
    """Look into a capture's header; no pixel is read. The arguments are `load_capture`'s.

    Raises:
        InputError: a file cannot be read or does not hold a capture.
        OwnFilmError: it is a film that `reconstruct` wrote.
        UsageError: axes or frames that cannot be meant.
    """
    with open_capture(path, mask) as (source, mask_source):
        parts = find_parts(
            source,
            mask_source,
            measurement_key=measurement_key,
            mask_key=mask_key,
            truth_key=truth_key,
            axes=axes,
            truth=truth,
        )
        count, height, width = parts.measurement.shape
        used = range(parts.mask.shape[0])[chosen_frames(frames, parts.mask)]
        own_mask = None if mask is None else mask_source.stamp
        return CaptureHeader(count, (len(used), height, width), source.stamp, own_mask)


@contextmanager
def open_capture(
    path: str | Path, mask: str | Path | None
) -> Iterator[tuple[Container, Container]]:
    """The files with the measurement and with the mask; one and the same for no mask of its own.

    Raises:
        InputError: see `open_container`.
        OwnFilmError: for a film that `reconstruct` wrote.
    """
    with open_container(path) as source:
        if (source.provenance or {}).get("command") == "reconstruct":
            raise OwnFilmError(
                "this is a film that deqsci made, not a capture",
                path=path,
                hint="give the capture that it was made from",
            )
        yield source, source if mask is None else open_mask(mask)


def find_parts(
    source: Container,
    mask_source: Container,
    *,
    measurement_key: str | None = None,
    mask_key: str | None = None,
    truth_key: str | None = None,
    axes: str | None = None,
    truth: bool = True,
) -> Parts:
    """Find a capture's arrays in its opened files; nothing but headers is read.

    Raises:
        InputError: an array cannot be found or read, or the axes are open.
        UsageError: axes that cannot be meant.
    """
    given = None if axes is None else parse_axes(axes)

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

    chosen = [("measurement", source, measurement_name), ("mask", mask_source, mask_name)]
    notes: tuple[str, ...] = ()
    if truth and truth_name is not None:
        reason = None if truth_key is not None else _unusable(source, truth_name)
        if reason is None:
            chosen.append(("truth", source, truth_name))
        else:
            notes = (f"truth not used: {reason}",)
    parts = _ordered(chosen, given)
    return Parts(parts[0], parts[1], parts[2] if len(parts) == 3 else None, notes)


def chosen_frames(text: str | None, mask: Part) -> slice:
    """Which frames of a mask code a measurement.

    Raises:
        UsageError: the mask has fewer.
    """
    have = mask.shape[0]
    if text is None:
        return slice(0, have)
    chosen = parse_frames(text)
    if chosen.stop > have:
        raise UsageError(
            f"the mask has {have} frames, --frames asks for more (up to {chosen.stop})",
            path=mask.container.path,
            hint="choose among those that are there",
        )
    return chosen


def parse_frames(text: str) -> slice:
    """Which frames of a mask code a measurement: `10` for the first ten, `10:20` for those.

    >>> parse_frames("10"), parse_frames("10:20")
    (slice(0, 10, None), slice(10, 20, None))

    Raises:
        UsageError: the text is none of this, or chooses none.
    """
    first, colon, last = text.strip().partition(":")
    numbers = [first, last] if colon else ["0", first]
    if all(number.isascii() and number.isdigit() and len(number) < 10 for number in numbers):
        start, stop = map(int, numbers)
        if start < stop:
            return slice(start, stop)
    raise UsageError(
        f"--frames {text!r} chooses no frames of a mask", hint="for example 10, or 10:20"
    )


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
    stacks = [container.stack(name, f"{what} {name!r}", given) for what, container, name in chosen]
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
