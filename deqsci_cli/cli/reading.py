"""The options that say how captures are to be understood, for all commands that read them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from deqsci_cli.cli import choices
from deqsci_cli.cli.live import live
from deqsci_cli.cli.options import CAMERA, INPUT


def _option(kind: Any, panel: str, text: str, *flags: str, **more: Any) -> Any:
    return Annotated[kind, typer.Option(*flags, help=text, rich_help_panel=panel, **more)]


def _camera(**more: Any) -> Any:
    text = "File that describes the camera: .toml by hand, .h5 by deqsci calibrate."
    return _option(Path | None, CAMERA, text, **more)


#: by the names of their parameters, which but for `no_truth` are the fields of `ReadOptions`
READ_OPTIONS: dict[str, Any] = {
    "measurement_key": _option(str | None, INPUT, "Name of the measurement in its file."),
    "mask_key": _option(str | None, INPUT, "Name of the mask in its file."),
    "truth_key": _option(str | None, INPUT, "Name of the ground truth in its file."),
    "axes": _option(
        str | None, INPUT, "Order of the axes where the file leaves it open: HWT or THW."
    ),
    "nan": _option(
        str,
        INPUT,
        "Values that are NaN or infinite: refuse, zero, or median of those around.",
        autocompletion=choices.offer(choices.nan_policies),
    ),
    "no_truth": _option(
        bool, INPUT, "Leave the file's ground truth out, as if it had none.", "--no-truth"
    ),
    "mask": _option(Path | None, CAMERA, "File with the mask, if it is not in the capture."),
    "camera": _camera(),
    "frames": _option(
        str | None,
        CAMERA,
        "Frames of the mask that code a measurement: 10 (the first), or 10:20.",
    ),
    "arms": _option(
        str | None,
        CAMERA,
        "Number of measurements of the same frames, each with its own mask; or complement: two, "
        "the second with the inverse mask.",
    ),
    "scale": _option(
        float | None,
        CAMERA,
        "Stored value of white.",
        show_default="found by rule, and printed",
    ),
    "dark": _option(str | None, CAMERA, "File with the dark frame, or the black level, as stored."),
    "flat": _option(str | None, CAMERA, "File with the flat field."),
    "frame_gains": _option(
        str | None, CAMERA, "Brightness of the lamp in each frame: a text file, or 1,0.9,1.1 …"
    ),
    "bad_pixels": _option(str | None, CAMERA, "File with a map of broken pixels (not 0), or auto."),
    "saturation": _option(
        str | None, CAMERA, "Stored value of clipped pixels, auto, or none.", show_default="auto"
    ),
    "noise": _option(
        str | None,
        CAMERA,
        "Standard deviation of the measurement's noise (white is 1), or auto.",
    ),
}
_DEFAULTS = {"nan": "refuse", "no_truth": False}
# Where a camera of the laboratory is meant; what makes or converts files names its own.
_LAB_CAMERA = _camera(envvar="DEQSCI_CAMERA")


def takes_read_options(
    *without: str, lab_camera: bool = False
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of `READ_OPTIONS` in place of its argument `read_options`.

    Args:
        without: those that it does not have.
        lab_camera: `DEQSCI_CAMERA` names the camera where `--camera` does not.
    """
    hints = {name: hint for name, hint in READ_OPTIONS.items() if name not in without}
    if lab_camera:
        hints["camera"] = _LAB_CAMERA
    added = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=_DEFAULTS.get(name),
            annotation=hint,
        )
        for name, hint in hints.items()
    ]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(**given: Any) -> None:
            with live(shown=not given.get("quiet")):  # something moves from the beginning on
                from deqsci_cli.io.read_options import ReadOptions

            chosen = {name: given.pop(name) for name in hints}
            truth = not chosen.pop("no_truth", False)
            command(**given, read_options=ReadOptions(**chosen, truth=truth))

        run.__annotations__ = {k: v for k, v in run.__annotations__.items() if k != "read_options"}
        own = get_type_hints(run, include_extras=True)
        parameters: list[inspect.Parameter] = []
        signature = inspect.signature(command)
        for name, parameter in signature.parameters.items():
            if name == "read_options":
                parameters += added
            else:
                kind = parameter.KEYWORD_ONLY
                parameters.append(parameter.replace(annotation=own[name], kind=kind))
        # What typer looks at.
        run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        run.__annotations__ = own | hints
        return run

    return decorate
