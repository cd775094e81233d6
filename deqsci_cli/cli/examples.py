"""The examples at the end of each command's help, and how a command shows its help."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

from deqsci_cli.cli.options import PANELS

#: by the command's name; each runs as it stands where there are such files
EXAMPLES = {
    "reconstruct": (
        "deqsci reconstruct capture.mat -o films",
        "deqsci reconstruct night/ --camera lab.h5 --report -o night-films",
        "deqsci reconstruct 'night/*.mat' --config run.toml --dry-run",
    ),
    "simulate": (
        "deqsci simulate clip.gif -o coded.mat",
        "deqsci simulate clip.gif --frames 4 --read-noise 0.01 -o noisy.h5",
        "deqsci simulate clip.gif --camera lab.h5 -o as-in-the-lab.h5",
    ),
    "evaluate": (
        "deqsci evaluate 'films/*_0.tif' --truth capture.mat",
        "deqsci evaluate --benchmark night/ --models pnp,gap-tv -o figures",
    ),
    "view": (
        "deqsci view films",
        "deqsci view films/capture_0.tif -o film.html",
    ),
    "convert": (
        "deqsci convert capture.mat capture.h5",
        "deqsci convert cnn.ckpt -o my-cnn --architecture cnn",
    ),
    "inspect": (
        "deqsci inspect capture.mat",
        "deqsci inspect capture.mat --mask mask.mat",
    ),
    "calibrate": (
        "deqsci calibrate --frames positions/ --dark dark.tif --flat white.tif -o lab.h5",
        "deqsci calibrate 'night/*.mat' --fit offset -o found.h5",
    ),
    "train": (
        "deqsci train clips/ --validation held-out/ -o mine --init-from pnp --config pnp",
        "deqsci train clips/ --validation held-out/ -o small --architecture cnn",
    ),
    "adapt": (
        "deqsci adapt 'night/*.mat' -o night-pnp",
        "deqsci adapt night/ --camera lab.h5 --model rnn -o night-rnn",
    ),
    "models": (
        "deqsci models",
        "deqsci models show pnp",
    ),
    "show": (
        "deqsci models show pnp",
        "deqsci models show pnp --history",
    ),
    "diagnose": (
        "deqsci models diagnose pnp capture.mat",
        "deqsci models diagnose rnn capture.mat --side 0 --json",
    ),
}


def epilog(name: str) -> str:
    """The examples of a command, a paragraph each: help breaks lines nowhere else."""
    return "\n\n".join(("Examples:", *EXAMPLES[name]))


class Grouped(TyperCommand):
    """A command whose options are listed group by group, in the order of `PANELS`."""

    def __init__(self, *args: Any, **settings: Any):
        super().__init__(*args, **settings)
        self.params.sort(key=lambda option: PANELS.index(getattr(option, "rich_help_panel", None)))
        self.epilog = epilog(str(self.name))
