"""Files are written whole or not at all."""

from __future__ import annotations

import errno
import glob
import logging
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from deqsci_cli.errors import OutputExistsError, StorageError
from deqsci_cli.io.paths import check_name, too_long

# What the system says where something else lies in the way of a file or folder.
_IN_THE_WAY = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP)
# What file systems say that cannot be told to put a file onto the disk; network mounts, mostly.
_NO_FSYNC = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
# A longer ending is none of a format.
_LONGEST_SUFFIX = 20


def check_absent(paths: Iterable[str | Path], *, overwrite: bool) -> None:
    """Refuse before any computing what could not be written after it.

    Raises:
        OutputExistsError: for the first of `paths` that exists, unless `overwrite`.
        UsageError: for a name that the file system cannot hold.
    """
    for path in paths:
        check_name(path)
        if not overwrite and os.path.lexists(path):
            raise OutputExistsError(path)


def remove_leftovers(path: str | Path) -> None:
    """Take away what a process that was killed while it wrote `path` has left beside it."""
    target = Path(path)
    start, suffix = _parts(target)
    pattern = f"{glob.escape(start)}{'[0-9a-f]' * 12}{glob.escape(suffix)}"
    with suppress(OSError):
        for leftover in target.parent.glob(pattern):
            leftover.unlink()


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Tell a full disk, a folder that cannot be written and the like as what they are.

    Raises:
        StorageError: in place of the system's errors;
        UsageError: in place of that of a name which is too long, as another name would do.
    """
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise too_long(path) from error
        hint = "check the free space and the permissions of the folder"
        if error.errno in _IN_THE_WAY:
            hint = "something else lies in its way; give another output"
        raise StorageError(
            f"this could not be written: {error.strerror or error}", path=path, hint=hint
        ) from error


@contextmanager
def atomic_write(path: str | Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary path beside `path`; move it onto `path` when the block ends well.

    The temporary file has the same suffix, because libraries choose a format by it. Missing
    parent folders are made. When the block raises, nothing is left behind and a file that was
    there before is untouched.

    Raises:
        OutputExistsError: if `path` exists and `overwrite` is false.
        UsageError: for a name that the file system cannot hold.
        StorageError: for a full disk, a folder that cannot be written, and the like.
    """
    target = Path(path)
    check_absent([target], overwrite=overwrite)
    start, suffix = _parts(target)
    temporary = target.with_name(f"{start}{secrets.token_hex(6)}{suffix}")
    try:
        with storage_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            _sync(temporary)
            _move(temporary, target, overwrite=overwrite)
            _sync_folder(target.parent)
    finally:
        # After a successful replacement there is nothing left under this name.
        with suppress(OSError):
            temporary.unlink()


def _parts(target: Path) -> tuple[str, str]:
    """How the name of a temporary file begins and ends; it is no longer than any name may be."""
    suffix = target.suffix if len(target.suffix) <= _LONGEST_SUFFIX else ""
    return f".{target.stem[:40]}.", suffix


def _move(temporary: Path, target: Path, *, overwrite: bool) -> None:
    if not overwrite:
        # Of two processes that write one new file the second is told so here.
        try:
            os.link(temporary, target)
            return
        except FileExistsError as error:
            raise OutputExistsError(target) from error
        except OSError:  # a file system without hard links
            check_absent([target], overwrite=False)
    temporary.replace(target)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FSYNC:
            raise
        _tell_not_durable(error.strerror)
    finally:
        os.close(descriptor)


@cache
def _tell_not_durable(reason: str) -> None:
    """Told once by each process; Python shows it on stderr where nobody listens to the log."""
    logging.getLogger(__name__).warning(
        "this file system cannot be told to put files onto the disk at once (fsync: %s); they are "
        "whole, but a loss of power soon after may take them along",
        reason,
    )


def _sync_folder(folder: Path) -> None:
    # Makes the rename itself durable; not every file system lets a folder be opened for it, and
    # the data are already safe by then.
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno == errno.EIO:
            raise
    finally:
        os.close(descriptor)
