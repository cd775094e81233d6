"""Options that several commands share, and how their texts are read."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import Annotated

import typer

from deqsci_cli.errors import InputError, UsageError

Mask = Annotated[Path | None, typer.Option(help="File with the mask, if it is not in the capture.")]
MeasurementKey = Annotated[str | None, typer.Option(help="Name of the measurement in its file.")]
MaskKey = Annotated[str | None, typer.Option(help="Name of the mask in its file.")]
TruthKey = Annotated[str | None, typer.Option(help="Name of the ground truth in its file.")]
Axes = Annotated[
    str | None, typer.Option(help="Order of the axes where the file leaves it open: HWT or THW.")
]
Scale = Annotated[
    float | None,
    typer.Option(help="Stored value of white; found by rule and printed if not given."),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:0 …")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything random.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object a line on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No narration.")]


def expand(patterns: list[str]) -> tuple[Path, ...]:
    """Files named or matched by quoted globs, each once, in the order given.

    Raises:
        InputError: a pattern matches nothing.
    """
    paths: list[Path] = []
    for pattern in patterns:
        if Path(pattern).exists() or not glob.has_magic(pattern):
            paths.append(Path(pattern))
        elif found := sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207
            paths += map(Path, found)
        else:
            raise InputError(f"no file matches '{pattern}'")
    return tuple(dict.fromkeys(paths))


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
