"""`deqsci inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deqsci_cli.cli import console, options, reading
from deqsci_cli.errors import InputError, UsageError

if TYPE_CHECKING:
    from deqsci_cli.io.read_options import ReadOptions

# Placements of a mask that are shown: those that could be meant.
_PLACEMENTS = 6


@reading.takes_read_options("noise", lab_camera=True)
def inspect(
    file: Annotated[Path, typer.Argument(help="A capture, mask or film: .mat, .h5 or .tif.")],
    *,
    read_options: ReadOptions,
    as_json: options.AsJson = False,
) -> None:
    """Tell what is in a file, and how it would be read as a capture.

    With --mask or --camera also whether that mask is the right one: it is compared with itself
    turned, mirrored and moved by up to two pixels.
    """
    from dataclasses import asdict

    import numpy as np

    from deqsci_cli.io import describe, load_capture, looks_like_sequence

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
        if read_options.mask is not None or read_options.camera is not None:
            from deqsci_cli.engine.mask_answer import answer  # torch is slow to import

            facts["mask"] = asdict(answer(capture))
        opened = capture.mask > 0
        neighbours = looks_like_sequence(capture)
        facts["capture"] = {
            "measurements": capture.count,
            "arms": capture.arms,
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
            "closed_pixels": int((~opened.reshape(-1, *capture.shape).any(0)).sum()),
            "unseen_pixels": 0 if capture.unseen is None else int(np.count_nonzero(capture.unseen)),
            "sequence": None if neighbours is None else asdict(neighbours),
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
    console.show_table(shown)
    if summary.imperfections:
        done = ", ".join(summary.imperfections)
        console.out.print(f"simulated with an imperfect camera: {done}", soft_wrap=True)
    if facts["capture"] is None:
        console.note(f"not read as a capture: {reason}")
        return
    _show_capture(facts["capture"])
    if "mask" in facts:
        _show_mask(facts["mask"])


def _show_capture(capture: object) -> None:
    assert isinstance(capture, dict)
    height, width = capture["shape"]
    kind = "0/1" if capture["mask_binary"] else "grey"
    low, high = capture["mask_range"]
    count = f"{capture['measurements']} measurement(s)"
    count += f" by {capture['arms']} arms" if capture["arms"] > 1 else ""
    console.out.print(
        f"as a capture: {count} of {capture['frames']} frames, "
        f"{height} x {width} pixels, truth for {capture['truth_frames']} frames\n"
        f"mask: {kind}, {low:g} to {high:g}, {capture['mask_open']:.1%} open, "
        f"{capture['closed_pixels']} pixels closed in all frames\n"
        f"scale: {capture['scale_rule']}",
        soft_wrap=True,
    )
    if capture["sequence"] is not None:
        _show_sequence(capture["sequence"])
    for sentence in capture["notes"]:
        console.note(sentence)


def _show_sequence(found: dict[str, float | bool | None]) -> None:
    far = "" if found["far"] is None else f", distant ones at {found['far']:.2f}"
    verdict = (
        "they seem to follow one another, and deqsci reconstruct --sequence makes one film of them"
        if found["likely"]
        else "they do not seem to follow one another"
    )
    console.out.print(
        f"the scenes of neighbouring measurements correlate at {found['near']:.2f}{far}: {verdict}",
        soft_wrap=True,
    )


def _show_mask(found: object) -> None:
    assert isinstance(found, dict)
    console.out.print("is the mask right?", end=" ")
    score = console.number(found["mask_score"])
    expected = console.number(found["expected"])
    console.out.print(
        f"{found['words']}\nmask score {score} (a right mask: about {expected}; a wrong one: "
        "about 1)",
        soft_wrap=True,
    )
    if found["black_level"] is not None:
        level, error = found["black_level"], found["black_level_error"]
        console.out.print(f"black level left in: {level:.2%} of a white frame, ± {error:.2%}")
    shown = console.table("", "the mask", "held-out score")
    for placed in found["placements"][:_PLACEMENTS]:
        shown.add_row(placed["change"], console.number(placed["score"], ".3f"))
    console.show_table(shown)
