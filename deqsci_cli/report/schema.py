"""The JSON Schema of `report.json`, made of the dataclasses that it is written from."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from deqsci_cli.report.report import SCHEMA, STATUSES, Report, _Content

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean"}
#: what the dataclasses check when they are made, by the field
_LIMITS: dict[str, dict[str, Any]] = {
    "schema": {"const": SCHEMA},
    "status": {"enum": list(STATUSES)},
    "scale": {"exclusiveMinimum": 0},
    "exit_code": {"minimum": 1},
    **{name: {"minimum": 0} for name in ("index", "evaluations", "seconds", "skipped", "bytes")},
}


def report_schema() -> dict[str, Any]:
    """The schema, as JSON has it.

    Source: https://json-schema.org/draft/2020-12
    """
    parts: dict[str, Any] = {}
    whole = _object(_Content, meanings(Report), parts)
    return {"$schema": _DIALECT, "title": SCHEMA, **whole, "$defs": parts}


def meanings(kind: type) -> dict[str, str]:
    """What the section `Attributes` of a dataclass's docstring says of each field."""
    text = inspect.getdoc(kind) or ""
    section = re.search(r"^Attributes:\n((?:(?:    .*)?\n?)*)", text, re.M)
    return dict(_entries(section[1])) if section else {}


def _entries(section: str) -> Iterator[tuple[str, str]]:
    for entry in re.split(r"^    (?=\S)", section, flags=re.M)[1:]:
        names, meaning = entry.split(":", 1)
        for name in names.split(","):
            yield name.strip(), " ".join(meaning.split())


def _object(kind: type, told: dict[str, str], parts: dict[str, Any]) -> dict[str, Any]:
    hints = get_type_hints(kind)
    properties = {}
    for field in fields(kind):
        content = _value(hints[field.name], parts) | _LIMITS.get(field.name, {})
        meaning = {"description": told[field.name]} if field.name in told else {}
        properties[field.name] = content | meaning
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),  # what is not known is null
        "additionalProperties": False,
    }


def _value(hint: Any, parts: dict[str, Any]) -> dict[str, Any]:
    """What values of a type look like; dataclasses become parts of their own."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return {}
    if hint in _TYPES:
        return {"type": _TYPES[hint]}
    if origin in (Union, UnionType):
        (kind,) = set(inner) - {NoneType}
        content = _value(kind, parts)
        plain = set(content) == {"type"}
        return {"type": [content["type"], "null"]} if plain else _nullable(content)
    if origin is tuple:
        return {"type": "array", "items": _value(inner[0], parts)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _value(inner[1], parts)}
    if is_dataclass(hint) and isinstance(hint, type):
        if hint.__name__ not in parts:
            parts[hint.__name__] = _object(hint, meanings(hint), parts)
        return {"$ref": f"#/$defs/{hint.__name__}"}
    raise TypeError(f"no schema for {hint}")


def _nullable(content: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [content, {"type": "null"}]}
