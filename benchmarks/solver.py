"""Which solver settings need the fewest evaluations, and which tolerance is worth its time.

    python benchmarks/solver.py HELD_OUT_CLIPS --models pnp,rnn [--side 64] [--evaluations 40]

On captures of held-out clips (as they are, and their first frames under a moving camera), for each
model and setting: evaluations until the mean residual is below each tolerance, the mean PSNR there,
and the PSNR in the end.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deqsci_cli import zoo
from deqsci_cli.engine.device import keep_freed_memory
from deqsci_cli.engine.training.clips import load_clips
from deqsci_cli.engine.training.equilibrium import EquilibriumValidation
from deqsci_cli.equilibrium.maps import GAPMap
from deqsci_cli.equilibrium.model import EquilibriumSettings, iterate, make_map, start_state
from deqsci_cli.physics.sensing import SensingOperator

TOLERANCES = (3e-3, 2e-3, 1e-3, 5e-4, 3e-4)
CHANGES: tuple[dict[str, Any], ...] = (
    {},
    {"memory": 3},
    {"memory": 8},
    {"memory": 12},
    {"regularisation": 1e-4},
    {"damping": 0.7},
    {"start": "average"},
    {"solver": "picard"},
)


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
        pairs = [(f.operator.mask, truth) for f, truth in asked.maps(model.network)]
        masks, truths = (torch.cat(column) for column in zip(*pairs, strict=True))
        operator = SensingOperator(masks)
        for change in CHANGES:
            settings = replace(card, tol=1e-12, max_iter=options.evaluations, **change)
            f = make_map(model.network, operator, operator.A(truths), settings)
            quality: list[float] = []

            def listen(
                _: int, __: Tensor, best: Tensor, f: GAPMap = f, seen: list[float] = quality
            ) -> None:
                error = (f.video(best).clamp(0, 1) - truths).square().mean((2, 3))
                seen.append(float(-10 * error.log10().mean()))

            found = iterate(f, start_state(f, settings), settings, on_iteration=listen)
            residuals = torch.tensor(found.residuals).mean(0)
            cells = []
            for tol in TOLERANCES:
                below = (residuals < tol).nonzero()
                at = int(below[0]) if len(below) else None
                cells.append("–" if at is None else f"{at + 1}: {quality[at]:.2f}")
            label = ", ".join(f"{k} {v}" for k, v in change.items()) or "as in its card"
            print(f"| {name} | {label} | {' | '.join(cells)} | {quality[-1]:.2f} |", flush=True)


if __name__ == "__main__":
    main()
