"""The reference of the commands, made of the Typer app."""

from __future__ import annotations

import inspect
import re
from itertools import groupby
from typing import Any

from typer.main import get_command

from deqsci_cli.cli.app import app


def text() -> str:
    """Each command with its arguments and options, as Markdown."""
    return "\n".join(_command(("deqsci", *names), command) for names, command in _leaves())


def _leaves() -> list[tuple[tuple[str, ...], Any]]:
    found: list[tuple[tuple[str, ...], Any]] = []
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", {})
        if not inner or command.invoke_without_command:
            found.append(((name,), command))
        found += [((name, part), leaf) for part, leaf in inner.items()]
    return found


def _command(names: tuple[str, ...], command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
    shown = [
        f"[{name}]" if not p.required else name
        for p in arguments
        for name in [_name(p) + ("..." if p.nargs == -1 else "")]
    ]
    usage = " ".join([*names, "[OPTIONS]", *shown])
    parts = [f"\n## {' '.join(names)}\n", f"```text\n{usage}\n```\n", _help(command.help), ""]
    parts += [_help(command.epilog), ""] if command.epilog else []
    if arguments:
        parts += ["**Arguments**\n", _list(arguments)]
    # The sort keeps the order within a group, and groups in the order of their first option.
    order = list(dict.fromkeys(_group(p) for p in options))
    for group, members in groupby(sorted(options, key=lambda p: order.index(_group(p))), _group):
        parts.append(f"\n**{group}**\n\n{_list(list(members))}")
    return "\n".join(parts)


def _group(option: Any) -> str:
    return option.rich_help_panel or "Options"


def _name(argument: Any) -> str:
    return str(argument.metavar or argument.name).upper()


def _list(parameters: list[Any]) -> str:
    return "\n".join(
        f"- {_head(p)}: {_plain(p.help or '')}{_default(p)}{_variable(p)}" for p in parameters
    )


def _head(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{_name(parameter)}`"
    return ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))


def _default(parameter: Any) -> str:
    shown, value = parameter.show_default, getattr(parameter.default, "value", parameter.default)
    if isinstance(shown, str):
        return f" Default: {shown}."
    if not shown or value is None or value == "" or callable(value) or isinstance(value, bool):
        return ""
    return f" Default: `{value}`."


def _variable(parameter: Any) -> str:
    """The environment variable that an option is read from."""
    names = parameter.envvar or ()
    names = [names] if isinstance(names, str) else names
    return f" Environment: {', '.join(f'`{name}`' for name in names)}." if names else ""


def _help(help_text: str | None) -> str:
    """A command's help; paragraphs that are commands, or follow `\\b`, become blocks of code."""
    paragraphs = inspect.cleandoc(help_text or "").replace("\f", "").split("\n\n")
    parts = []
    for code, group in groupby(paragraphs, lambda p: p.startswith(("\b", "deqsci "))):
        told = [p.removeprefix("\b").strip() if code else _plain(p) for p in group]
        parts += ["\n".join(("```text", *told, "```"))] if code else told
    return "\n\n".join(parts)


def _plain(sentence: str) -> str:
    """Text with its names as code, and nothing that Markdown would take for its own."""
    sentence = re.sub(r"(?<![`\w])(--[a-z][a-z-]*)", r"`\1`", sentence)
    parts = re.split(r"(`[^`]*`)", sentence)
    return "".join(p if p.startswith("`") else re.sub(r"([*_<>\[\]])", r"\\\1", p) for p in parts)
