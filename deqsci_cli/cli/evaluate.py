"""`deqsci evaluate`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from deqsci_cli.cli import console, options
from deqsci_cli.errors import DeqsciError


def evaluate(
    films: Annotated[list[str], typer.Argument(help="Reconstructed films, or quoted globs.")],
    truth: Annotated[Path, typer.Option(help="A film, a video, or a capture with truth.")],
    truth_key: options.TruthKey = None,
    axes: options.Axes = None,
    frames: Annotated[
        bool, typer.Option("--frames", help="Show the figures of every frame.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Measure films against their truth: PSNR (peak 1) and SSIM, mean over the frames."""
    from deqsci_cli.engine.evaluate import Evaluation
    from deqsci_cli.engine.evaluate import evaluate as run  # torch is slow to import

    results = run(options.expand(films), truth, key=truth_key, axes=axes)
    good = [r for r in results if isinstance(r, Evaluation)]
    if as_json:
        for result in good:
            console.json_line(asdict(result))
    elif good:
        shown = console.table("", "film", "frames", "PSNR dB", "SSIM")
        for result in good:
            shown.add_row(
                result.film,
                str(result.frames),
                console.number(result.psnr),
                console.number(result.ssim, ".4f"),
            )
            if frames:
                likeness = result.frame_ssim or (None,) * result.frames
                for index, pair in enumerate(zip(result.frame_psnr, likeness, strict=True)):
                    shown.add_row(
                        "", f"#{index}", console.number(pair[0]), console.number(pair[1], ".4f")
                    )
        console.out.print(shown)
    failed = [r for r in results if isinstance(r, DeqsciError)]
    for error in failed:
        console.show_error(error)
    if failed:
        raise typer.Exit(1 if good else failed[0].exit_code)
