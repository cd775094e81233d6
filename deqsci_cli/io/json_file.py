"""What this program wrote itself, read back: as little trusted as any other file."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any, TypeVar

from deqsci_cli.config import build
from deqsci_cli.errors import InputError, UsageError
from deqsci_cli.io.read_errors import input_errors

T = TypeVar("T")

# A pipe that nobody writes into would be waited for without end.
_WITHOUT_WAITING = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
# Files of ours have some ten; what walks through them later is recursive.
_DEEPEST = 64


def read_regular(path: Path, *, most: int) -> bytes:
    """The bytes of a regular file; nothing else is waited for or read.

    Args:
        path: of the file.
        most: bytes that it may have.

    Raises:
        InputError: there is none, it is a pipe, a device or a folder, it is larger, or cannot be
            read.
        DeviceError: it does not fit in memory.
    """
    descriptor = _open_regular(path)
    try:
        size = os.fstat(descriptor).st_size
        with input_errors(path, "file"), os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(most + 1) if size <= most else b""
    finally:
        os.close(descriptor)
    if max(size, len(data)) > most:
        hint = "it is not as this program wrote it"
        raise InputError(f"the file is larger than {most / 1e6:g} MB", path=path, hint=hint)
    return data


def require_regular(path: Path) -> None:
    """Make sure that a library which opens a file by its name will not wait for a pipe.

    Raises:
        InputError: there is none, it is a pipe, a device or a folder, or may not be read.
    """
    os.close(_open_regular(path))


def _open_regular(path: Path) -> int:
    try:
        descriptor = os.open(path, _WITHOUT_WAITING)
    except FileNotFoundError as error:
        hint = "check the spelling of the path"
        raise InputError("there is no such file", path=path, hint=hint) from error
    except PermissionError as error:
        hint = "check its permissions"
        raise InputError("the file may not be read", path=path, hint=hint) from error
    except (OSError, ValueError) as error:  # a name too long, a socket, a zero byte
        reason = getattr(error, "strerror", None) or error
        hint = "check the path"
        raise InputError(f"this cannot be opened: {reason}", path=path, hint=hint) from error
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    hint = "take away the pipe, device or folder of this name"
    raise InputError("this is not a file", path=path, hint=hint)


def parse_json(data: bytes | str) -> Any:
    """JSON in UTF-8, each key once, not nested without end.

    NaN and Infinity, which are none, come through: `config.build` tells them by their names.

    Raises:
        ValueError: it is none.
    """
    text = data if isinstance(data, str) else data.decode("utf-8-sig")
    try:
        content = json.loads(text, object_pairs_hook=_once)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    layer = [content] if isinstance(content, dict | list) else []
    for _ in range(_DEEPEST):
        layer = [inner for value in layer for inner in _inside(value)]
    if layer:
        raise ValueError("it is nested too deep")
    return content


def from_json(data: bytes | str, kind: type[T], *, schema: str | None = None) -> T:
    """JSON as the dataclass that it was written from.

    Args:
        data: the JSON.
        kind: a dataclass that `config.build` can make of a table.
        schema: the value that its key `schema` must have; None where it needs none.

    Raises:
        ValueError: it is no JSON, of another schema, or a value is not of its field's type.
    """
    content = parse_json(data)
    if not isinstance(content, dict):
        raise ValueError("it is not a JSON object")
    if schema is not None and content.get("schema") != schema:
        raise ValueError(f"its schema is {content.get('schema')!r}, not {schema!r}")
    try:
        return build(kind, content)
    except UsageError as error:
        raise ValueError(str(error)) from error


def read_json(
    path: Path, kind: type[T], *, what: str, again: str, most: int, schema: str | None = None
) -> T:
    """A JSON file as the dataclass that it was written from.

    Args:
        path: of the file.
        kind, schema: as for `from_json`.
        what: the file, as `card`, for the error.
        again: what gives a sound file.
        most: bytes that it may have.

    Raises:
        InputError: it cannot be read, is no JSON or of another schema, or a value is not of its
            field's type.
        DeviceError: it does not fit in memory.
    """
    try:
        return from_json(read_regular(path, most=most), kind, schema=schema)
    except ValueError as error:
        raise InputError(f"the {what} cannot be read: {error}", path=path, hint=again) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a key is there twice")
    return made


def _inside(value: Any) -> list[Any]:
    """Lists and objects right inside one."""
    inner = value.values() if isinstance(value, dict) else value
    return [v for v in inner if isinstance(v, dict | list)]
