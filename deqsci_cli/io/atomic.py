"""Files are written whole or not at all."""

from __future__ import annotations

import glob
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from deqsci_cli.errors import OutputExistsError, StorageError


def check_absent(paths: Iterable[str | Path], *, overwrite: bool) -> None:
    """Refuse before any computing what could not be written after it.

    Raises:
        OutputExistsError: for the first of `paths` that exists, unless `overwrite`.
    """
    if overwrite:
        return
    for path in paths:
        if os.path.lexists(path):
            raise OutputExistsError(path)


def remove_leftovers(path: str | Path) -> None:
    """Take away what a process that was killed while it wrote `path` has left beside it."""
    target = Path(path)
    pattern = f".{glob.escape(target.stem[:40])}.{'[0-9a-f]' * 12}{glob.escape(target.suffix)}"
    for leftover in target.parent.glob(pattern):
        with suppress(OSError):
            leftover.unlink()


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Tell a full disk, a folder that cannot be written and the like as what they are.

    Raises:
        StorageError: in place of the system's errors.
    """
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"this could not be written: {error.strerror or error}",
            path=path,
            hint="check the free space and the permissions of the folder",
        ) from error


@contextmanager
def atomic_write(path: str | Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary path beside `path`; move it onto `path` when the block ends well.

    The temporary file has the same suffix, because libraries choose a format by it. Missing
    parent folders are made. When the block raises, nothing is left behind and a file that was
    there before is untouched.

    Raises:
        OutputExistsError: if `path` exists and `overwrite` is false.
        StorageError: for a full disk, a folder that cannot be written, and the like.
    """
    target = Path(path)
    check_absent([target], overwrite=overwrite)
    temporary = target.with_name(f".{target.stem[:40]}.{secrets.token_hex(6)}{target.suffix}")
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
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    # Makes the rename itself durable; not every file system lets a folder be opened for it, and
    # the data are already safe by then.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
