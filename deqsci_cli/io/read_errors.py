"""The edge to the file libraries: what they raise about a bad file becomes one clear error."""

from __future__ import annotations

import errno
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deqsci_cli.errors import DeqsciError, DeviceError, InputError


@contextmanager
def input_errors(path: str | Path, kind: str) -> Iterator[None]:
    """Turn whatever a library raises while it reads `path` into an InputError.

    File libraries raise nearly every built-in exception on damaged files (struct.error, zlib
    error, KeyError, AssertionError, …), so everything is caught; that is why only library calls
    belong inside the block. Their warnings are silenced: what matters is raised.

    Args:
        kind: what the file was taken for, for the message, like "MATLAB 5.0 file".

    Raises:
        InputError: the file cannot be read as `kind`.
        DeviceError: it does not fit in memory.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except DeqsciError:
        raise
    except MemoryError as error:
        raise _no_memory("read", path) from error
    except PermissionError as error:
        raise InputError(
            "the file may not be read", path=path, hint="check its permissions"
        ) from error
    except Exception as error:
        detail = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(
            f"the {kind} cannot be read: {detail}",
            path=path,
            hint="the file may be damaged or cut off; copy or export it again",
        ) from error


@contextmanager
def enough_memory(verb: str, path: str | Path) -> Iterator[None]:
    """Tell running out of memory while a file is read or written as what it is.

    Args:
        verb: what is done with the file, like "read".

    Raises:
        DeviceError: in place of a MemoryError.
    """
    try:
        yield
    except MemoryError as error:
        raise _no_memory(verb, path) from error


def _no_memory(verb: str, path: str | Path) -> DeviceError:
    return DeviceError(
        f"there is not enough memory to {verb} the file",
        path=path,
        hint="end other programs, or cut the pictures",
    )


def require_file(path: str | Path) -> Path:
    """Return `path` as a Path.

    Raises:
        InputError: if there is no such regular file (a pipe or a device is not one).
    """
    file = Path(path)
    try:
        mode = file.stat().st_mode
    except (OSError, ValueError) as error:
        raise unreachable(file, error) from error
    if not stat.S_ISREG(mode):
        raise InputError("this is not a file", path=file, hint="give the path of one file")
    return file


def unreachable(path: Path, error: Exception, what: str = "file") -> InputError:
    """What is said of a path behind which the system finds nothing."""
    spelling = "check the spelling of the path"
    if getattr(error, "errno", None) in (errno.ENOENT, errno.ENOTDIR):
        return InputError(f"there is no such {what}", path=path, hint=spelling)
    if isinstance(error, PermissionError):
        return InputError(
            f"the {what} may not be read", path=path, hint="check the permissions of its folders"
        )
    reason = getattr(error, "strerror", None) or error
    return InputError(f"the {what} cannot be reached: {reason}", path=path, hint=spelling)
