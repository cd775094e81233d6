"""The reference of settings, made of the frozen dataclasses and their docstrings."""

from __future__ import annotations

import inspect
import json
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any

from deqsci_cli.equilibrium.model import EquilibriumSettings
from deqsci_cli.io.camera import Camera
from deqsci_cli.report.report import Failure, Measured, Record, Region, Source
from deqsci_cli.report.schema import meanings, report_schema
from deqsci_cli.training.capture_settings import CaptureSettings
from deqsci_cli.training.denoiser import DenoiserSettings
from deqsci_cli.training.equilibrium import GradientSettings, StabilitySettings
from deqsci_cli.training.settings import TrainConfig

_TABLES = {
    "denoiser": DenoiserSettings,
    "captures": CaptureSettings,
    "solve": EquilibriumSettings,
    "gradient": GradientSettings,
    "stability": StabilitySettings,
}
_PARTS = {
    "A measurement": Record,
    "A measurement of a recording": Measured,
    "A region": Region,
    "A file that was read": Source,
    "A failure": Failure,
}


def of_trainings() -> str:
    """The keys of a training's file, table by table."""
    parts = [f"## Top of the file\n\n{_list(TrainConfig)}"]
    for name, kind in _TABLES.items():
        parts.append(f"## `[{name}]`\n\n{_list(kind)}")
    return "\n\n".join(parts)


def of_cameras() -> str:
    """The keys of a camera's file."""
    return _list(Camera)


def of_reports() -> str:
    """The fields of a report."""
    schema = report_schema()
    parts = [_properties(schema)]
    for title, kind in _PARTS.items():
        intro = (inspect.getdoc(kind) or "").split("\n\n")[0]
        parts.append(f"## {title}\n\n{intro}\n\n{_properties(schema['$defs'][kind.__name__])}")
    return "\n\n".join(parts)


def _properties(part: dict[str, Any]) -> str:
    rows = []
    for name, content in part["properties"].items():
        meaning = content.get("description", "").rstrip(",;.").removesuffix(", and")
        rows.append(f"- `{name}` ({_type(content)}){f': {meaning}.' if meaning else ''}")
    return "\n".join(rows)


def _type(content: dict[str, Any]) -> str:
    """What values are, in words: `number or null`."""
    if "const" in content:
        return f"`{content['const']}`"
    if "$ref" in content:
        name = content["$ref"].rpartition("/")[2]
        (title,) = (title for title, kind in _PARTS.items() if kind.__name__ == name)
        return f"[{title.lower()}](#{title.lower().replace(' ', '-')})"
    if "anyOf" in content:
        return " or ".join(map(_type, content["anyOf"]))
    kinds = content["type"] if isinstance(content["type"], list) else [content["type"]]
    words = " or ".join(kinds)
    return f"list of {_type(content['items'])}" if words == "array" else words


def _list(kind: type) -> str:
    told = meanings(kind)
    rows = []
    for field in fields(kind):
        if is_dataclass(field.default_factory):  # a table of its own
            continue
        meaning = told[field.name].rstrip(",;.").removesuffix(", and")
        rows.append(f"- `{field.name}`{_default(field)}: {meaning}.")
    return "\n".join(rows)


def _default(field: Field[Any]) -> str:
    """A field's default as TOML has it; nothing where there is none."""
    value = field.default
    if value is MISSING and field.default_factory is not MISSING:
        value = field.default_factory()
    if value is MISSING:
        return " (required)"
    if value is None:
        return ""
    return f" = `{_toml(value)}`"


def _toml(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value)
