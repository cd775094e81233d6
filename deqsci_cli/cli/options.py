"""Options that several commands share, and how their texts are read."""

from __future__ import annotations

import glob
import sys
from pathlib import Path
from typing import Annotated

import typer

from deqsci_cli.errors import InputError, UsageError

#: the model that is run when none is named
DEFAULT_MODEL = "pnp"

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
Tol = Annotated[
    float | None, typer.Option(help="Relative residual at which the equilibrium is met.")
]
MaxIter = Annotated[int | None, typer.Option(help="Most evaluations after the warm-up.")]
Solver = Annotated[str | None, typer.Option(help="anderson or picard.")]
Symmetries = Annotated[
    int | None,
    typer.Option(help="Mean over 1, 2, 4 or 8 turned and mirrored films: better, slower."),
]
Nan = Annotated[
    str,
    typer.Option(help="Values that are NaN or infinite: refuse, zero, or median of those around."),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:0 …")]
Dtype = Annotated[
    str,
    typer.Option(help="float32, tf32 (NVIDIA), float64 or bfloat16; coarse ones do not settle."),
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything random.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object a line on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No narration.")]


def expand(patterns: list[str], *, besides: Path | None = None) -> tuple[Path, ...]:
    """Files named one by one or by quoted globs, folders, lists and stdin; each once, in order.

    Args:
        patterns: files; globs; folders, which stand for the captures directly in them; `@FILE`
            with a path a line; `-` for paths on stdin.
        besides: a file that a folder or a glob does not stand for: the mask among the captures.

    Raises:
        InputError: a pattern or a folder that stands for nothing, a list that cannot be read.
    """
    from deqsci_cli.io import CAPTURE_SUFFIXES  # its libraries are slow to import

    paths: list[Path] = []
    for pattern in patterns:
        found: list[Path]
        if pattern == "-":
            found = _lines(sys.stdin.read(), "stdin")
        elif pattern.startswith("@") and not Path(pattern).exists():
            found = _lines(_list_file(Path(pattern[1:])), pattern[1:])
        elif Path(pattern).is_dir():
            inside = sorted(Path(pattern).iterdir())
            found = [p for p in inside if p.suffix.lower() in CAPTURE_SUFFIXES and p.name[0] != "."]
        elif Path(pattern).exists() or not glob.has_magic(pattern):
            paths.append(Path(pattern))
            continue
        else:
            found = [Path(p) for p in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207
        if besides is not None and besides.exists():
            found = [p for p in found if not (p.exists() and p.samefile(besides))]
        if not found:
            raise InputError(f"'{pattern}' stands for no file")
        paths += found
    return tuple(dict.fromkeys(paths))


def _list_file(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the list cannot be read: {error}", path=path) from error


def _lines(text: str, source: str) -> list[Path]:
    names = [line for line in text.splitlines() if line.strip()]
    if any("\0" in name for name in names):
        raise InputError(f"{source} is no list of paths", hint="one path a line")
    return [Path(name) for name in names]


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
