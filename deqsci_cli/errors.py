"""The one tree of errors that a user can cause; each carries an exit code, a path and a hint."""

from __future__ import annotations

from pathlib import Path


def visible(text: str, keep: str = "") -> str:
    """A text in which what would steer a terminal, or start a line of its own, is spelt out.

    File names, keys and descriptions come from anywhere; `keep` is left as it is.

    >>> print(visible("a" + chr(27) + "[31m"))
    a\\x1b[31m
    """
    return "".join(
        c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text
    )


class DeqsciError(Exception):
    """What went wrong, where, and how to fix it.

    Args:
        message: what went wrong, one sentence.
        path: the file it concerns, if any.
        hint: how to fix it, if known.
    """

    exit_code = 1

    def __init__(self, message: str, *, path: str | Path | None = None, hint: str | None = None):
        super().__init__(message)
        self.message = message
        self.path = None if path is None else Path(path)
        self.hint = hint

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path is not None else ""
        fix = f" ({self.hint})" if self.hint else ""
        return visible(f"{where}{self.message}{fix}")


class UsageError(DeqsciError):
    """An option, a config or a combination of them that cannot be meant."""

    exit_code = 2


class OutputExistsError(UsageError):
    """An output is already there and `--overwrite` was not given."""

    def __init__(self, path: str | Path):
        super().__init__(
            "the output exists already",
            path=path,
            hint="give --overwrite to replace it, or another output folder",
        )


class InputError(DeqsciError):
    """An input file that cannot be read, or does not hold what is needed."""

    exit_code = 3


class ModelError(DeqsciError):
    """A model that cannot be found or read, or does not fit its architecture."""

    exit_code = 3


class DeviceError(DeqsciError):
    """A device that is not there, or has too little memory."""

    exit_code = 4


class StorageError(DeqsciError):
    """A disk that is full, or a folder that cannot be written."""

    exit_code = 4
