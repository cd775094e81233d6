"""Which solver settings need the fewest evaluations, and which tolerance is worth its time.

    python benchmarks/solver.py HELD_OUT_CLIPS --models pnp,rnn [--side 64] [--evaluations 40]

On captures of held-out clips (as they are, and their first frames under a moving camera), for each
model and setting: the evaluations that a capture needs to each tolerance, the mean PSNR there, in
brackets the most that one capture still gains or loses afterwards, and the PSNR in the end.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deqsci_cli import zoo
from deqsci_cli.equilibrium.maps import GAPMap
from deqsci_cli.equilibrium.model import iterate, make_map, start_state
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.physics.sensing import SensingOperator
from deqsci_cli.report.metrics import psnr
from deqsci_cli.runtime.device import keep_freed_memory
from deqsci_cli.training.patches import load_clips
from deqsci_cli.training.validation import EquilibriumValidation

TOLERANCES = (3e-3, 2e-3, 1e-3, 5e-4, 3e-4)
CHANGES: tuple[dict[str, Any], ...] = (
    {},
    {"memory": 3},
    {"memory": 8},
    {"memory": 12},
    {"regularisation": 1e-4},
    {"relaxation": 0.7},
    {"start": "average"},
    {"solver": "picard"},
)


def follow(f: GAPMap, settings: EquilibriumSettings, truths: Tensor) -> tuple[Tensor, Tensor]:
    """By capture and evaluation, the residual and the PSNR of what would be the answer by then."""
    quality: list[Tensor] = []

    def listen(_: int, __: Tensor, best: Tensor) -> None:
        videos = f.video(best).clamp(0, 1).numpy()
        each = zip(videos, truths.numpy(), strict=True)
        quality.append(torch.tensor([np.mean(psnr(*pair)) for pair in each]))

    found = iterate(f, start_state(f, settings), settings, on_iteration=listen)
    return torch.tensor(found.residual_trace), torch.stack(quality, dim=1)


def at_tolerance(tol: float, residuals: Tensor, quality: Tensor) -> str:
    """Mean evaluations, mean PSNR there, and the most that a capture still gains or loses after."""
    met = (residuals.cummin(1).values < tol).int()
    if not met[:, -1].all():
        return "–"
    first = met.argmax(1, keepdim=True)
    there = quality.gather(1, first).squeeze(1)
    after = quality[:, -1] - there
    most = float(after[after.abs().argmax()])
    return f"{float(first.float().mean()) + 1:.1f}: {float(there.mean()):.2f} ({most:+.2f})"


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--models", default="pnp")
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--evaluations", type=int, default=40)
    options = parser.parse_args()
    keep_freed_memory()
    clips = load_clips([options.clips])
    print(f"| model | setting | {' | '.join(map(str, TOLERANCES))} | in the end |")
    print("|---|---|" + "---|" * (len(TOLERANCES) + 1))
    for name in options.models.split(","):
        model = zoo.load(name)
        card = EquilibriumSettings.from_card(model.card.equilibrium)
        asked = EquilibriumValidation(clips, frames=8, side=options.side, solve=card)
        truths = torch.stack([torch.from_numpy(video) for video, _ in asked.captures])
        operator = SensingOperator(torch.stack([mask for _, mask in asked.captures]))
        for change in CHANGES:
            settings = replace(card, tol=1e-12, max_iter=options.evaluations, **change)
            f = make_map(model.network, operator, operator.A(truths), settings)
            residuals, quality = follow(f, settings, truths)
            cells = [at_tolerance(tol, residuals, quality) for tol in TOLERANCES]
            label = ", ".join(f"{k} {v}" for k, v in change.items()) or "as in its card"
            final = float(quality[:, -1].mean())
            print(f"| {name} | {label} | {' | '.join(cells)} | {final:.2f} |", flush=True)


if __name__ == "__main__":
    main()
