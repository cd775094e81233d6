"""Config files: TOML tables into frozen dataclasses and back, each mistake told by its name."""

from __future__ import annotations

import copy
import difflib
import json
import math
import reprlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from deqsci_cli.errors import UsageError

T = TypeVar("T")
MOST_BYTES = 1_000_000
#: the largest seed: whole numbers of a config have 64 bits
MOST_SEED = 2**63 - 1
_WORDS: dict[Any, str] = {bool: "true or false", int: "a whole number", float: "a number"}
_WORDS |= {str: "text", Path: "a path", dict[str, Any]: "a table"}
#: settings that had another name up to version 0.1.0, in configs, cards and states of trainings
RENAMED = {
    "average": "ema_decay",
    "batch": "batch_size",
    "blend": "weight_interpolation",
    "brightness": "gain_range",
    "contraction": "spectral_target",
    "correction": "n_correction_losses",
    "damping": "relaxation",
    "double": "upsample_prob",
    "elsewhere": "random_start_prob",
    "expansion": "spectral_penalty",
    "half": "downsample_prob",
    "hot": "hot_pixel_prob",
    "initial": "init_from",
    "mix_below": "anderson_start_tol",
    "mode": "power_iteration_start",
    "objects": "moving_object_prob",
    "pan": "max_pan",
    "patch": "patch_size",
    "skip_above": "max_residual",
    "speeds": "frame_strides",
    "still": "still_image_prob",
    "visits": "reuse_steps",
}
#: in a free table each value decides for itself; what is none of these must be text
_FREE = {dict: dict[str, Any], list: tuple[Any, ...], bool: bool, int: int, float: float}
_FREE |= {NoneType: NoneType}
#: of many faults, how many are told
_TOLD = 12
_shown = reprlib.Repr()
_shown.maxstring = 100


def read_toml(path: Path) -> dict[str, Any]:
    """The table of a TOML file.

    Raises:
        UsageError: it is not there, over 1 MB, not UTF-8, or not TOML (with line and column).
    """
    try:
        if path.is_fifo():
            raise ValueError("it is a pipe, which may never end")
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise ValueError("it is larger than 1 MB")
        # Later walks go as deep as this copy: a table nested too deep for them is told here.
        return copy.deepcopy(tomllib.loads(data.decode("utf-8-sig")))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        hint = "a config is TOML in UTF-8, at most 1 MB"
        raise UsageError(f"the config cannot be read: {reason}", path=path, hint=hint) from error


def override(table: dict[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """A copy of a table, after assignments such as `solve.sigma=0.04`.

    Tables that are missing are made; a value that is not TOML is taken as text.

    Raises:
        UsageError: an assignment lacks its `=` or its key, or goes into what is not a table.
    """
    changed = copy.deepcopy(table)
    for assignment in assignments:
        dotted, equals, text = assignment.partition("=")
        *parents, key = keys = [part.strip() for part in dotted.split(".")]
        if not equals or not all(keys):
            raise UsageError(f"{assignment!r} sets nothing", hint="write section.key=value")
        inner = changed
        for parent in parents:
            inner = inner.setdefault(parent, {})
            if not isinstance(inner, dict):
                raise UsageError(f"{assignment!r} cannot be set: {parent!r} is not a table")
        try:
            (inner[key],) = tomllib.loads(f"value = {text}").values()
        except (ValueError, RecursionError):
            inner[key] = text.strip()
    return changed


def check_seed(seed: int) -> None:
    """Refuse a seed that not every generator of random numbers takes.

    Raises:
        UsageError: it is negative, or too large.
    """
    if not 0 <= seed <= MOST_SEED:
        raise UsageError(
            f"a seed of {seed} is out of range", hint=f"give one from 0 to {MOST_SEED}"
        )


def build(
    cls: type[T], table: Mapping[str, Any], *, path: Path | None = None, part: bool = False
) -> T:
    """Make a dataclass of a table, with those nested in it.

    Fields are bool, int, float, str, Path, `dict[str, X]`, dataclasses, tuples of these, or
    `X | None`. What a table leaves out has the default of the dataclass made of that table; where
    it has none, the error names the `option` of the field's metadata.

    Args:
        cls: the dataclass.
        table: of a config file, or of JSON.
        path: its file, for the error.
        part: only a part of the table is wanted: other keys are passed over.

    Raises:
        UsageError: all that is wrong, at once: keys unknown or missing, values of another kind,
            numbers not finite or beyond 64 bits, what a dataclass itself refuses.
    """
    faults: list[UsageError] = []
    built: T = _build(cls, table, "", faults, part)
    if faults:
        told = faults[0] if len(faults) == 1 else UsageError("; ".join(map(str, faults[:_TOLD])))
        more = f"; and {len(faults) - _TOLD} more faults" if len(faults) > _TOLD else ""
        raise UsageError(told.message + more, path=path, hint=told.hint)
    return built


def to_table(instance: Any, *, only_changed: bool = False) -> dict[str, Any]:
    """The table of a dataclass, for TOML or JSON.

    What is None is left out, and with `only_changed` what has its default.
    """

    def plain(value: Any) -> Any:
        if not is_dataclass(value):
            return value.as_posix()
        table = {}
        for entry in fields(value):
            inner = getattr(value, entry.name)
            default = entry.default if entry.default_factory is MISSING else entry.default_factory()
            if entry.init and inner is not None and not (only_changed and inner == default):
                table[entry.name] = inner
        return table

    table: dict[str, Any] = json.loads(json.dumps(instance, default=plain))
    return table


# The types are written as text, and finding them takes longer than making a small dataclass.
_types = lru_cache(maxsize=None)(get_type_hints)


def _build(
    cls: Any, table: Mapping[str, Any], name: str, faults: list[UsageError], part: bool
) -> Any:
    """A dataclass of its table; None, with the faults noted, where that cannot be."""
    noted, kinds, prefix = len(faults), _types(cls), name and f"{name}."
    known = {entry.name: entry for entry in fields(cls) if entry.init}
    for key in sorted(set(table) - set(known)) if not part else ():
        near = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"one of {', '.join(known)}"
        if RENAMED.get(key) in known:
            hint = f"it is called {RENAMED[key]!r} now"
        faults.append(UsageError(f"unknown key {_shown.repr(prefix + key)}", hint=hint))
    values = {}
    for key, entry in known.items():
        kind, dotted = kinds[key], prefix + key
        if key in table:
            values[key] = _convert(kind, table[key], dotted, faults, part)
        elif entry.default is MISSING and entry.default_factory is MISSING:
            hint = f"it must be {_words(kind)}"
            if option := entry.metadata.get("option"):
                hint += f"; {option} gives it as well"
            faults.append(UsageError(f"{dotted!r} is missing", hint=hint))
    try:
        return cls(**values) if len(faults) == noted else None
    except UsageError as error:
        where = (name and f"{name}: ") + (f"{error.path}: " if error.path else "")
        faults.append(UsageError(where + error.message, hint=error.hint))


def _convert(kind: Any, value: Any, name: str, faults: list[UsageError], part: bool) -> Any:
    """A value as its field wants it; None, with the fault noted, where it does not fit."""
    if kind is float and type(value) is float and math.isfinite(value):  # the most of a report
        return value
    if type(value) is int and not -(2**63) <= value < 2**63:
        value = math.inf  # too long for TOML, and for what computes with it
    if value is None and NoneType in get_args(kind):  # JSON has it, TOML has not
        return None
    kind = _FREE.get(type(value), str) if kind is Any else _bare(kind)
    if isinstance(value, dict) and is_dataclass(kind):
        return _build(kind, value, name, faults, part)
    if isinstance(value, dict) and get_origin(kind) is dict:
        each = get_args(kind)[1]
        return {k: _convert(each, v, f"{name}.{k}", faults, part) for k, v in value.items()}
    if isinstance(value, list) and get_origin(kind) is tuple:
        parts = get_args(kind)
        kinds = parts[:1] * len(value) if parts[-1] is ... else parts
        if len(kinds) == len(value):
            pairs = enumerate(zip(kinds, value, strict=True))
            made = [_convert(k, inner, f"{name}[{i}]", faults, part) for i, (k, inner) in pairs]
            return made if parts[0] is Any else tuple(made)
    if kind is float and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    if kind is Path and type(value) is str and value and "\0" not in value:
        return Path(value)
    if kind in (bool, int, str, NoneType) and type(value) is kind:
        return value
    if isinstance(value, dict | list):
        came = "a table" if isinstance(value, dict) else f"a list of {len(value)}"
    else:
        came = reprlib.repr(value) if isinstance(value, str) else str(value).lower()
    faults.append(UsageError(f"{_shown.repr(name)} must be {_words(kind)}, not {came}"))


def _bare(kind: Any) -> Any:
    """X of `X | None`."""
    if get_origin(kind) in (Union, UnionType):
        (kind,) = set(get_args(kind)) - {NoneType}
    return kind


def _words(kind: Any, several: bool = False) -> str:
    """What a field may hold, in plain words."""
    kind = _bare(kind)
    if get_origin(kind) is not tuple:
        table = is_dataclass(kind) or get_origin(kind) is dict
        words = _WORDS[dict[str, Any] if table else kind]
        return f"{words[2:]}s" if several and words.startswith("a ") else words
    first, *others = get_args(kind)
    inside = [_words(first, True)] if ... in others else map(_words, (first, *others))
    return f"{'lists' if several else 'a list'} of {' and '.join(inside)}"
