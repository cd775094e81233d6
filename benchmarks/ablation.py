"""Short equilibrium trainings that differ in one option each.

    python benchmarks/ablation.py TRAIN VALIDATION RECIPE.toml --init-from MODEL --steps 100 \\
        --variant '' --variant gradient.form=exact \\
        --variant 'stability.reuse_steps=1 gradient.form=jfb'

A variant is a list of settings as `deqsci train --set` takes them. Quality is that on the held-out
clips, with as many evaluations as the recipe's `solve.max_iter` allows; seconds are those of the
processor, on one thread, so that other work beside it does not count.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from deqsci_cli.config import build, override, read_toml
from deqsci_cli.runtime.device import keep_freed_memory
from deqsci_cli.runtime.events import Event, Validated
from deqsci_cli.training.log import LOG
from deqsci_cli.training.settings import TrainConfig
from deqsci_cli.training.train import train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("train", type=Path)
    parser.add_argument("validation", type=Path)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--init-from", dest="init_from", required=True)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--variant", action="append", default=[])
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    base: dict[str, Any] = read_toml(options.recipe) | {
        "data": [str(options.train)],
        "validation": str(options.validation),
        "out": "to be set",
        "init_from": options.init_from,
        "steps": options.steps,
        "validate_every": options.steps,
    }
    print(
        "| variant | PSNR dB | evaluations | converged | spectral radius | CPU s / step | skipped |"
    )
    print("|---|---|---|---|---|---|---|", flush=True)
    for variant in options.variant:
        config = build(TrainConfig, override(base, variant.split()))
        seen: list[float] = []

        def listen(event: Event, seen: list[float] = seen) -> None:
            # The last validation is not part of the time.
            if not isinstance(event, Validated):
                seen.append(time.process_time())

        with tempfile.TemporaryDirectory() as folder:
            done = train(replace(config, out=Path(folder) / "run"), listen)
            line = json.loads((done.out / LOG).read_text().splitlines()[-1])
        seconds = (seen[-1] - seen[0]) / max(1, len(seen) - 1)
        print(
            f"| {variant or 'as the recipe'} | {line['psnr']:.2f} | {line['evaluations']:.1f} | "
            f"{line['converged']:.0%} | {line['spectral_radius']:.3f} | {seconds:.2f} | "
            f"{line['skipped']} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
