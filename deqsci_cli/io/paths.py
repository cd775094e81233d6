"""Questions about paths that have an answer for every path, and files that are what they seem.

The system refuses some paths outright: a name that is too long, links in a circle, a folder that
may not be searched. Nothing lies there that could be used, and that is no accident of the program.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from pathlib import Path

from deqsci_cli.errors import UsageError

# The longest name that common file systems hold.
_NAME_BYTES = 255


def exists(path: str | Path) -> bool:
    """Whether something lies there that can be reached."""
    return os.path.exists(path)  # noqa: PTH110  pathlib's raises what the system says


def is_file(path: str | Path) -> bool:
    """Whether a regular file lies there that can be reached."""
    return os.path.isfile(path)  # noqa: PTH113


def is_dir(path: str | Path) -> bool:
    """Whether a folder lies there that can be reached."""
    return os.path.isdir(path)  # noqa: PTH112


def is_link(path: str | Path) -> bool:
    """Whether a symbolic link lies there."""
    return os.path.islink(path)  # noqa: PTH114


def same_file(one: str | Path, other: str | Path) -> bool:
    """Whether both are there, and are one file, under whatever names."""
    try:
        return os.path.samefile(one, other)  # noqa: PTH121
    except (OSError, ValueError):
        return False


def real(path: str | Path) -> Path:
    """The path without links, as far as they can be followed."""
    try:
        return Path(os.path.realpath(path))
    except OSError:  # this process stands in a folder that is gone
        return Path(path)


def short_name(name: str) -> str:
    """A file's name; where no file system would hold it, a shorter one that no other name has."""
    if len(os.fsencode(name)) <= _NAME_BYTES:
        return name
    suffix = Path(name).suffix[:20]
    return f"{name[:40]}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:32]}{suffix}"


def check_name(path: str | Path) -> None:
    """Refuse a path whose names the file system could not hold, before anything is written.

    Raises:
        UsageError: it could not.
    """
    target = Path(path)
    # Below a folder that is not there yet, the system does not look at a name.
    there = next((folder for folder in target.parents if is_dir(folder)), target)
    missing = [there / name for name in target.relative_to(there).parts]
    for candidate in (target, *missing):
        try:
            os.lstat(candidate)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise too_long(target) from error
        except ValueError as error:
            raise UsageError(f"this is no path: {error}", path=target) from error


def too_long(path: Path) -> UsageError:
    """What is said of a name that the file system cannot hold."""
    return UsageError(
        "this name is too long for the file system",
        path=path,
        hint="give it, or the input that it is called after, a shorter name",
    )


def open_plain(path: str | Path, flags: int) -> int:
    """Open a regular file; never what a link leads to, nor a pipe or device, which may hang.

    Args:
        flags: of `os.open`.

    Returns:
        Its descriptor.

    Raises:
        UsageError: something else lies there.
        OSError: what the system says.
    """
    safe = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags | safe, 0o666)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor
        os.close(descriptor)
    except OSError as error:
        # A link; a pipe that nobody reads, or a socket; a folder.
        if error.errno not in (errno.ELOOP, errno.EMLINK, errno.ENXIO, errno.EISDIR):
            raise
    raise UsageError("something other than a plain file lies there", path=path, hint="take it away")
