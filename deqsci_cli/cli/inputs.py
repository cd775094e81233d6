"""What the texts of a command line stand for: files, and numbers."""

from __future__ import annotations

import codecs
import glob
import os
import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from deqsci_cli.errors import InputError, UsageError


@dataclass(frozen=True)
class Named:
    """Files that a command line stands for.

    Attributes:
        paths: each once, in order.
        found: those of them that a folder or a glob stood for.
        lists: the lists that were read.
        folders: the folders that were named.
    """

    paths: tuple[Path, ...]
    found: tuple[Path, ...]
    lists: tuple[Path, ...]
    folders: tuple[Path, ...]


def expand(patterns: list[str], *, besides: Collection[Path] = ()) -> Named:
    """Files named one by one or by quoted globs, folders, lists and stdin; each once, in order.

    Args:
        patterns: files; globs; folders, which stand for the captures directly in them; `@FILE`
            with a path a line; `-` for paths on stdin.
        besides: files that a folder or a glob does not stand for: the mask among the captures.

    Raises:
        InputError: nothing stands for any file, or a list cannot be read.
    """
    from deqsci_cli.io.paths import exists, is_dir, same_file

    paths: list[Path] = []
    searched: list[Path] = []
    lists: list[Path] = []
    folders: list[Path] = []
    empty: list[str] = []
    for pattern in patterns:
        search = is_dir(pattern) or (not exists(pattern) and glob.has_magic(pattern))
        if is_dir(pattern):
            folders.append(Path(pattern))
        if pattern == "-":
            found = _read_list(None)
        elif pattern.startswith("@") and not exists(pattern):
            lists.append(Path(pattern[1:]))
            found = _read_list(lists[-1])
        elif search:
            found = _search(pattern)
        else:
            paths.append(Path(pattern))
            continue
        for other in besides:
            if exists(other):
                found = [p for p in found if not same_file(p, other)]
        if not found:
            empty.append(pattern)
            # One that names a place is told as a failure of its own, and the rest is done.
            found = [Path(pattern)] if search else []
        paths += found
        searched += found if search else ()
    if len(empty) == len(patterns) or not paths:
        raise InputError(
            f"'{empty[0]}' stands for no file", hint="captures end in .mat, .h5, .hdf5 or .tif"
        )
    return Named(*(tuple(dict.fromkeys(part)) for part in (paths, searched, lists, folders)))


def _search(pattern: str) -> list[Path]:
    """The captures directly in a folder, or the files that a glob matches."""
    from deqsci_cli.io import SUFFIXES  # its libraries are slow to import
    from deqsci_cli.io.paths import is_dir
    from deqsci_cli.io.read_errors import unreachable

    if not is_dir(pattern):
        return [Path(p) for p in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207
    try:
        inside = sorted(Path(pattern).iterdir())
    except OSError as error:
        raise unreachable(Path(pattern), error, "folder") from error
    return [p for p in inside if p.suffix.lower() in SUFFIXES and p.name[0] != "."]


def _read_list(path: Path | None) -> list[Path]:
    """The paths of a list, or of stdin: a line each, in the bytes by which the system knows them.

    Raises:
        InputError: it cannot be read, or is no such list.
    """
    source = path or "stdin"
    try:
        data = sys.stdin.buffer.read() if path is None else path.read_bytes()
    except OSError as error:
        raise InputError(f"the list cannot be read: {error.strerror}", path=source) from error
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        hint = "save the list as UTF-8"
        raise InputError("the list is in UTF-16", path=source, hint=hint)
    lines = data.removeprefix(codecs.BOM_UTF8).split(b"\n")  # no other sign ends a line
    names = [line.removesuffix(b"\r") for line in lines if line.strip()]
    try:
        if any(b"\0" in name for name in names):
            raise ValueError
        return [Path(os.fsdecode(name)) for name in names]
    except ValueError as error:  # on Windows also what is not UTF-8
        hint = "one path a line, in UTF-8"
        raise InputError("this is no list of paths", path=source, hint=hint) from error


def numbers(text: str | None, option: str, *counts: int) -> tuple[int, ...] | None:
    """Whole numbers of a text such as `256x256` or `256x256+10+20`.

    Args:
        text: the option's value.
        option: its name, for the error.
        counts: how many numbers it may have.

    Raises:
        UsageError: it is not of this form.
    """
    if text is None:
        return None
    try:
        values = tuple(int(v) for v in text.lower().replace("+", "x").split("x"))
    except ValueError:
        values = ()
    if len(values) not in counts:
        forms = {1: "256", 2: "HEIGHTxWIDTH", 4: "HEIGHTxWIDTH+TOP+LEFT"}
        hint = " or ".join(forms[c] for c in counts)
        raise UsageError(f"{option} '{text}' is not understood", hint=f"give {hint}")
    return values
