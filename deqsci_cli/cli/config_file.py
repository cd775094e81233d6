"""`--config`: a file in place of options."""

from __future__ import annotations

from dataclasses import field, make_dataclass
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

import typer


def use_config(context: typer.Context, path: Path | None) -> Path | None:
    """Have the values of a file stand for options that are not given; the callback of `--config`.

    What is typed overrides an environment variable, and that overrides the file.

    Raises:
        UsageError: the file cannot be read, or holds what no option of the command takes.
    """
    if path is None or context.resilient_parsing:
        return path
    from deqsci_cli.config import build, read_toml

    names = {_key(option): str(option.name) for option in context.command.params}
    hints = get_type_hints(context.command.callback)
    kinds = {
        key: _kind(hints[name])
        for key, name in names.items()
        if name in hints and key not in ("config", "help")
    }
    fields: list[Any] = [(key, kind | None, field(default=None)) for key, kind in kinds.items()]
    # As on a command line a number may stand for its text: `measurements = 0`.
    table = {
        key: str(value) if kinds.get(key) is str and type(value) in (int, float) else value
        for key, value in read_toml(path).items()
    }
    build(make_dataclass("Options", fields), table, path=path)
    context.default_map = {names[key]: value for key, value in table.items()}
    return path


def _key(option: Any) -> str:
    """The name of an option, or of an argument, in a file."""
    return str(option.opts[0]).lstrip("-").replace("-", "_")


def _kind(hint: Any) -> Any:
    """The type of a value, of a list as configs have it."""
    inner = [kind for kind in get_args(hint) if kind is not NoneType]
    if get_origin(hint) is list:
        return tuple[inner[0], ...]  # type: ignore[valid-type]
    return _kind(inner[0]) if inner else hint
