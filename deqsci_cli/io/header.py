"""What a capture's header tells: enough to plan a run, without reading a single pixel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deqsci_cli.errors import InputError
from deqsci_cli.io.array_choice import Choice, choose_arrays
from deqsci_cli.io.container import Container
from deqsci_cli.io.file_version import FileStamp
from deqsci_cli.io.mask_file import open_mask
from deqsci_cli.io.opening import open_container


class OwnFilmError(InputError):
    """The file is a film that this program made, not a capture."""


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
) -> CaptureHeader:
    """Look into a capture's header; the arguments are those of `load_capture`.

    Raises:
        InputError: for a file that cannot be read or does not hold a capture.
        OwnFilmError: for a film that `reconstruct` wrote.
        UsageError: for an axes option that cannot be meant.
    """
    with open_capture(path, mask) as (source, mask_source):
        chosen = choose_arrays(
            source,
            mask_source,
            measurement_key=measurement_key,
            mask_key=mask_key,
            truth_key=truth_key,
            axes=axes,
        )
        own_mask = None if mask is None else mask_source.stamp
        return header_of(chosen, source.stamp, own_mask)


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


def header_of(chosen: dict[str, Choice], stamp: FileStamp, mask: FileStamp | None) -> CaptureHeader:
    """The header of a capture whose arrays are chosen.

    Raises:
        InputError: the pictures of measurement and mask differ in size.
    """
    (count, *picture), (frames, *mask_picture) = chosen["measurement"].shape, chosen["mask"].shape
    if picture != mask_picture:
        raise InputError(
            f"the measurements are {tuple(picture)} pixels, the mask {tuple(mask_picture)}",
            path=stamp.path,
            hint="give the mask that belongs to this measurement",
        )
    height, width = picture
    return CaptureHeader(count, (frames, height, width), stamp, mask)
