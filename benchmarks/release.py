"""Whether a newly trained model may take the place of the released one.

    python benchmarks/release.py HELD_OUT_CLIPS HIGH_SPEED_FILMS --models pnp-cnn,FOLDER,0.5*FOLDER

Three rows of captures, T = 8: the training's own validation (the clips, and their first frames
under a moving camera); the clips at half their size, which have fine texture; and the films of
high-speed cameras, two captures each where most moves. `0.5*FOLDER` has half of its weights from
the folder and the other half from the first model of the list. Every model is run as its card says.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import uniform_filter

from deqsci_cli import zoo
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.networks.denoiser import Denoiser
from deqsci_cli.runtime.device import keep_freed_memory
from deqsci_cli.training.patches import load_clips
from deqsci_cli.training.validation import EquilibriumValidation

T = 8


def halved(clip: np.ndarray) -> np.ndarray:
    """A clip `(F, H, W)` at half its size: the mean of each two by two pixels."""
    _, h, w = clip.shape
    even = clip[:, : h - h % 2, : w - w % 2].astype(np.float32)
    means = even.reshape(len(clip), h // 2, 2, w // 2, 2).mean(axis=(2, 4))
    return means.round().astype(np.uint8)


def where_most_moves(film: np.ndarray, side: int) -> np.ndarray:
    """The first T frames of a film `(F, H, W)`, cut to the square in which most moves."""
    moves = np.abs(np.diff(film[:T].astype(np.float32), axis=0)).mean(axis=0)
    reach = slice(side // 2, -(side // 2) + 1 or None)
    inside = uniform_filter(moves, side)[reach, reach]
    row, column = np.unravel_index(inside.argmax(), inside.shape)
    return film[:T, row : row + side, column : column + side]


def network_of(asked: str, first: str) -> Denoiser:
    """The network of a model, or its share mixed with the first model's."""
    share, _, name = asked.rpartition("*")
    network = zoo.load(name).network
    if share:
        base, weights = zoo.load(first).network.state_dict(), network.state_dict()
        network.load_state_dict(
            {key: torch.lerp(base[key], weights[key], float(share)) for key in weights}
        )
    return network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path)
    parser.add_argument("films", type=Path)
    parser.add_argument("--models", default="pnp")
    parser.add_argument("--side", type=int, default=96)
    options = parser.parse_args()
    keep_freed_memory()
    clips, films, side = load_clips([options.clips]), load_clips([options.films]), options.side
    fast = [where_most_moves(film[at:], side) for film in films for at in (0, len(film) // 2)]
    kinds = {"held-out": clips, "at half the size": [halved(c) for c in clips], "high-speed": fast}
    print("| model | " + " | ".join(f"{kind}: dB, evaluations, settled" for kind in kinds) + " |")
    print("|---|" + "---|" * len(kinds))
    names = options.models.split(",")
    card = EquilibriumSettings.from_card(zoo.load(names[0]).card.equilibrium)
    for asked in names:
        network, cells = network_of(asked, names[0]), []
        for kind in kinds.values():
            found = EquilibriumValidation(kind, frames=T, side=side, solve=card)(network)
            cells.append(
                f"{found['psnr']:.2f}, {found['evaluations']:.1f}, {found['converged']:.0%}"
            )
        print(f"| {asked} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
