"""`convert`: between capture formats, and foreign checkpoints into models."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from deqsci_cli import zoo
from deqsci_cli.config import to_table
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.io import Capture, check_absent, load_capture, make_provenance, write_capture
from deqsci_cli.io.overlap import check_no_overlap
from deqsci_cli.io.paths import real
from deqsci_cli.io.read_options import ReadOptions
from deqsci_cli.io.sensor import REASONS
from deqsci_cli.networks.checkpoints import import_checkpoint
from deqsci_cli.networks.registry import parameter_count

# A hundred evaluations, mixed with an absolute regulariser. Weights that were not trained to rest
# come by their figures on the way: at no one tolerance are all scenes at their best.
_ANDERSON = EquilibriumSettings(
    consistency_relaxation=1.0,
    start="adjoint",
    tol=1e-5,
    max_iter=100,
    regularisation=0.0,
    absolute_regularisation=1e-2,
)

# Ten iterations at each of four falling noise levels, and no more: at the last one for ever, the
# denoiser would smooth a little more with every evaluation.
_SCHEDULE = EquilibriumSettings(
    warmup=tuple((level / 255, 10) for level in (50, 25, 12)),
    sigma=6 / 255,
    solver="picard",
    tol=1e-5,
    max_iter=10,
)

#: how the published code runs the networks that can be imported
PUBLISHED = {"cnn": _ANDERSON, "rsn-cnn": _ANDERSON, "ffdnet": _SCHEDULE}

#: What is imported as what. Normalised kernels are stored as they ran; our own normalisation,
#: whose bound is the tighter one, would scale them down once more.
RUNS_AS = {"cnn": "cnn", "rsn-cnn": "cnn", "ffdnet": "ffdnet"}


@dataclass(frozen=True)
class ConvertConfig:
    """A capture to be written in another format: where from, where to, how to be understood."""

    source: Path
    out: Path
    read_options: ReadOptions = field(default_factory=ReadOptions)
    overwrite: bool = False


def convert_capture(config: ConvertConfig) -> Capture:
    """Read a capture and write it in the format that `out` ends with, mask and truth with it.

    Pixels that tell nothing are written as NaN, or they would be believed when the file is read;
    not those that pile up at a level, which are found again.
    """
    check_no_overlap([config.out], [config.source, *config.read_options.files().values()])
    check_absent([config.out], overwrite=config.overwrite)
    capture = load_capture(config.source, config.read_options)
    lost = _not_found_again(capture, config.read_options)
    if lost.any():
        told = (
            f"{np.count_nonzero(lost)} pixels that tell nothing are written as NaN: read "
            f"{config.out.name} with --nan zero"
        )
        capture = replace(capture, notes=(*capture.notes, told))
    write_capture(
        config.out,
        measurements=capture.measurements,
        unseen=lost,
        mask=capture.mask,
        truth=capture.truth,
        scale=capture.scale,
        provenance=make_provenance(
            "convert",
            {"read_options": asdict(config.read_options), "notes": capture.notes},
            seed=None,
            model=None,
            inputs=[version.as_input() for version in capture.versions],
            device="cpu",
        ),
        overwrite=config.overwrite,
    )
    return capture


def _not_found_again(capture: Capture, options: ReadOptions) -> np.ndarray:
    """Booleans as the measurements: pixels that tell nothing, and do not show it themselves.

    What `--nan median` has filled was asked to be filled.
    """
    unseen = capture.unseen
    if unseen is None:
        return np.zeros(capture.measurements.shape, bool)
    camera = options.read_camera()
    as_stored = camera.dark is None and camera.flat is None
    shown = ["seen"]
    if as_stored and camera.saturation in (None, "auto"):
        shown.append("clipped")
    if options.nan == "median":
        shown.append("not a number")
    return np.isin(unseen, [REASONS.index(reason) for reason in shown], invert=True)


def convert_checkpoint(
    source: Path, out: Path, architecture: str, *, overwrite: bool = False
) -> tuple[zoo.Card, int]:
    """Import a published checkpoint as a model folder, run as `PUBLISHED` has it.

    Returns:
        The card written, and the number of parameters.
    """
    files = [out / zoo.WEIGHTS, out / zoo.CARD]
    check_no_overlap(files, [source])
    check_absent(files, overwrite=overwrite)
    runs_as = RUNS_AS.get(architecture, architecture)
    network, options = import_checkpoint(source, runs_as)
    card = zoo.Card(
        name=real(out).name,
        summary=f"{architecture} imported from {source.name}",
        architecture=runs_as,
        options=options,
        equilibrium=to_table(PUBLISHED[architecture], only_changed=True),
        training={"imported_from": source.name},
        licence="that of the checkpoint",
    )
    zoo.save_model(out, network, card, overwrite=overwrite)
    return card, parameter_count(network)
