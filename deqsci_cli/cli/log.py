"""`--log`: a file that keeps the messages of runs, with the time of each sentence."""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TextIO

import typer

from deqsci_cli import __version__
from deqsci_cli.errors import StorageError, UsageError

# A file that begins otherwise is somebody's data.
_FIRST = re.compile(rb"\d{4}-\d\d-\d\dT\S+ deqsci ")
_file: TextIO | None = None


def use_log(context: typer.Context, path: Path | None) -> Path | None:
    """Have the messages of this run written to a file as well; the callback of `--log`.

    Raises:
        UsageError: the file is there and is no log.
        StorageError: it cannot be written.
    """
    global _file
    if _file is not None:
        _file.close()
        _file = None
    if path is None or context.resilient_parsing:
        return path
    try:
        if path.exists() and not (path.is_file() and _is_log(path)):
            raise UsageError("this is no log of deqsci", path=path, hint="name another file")
        path.parent.mkdir(parents=True, exist_ok=True)  # the folder of a run that is to come, say
        _file = path.open("a", encoding="utf-8", errors="backslashreplace", buffering=1)
    except OSError as error:
        raise StorageError(f"the log cannot be written: {error.strerror}", path=path) from error
    write(f"deqsci {__version__}: {' '.join(sys.argv[1:])}")
    return path


def write(text: str) -> None:
    """Keep a sentence; one that cannot be kept ends no run."""
    if _file is not None:
        with suppress(OSError):
            _file.write(f"{datetime.now().astimezone().isoformat(timespec='seconds')} {text}\n")


def _is_log(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(100)
    return not start or _FIRST.match(start) is not None
