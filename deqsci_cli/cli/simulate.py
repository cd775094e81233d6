"""`deqsci simulate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deqsci_cli.cli import choices, console, options
from deqsci_cli.cli.inputs import numbers


def simulate(
    context: typer.Context,
    video: Annotated[Path, typer.Argument(help="mp4, gif, tif, folder of images, .mat or .h5.")],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="The capture: .mat, .h5 or .tif.", rich_help_panel=options.OUTPUT
        ),
    ],
    frames: Annotated[
        int | None,
        typer.Option(
            help="Frames a measurement (T); 8, or the mask's own.", rich_help_panel=options.CAMERA
        ),
    ] = None,
    start: Annotated[
        int,
        typer.Option(min=0, help="First frame of the video to use.", rich_help_panel=options.INPUT),
    ] = 0,
    count: Annotated[
        int | None,
        typer.Option(
            help="Measurements; as many as the video holds if not given.",
            rich_help_panel=options.INPUT,
        ),
    ] = None,
    crop: Annotated[
        str | None,
        typer.Option(
            help="HEIGHTxWIDTH from the middle, or HEIGHTxWIDTH+TOP+LEFT.",
            rich_help_panel=options.INPUT,
        ),
    ] = None,
    resize: Annotated[
        str | None,
        typer.Option(help="HEIGHTxWIDTH, after the crop.", rich_help_panel=options.INPUT),
    ] = None,
    mask_kind: Annotated[
        str,
        typer.Option(
            help="binary, grey or shifting.",
            autocompletion=choices.offer(choices.mask_kinds),
            rich_help_panel=options.CAMERA,
        ),
    ] = "binary",
    mask: Annotated[
        Path | None,
        typer.Option(help="A file with the mask instead.", rich_help_panel=options.CAMERA),
    ] = None,
    camera: Annotated[
        Path | None,
        typer.Option(
            help="File of a camera that codes the video, with all its imperfections.",
            rich_help_panel=options.CAMERA,
        ),
    ] = None,
    density: Annotated[
        float,
        typer.Option(
            help="Share of open elements of a binary mask.", rich_help_panel=options.CAMERA
        ),
    ] = 0.5,
    arms: Annotated[
        int | None,
        typer.Option(
            help="2 measures the same frames through the complementary mask as well.",
            rich_help_panel=options.CAMERA,
        ),
    ] = None,
    read_noise: Annotated[
        float | None,
        typer.Option(
            help="Standard deviation of the Gaussian read noise; white is 1.",
            rich_help_panel=options.CAMERA,
        ),
    ] = None,
    peak: Annotated[
        float | None,
        typer.Option(
            help="Photons of one frame's white; Poisson shot noise.", rich_help_panel=options.CAMERA
        ),
    ] = None,
    bits: Annotated[
        int | None,
        typer.Option(help="Resolution of the converter.", rich_help_panel=options.CAMERA),
    ] = None,
    saturation: Annotated[
        float | None,
        typer.Option(
            help="Measurement at which the sensor clips; white is 1.",
            rich_help_panel=options.CAMERA,
        ),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(
            help="Stored value of white; the camera's, or 255.", rich_help_panel=options.CAMERA
        ),
    ] = None,
    seed: options.Seed = 0,
    config_file: options.Config = None,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Code a clean video as the camera would, and write the capture with mask and truth.

    Options override the camera's file.
    """
    from deqsci_cli.engine import simulate as engine  # torch is slow to import
    from deqsci_cli.physics.noise import SensorNoise

    if mask is not None:
        options.refuse(context, ("mask_kind", "density"), "has no meaning with --mask")
    window = numbers(resize, "--resize", 2)
    done = engine.simulate(
        engine.SimulateConfig(
            video=video,
            out=out,
            frames=frames,
            start=start,
            count=count,
            crop=numbers(crop, "--crop", 2, 4),
            resize=None if window is None else (window[0], window[1]),
            mask_kind=mask_kind,
            mask_file=mask,
            camera=camera,
            density=density,
            arms=arms,
            noise=SensorNoise(peak=peak, read=read_noise, saturation=saturation, bits=bits),
            scale=scale,
            seed=seed,
            overwrite=overwrite,
        )
    )
    for sentence in () if quiet else done.notes:
        console.note(sentence)
    if as_json:
        console.json_line(
            {
                "output": str(done.out),
                "measurements": done.count,
                "arms": done.arms,
                "frames": done.frames,
                "shape": done.shape,
            }
        )
    elif not quiet:
        height, width = done.shape
        by_arms = f" by {done.arms} arms" if done.arms > 1 else ""
        console.out.print(
            f"{done.out}: {done.count} measurement(s){by_arms} of {done.frames} frames, "
            f"{height} x {width} pixels",
            soft_wrap=True,
        )
