"""`deqsci inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deqsci_cli.cli import console, options
from deqsci_cli.errors import InputError, UsageError

if TYPE_CHECKING:
    from deqsci_cli.io.read_options import ReadOptions


@options.takes_read_options()
def inspect(
    file: Annotated[Path, typer.Argument(help="A capture, mask or film: .mat, .h5 or .tif.")],
    *,
    read_options: ReadOptions,
    as_json: options.AsJson = False,
) -> None:
    """Tell what is in a file, and how it would be read as a capture."""
    from dataclasses import asdict

    import numpy as np

    from deqsci_cli.io import describe, load_capture

    summary = describe(file)
    facts: dict[str, object] = {"file": str(file), "format": summary.format}
    facts["simulated_imperfections"] = summary.imperfections
    facts["arrays"] = [asdict(array) for array in summary.arrays]
    try:
        capture = load_capture(file, read_options)
    except (InputError, UsageError) as error:
        facts["capture"] = None
        reason = str(error)
    else:
        reason = ""
        opened = capture.mask > 0
        facts["capture"] = {
            "measurements": capture.count,
            "frames": capture.frames,
            "shape": capture.shape,
            "truth_frames": 0 if capture.truth is None else len(capture.truth),
            "scale": capture.scale,
            "scale_rule": capture.scale_rule,
            "replaced": capture.replaced,
            "notes": capture.notes,
            "mask_range": (float(capture.mask.min()), float(capture.mask.max())),
            "mask_binary": bool(np.isin(capture.mask, (0, 1)).all()),
            "mask_open": float(opened.mean()),
            "closed_pixels": int((~opened.any(0)).sum()),
        }
    if as_json:
        console.json_line(facts)
        return
    console.out.print(f"{file}: {summary.format}", soft_wrap=True)
    shown = console.table("", "name", "shape", "type", "axes", "min", "max", "mean", "note")
    for array in summary.arrays:
        shown.add_row(
            array.name,
            " x ".join(map(str, array.shape)),
            array.dtype,
            array.axes or "?",
            console.number(array.minimum, ".6g"),
            console.number(array.maximum, ".6g"),
            console.number(array.mean, ".6g"),
            array.note or "",
        )
    console.out.print(shown)
    if summary.imperfections:
        done = ", ".join(summary.imperfections)
        console.out.print(f"simulated with an imperfect camera: {done}", soft_wrap=True)
    if facts["capture"] is None:
        console.note(f"not read as a capture: {reason}")
        return
    _show_capture(facts["capture"])


def _show_capture(capture: object) -> None:
    assert isinstance(capture, dict)
    height, width = capture["shape"]
    kind = "0/1" if capture["mask_binary"] else "grey"
    low, high = capture["mask_range"]
    console.out.print(
        f"as a capture: {capture['measurements']} measurement(s) of {capture['frames']} frames, "
        f"{height} x {width} pixels, truth for {capture['truth_frames']} frames\n"
        f"mask: {kind}, {low:g} to {high:g}, {capture['mask_open']:.1%} open, "
        f"{capture['closed_pixels']} pixels closed in all frames\n"
        f"scale: {capture['scale_rule']}",
        soft_wrap=True,
    )
    for sentence in capture["notes"]:
        console.note(sentence)
