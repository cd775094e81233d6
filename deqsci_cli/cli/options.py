"""Options that several commands share, and how their texts are read."""

from __future__ import annotations

import codecs
import functools
import glob
import inspect
import os
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from deqsci_cli.errors import InputError, UsageError

if TYPE_CHECKING:
    from deqsci_cli.io.read_options import ReadOptions

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
Tile = Annotated[
    str | None,
    typer.Option(help="Side of the tiles a network is evaluated by: auto, none, or 512 (pixels)."),
]
Nan = Annotated[
    str,
    typer.Option(help="Values that are NaN or infinite: refuse, zero, or median of those around."),
]
Frames = Annotated[
    str | None,
    typer.Option(help="Frames of the mask that code a measurement: 10 (the first), or 10:20."),
]
Arms = Annotated[
    str | None,
    typer.Option(
        help="Measurements of the same frames, each with a mask of its own: 2, or complement (one "
        "mask, and what it holds back)."
    ),
]
NoTruth = Annotated[
    bool, typer.Option("--no-truth", help="Leave the file's ground truth out, as if it had none.")
]
Camera = Annotated[
    Path | None,
    typer.Option(help="File that describes the camera: .toml by hand, .h5 by deqsci calibrate."),
]
Dark = Annotated[
    str | None, typer.Option(help="File with the dark frame, or the black level, as stored.")
]
Flat = Annotated[str | None, typer.Option(help="File with the flat field.")]
FrameGains = Annotated[
    str | None,
    typer.Option(help="Brightness of the lamp in each frame: a text file, or 1,0.9,1.1 …"),
]
BadPixels = Annotated[
    str | None, typer.Option(help="File with a map of broken pixels (not 0), or auto.")
]
Saturation = Annotated[
    str | None, typer.Option(help="Stored value of clipped pixels, auto (the default), or none.")
]
Noise = Annotated[
    str | None,
    typer.Option(help="Standard deviation of the measurement's noise (white is 1), or auto."),
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


def make_read_options(
    mask: Mask = None,
    measurement_key: MeasurementKey = None,
    mask_key: MaskKey = None,
    truth_key: TruthKey = None,
    axes: Axes = None,
    scale: Scale = None,
    nan: Nan = "refuse",
    frames: Frames = None,
    arms: Arms = None,
    no_truth: NoTruth = False,
    camera: Camera = None,
    dark: Dark = None,
    flat: Flat = None,
    frame_gains: FrameGains = None,
    bad_pixels: BadPixels = None,
    saturation: Saturation = None,
    noise: Noise = None,
) -> ReadOptions:
    """How captures are to be understood, by the options of a command line.

    Raises:
        UsageError: one of them cannot be meant.
    """
    from deqsci_cli.io.read_options import ReadOptions  # its libraries are slow to import

    return ReadOptions(
        mask=mask,
        measurement_key=measurement_key,
        mask_key=mask_key,
        truth_key=truth_key,
        axes=axes,
        scale=scale,
        nan=nan,
        frames=frames,
        arms=arms,
        truth=not no_truth,
        camera=camera,
        dark=dark,
        flat=flat,
        frame_gains=frame_gains,
        bad_pixels=bad_pixels,
        saturation=saturation,
        noise=noise,
    )


def takes_read_options(*without: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of `make_read_options` in place of its argument `read_options`.

    Args:
        without: those that it does not have.
    """
    hints = get_type_hints(make_read_options, {**globals(), "ReadOptions": Any}, None, True)
    options = {
        name: option.replace(annotation=hints[name], kind=option.KEYWORD_ONLY)
        for name, option in inspect.signature(make_read_options).parameters.items()
        if name not in without
    }

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(**given: Any) -> None:
            chosen = {name: given.pop(name) for name in options}
            command(**given, read_options=make_read_options(**chosen))

        run.__annotations__ = {k: v for k, v in run.__annotations__.items() if k != "read_options"}
        own = get_type_hints(run, include_extras=True)
        parameters: list[inspect.Parameter] = []
        signature = inspect.signature(command)
        for name, parameter in signature.parameters.items():
            if name == "read_options":
                parameters += options.values()
            else:
                kind = parameter.KEYWORD_ONLY
                parameters.append(parameter.replace(annotation=own[name], kind=kind))
        # What typer looks at.
        run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        run.__annotations__ = own | {name: hints[name] for name in options}
        return run

    return decorate


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
        InputError: a pattern or a folder that stands for nothing, a list that cannot be read.
    """
    from deqsci_cli.io.paths import exists, is_dir, same_file

    paths: list[Path] = []
    searched: list[Path] = []
    lists: list[Path] = []
    folders: list[Path] = []
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
            raise InputError(f"'{pattern}' stands for no file")
        paths += found
        searched += found if search else ()
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
