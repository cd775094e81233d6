"""Pictures that a camera took to be calibrated: each a mean over its repeats, in stored units."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deqsci_cli.errors import InputError
from deqsci_cli.io.formats import SUFFIXES, sniff_stream
from deqsci_cli.io.images import IMAGE_SUFFIXES, image_frames, natural
from deqsci_cli.io.limits import check_budget
from deqsci_cli.io.paths import is_dir, is_file
from deqsci_cli.io.read_errors import input_errors, require_file
from deqsci_cli.io.stack import read_stack


def read_picture(path: Path) -> np.ndarray:
    """The mean `(H, W)` over the frames of a file: a picture, or a stack of repeats.

    Raises:
        InputError: it cannot be read.
    """
    return np.asarray(_frames(path).mean(0, dtype=np.float64))


def read_positions(path: Path) -> np.ndarray:
    """Pictures of a mask's positions, `(T, H, W)`.

    Args:
        path: a stack with one frame a position; or a folder with one file a position, in natural
            order (2 before 10), each a picture or a stack of repeats.

    Raises:
        InputError: they cannot be read, or are of different size.
    """
    if not is_dir(path):
        return _frames(path).astype(np.float64)
    files = files_in(path)
    if not files:
        raise InputError("there are no pictures in the folder", path=path)
    first = read_picture(files[0])
    check_budget((len(files), *first.shape), 8, path=path, what="the pictures of the mask")
    pictures = [first, *map(read_picture, files[1:])]
    for file, picture in zip(files, pictures, strict=True):
        if picture.shape != first.shape:
            raise InputError(
                f"the picture is {picture.shape}, that of {files[0].name} {first.shape}",
                path=file,
                hint="leave only pictures of the mask in the folder",
            )
    return np.stack(pictures)


def files_in(path: Path) -> Sequence[Path]:
    """The files that `read_positions` reads."""
    if not is_dir(path):
        return [path]
    with input_errors(path, "folder"):
        inside = [file for file in path.iterdir() if file.name[0] != "." and is_file(file)]
    kinds = IMAGE_SUFFIXES | set(SUFFIXES)
    return sorted((file for file in inside if file.suffix.lower() in kinds), key=natural)


def _frames(path: Path) -> np.ndarray:
    """The frames `(n, H, W)` of a file, as stored."""
    file = require_file(path)
    with input_errors(file, "file"), file.open("rb") as stream:
        form = sniff_stream(stream, file)
    if form is not None:
        return read_stack(path).frames
    return np.stack(list(image_frames(path)))
