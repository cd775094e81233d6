"""One run at a time in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from deqsci_cli.errors import UsageError
from deqsci_cli.io.atomic import storage_errors
from deqsci_cli.io.paths import exists, open_plain

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"


@contextmanager
def only_run(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder, which is made if need be, while the block goes on.

    The system lets go of the lock when a process ends, however it ends. Where the file system has
    no locks, nothing is kept out.

    Raises:
        UsageError: another run is at work there, or a link lies in the lock's place.
        StorageError: the folder cannot be written.
    """
    path, made = folder / LOCK, not exists(folder)
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = open_plain(path, os.O_RDWR | os.O_CREAT)
    try:
        _lock(descriptor, folder)
        if not _lies_at(path, descriptor):  # its last owner has just taken it away
            raise _taken(folder)
        try:
            yield
        finally:
            with suppress(OSError):
                path.unlink()
                if made:  # a run that came to nothing leaves nothing
                    folder.rmdir()
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise _taken(folder) from error
    except OSError:  # no locks on this file system
        return


def _lies_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _taken(folder: Path) -> UsageError:
    return UsageError(
        "another run is writing into this folder",
        path=folder,
        hint="wait for its end, or give another folder",
    )
