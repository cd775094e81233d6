"""Seconds of a training step by a recipe, in the midst of its run.

    python benchmarks/step.py CLIPS RECIPE.toml --init-from pnp [--set batch_size=8 …]

One thread. All batches have been drawn when the timing begins; it goes over one round of
reused batches, in which each is seen once and one is drawn anew. CPU seconds are the ones to
compare on a machine that does other work besides.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch

from deqsci_cli.config import build, override, read_toml
from deqsci_cli.runtime.device import keep_freed_memory
from deqsci_cli.training.settings import TrainConfig
from deqsci_cli.training.train import train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--init-from", dest="init_from", required=True)
    parser.add_argument("--set", dest="settings", action="append", default=[])
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    table = read_toml(options.recipe) | {
        "data": [str(options.clips)], "validation": str(options.clips),
        "init_from": options.init_from,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        table |= {"out": f"{folder}/model"}
        run = build(TrainConfig, override(table, options.settings))
        reuse_steps = run.stability.reuse_steps
        began: list[tuple[float, float]] = []

        def listen(event: object) -> None:
            began.append((time.process_time(), time.perf_counter()))
            if len(began) > 2 * reuse_steps:
                raise KeyboardInterrupt

        try:
            train(run, listen)
        except KeyboardInterrupt:
            cpu, wall = (
                (last - first) / reuse_steps
                for first, last in zip(began[reuse_steps], began[-1], strict=True)
            )
            print(f"{cpu:.3f} CPU seconds a step, {wall:.3f} s on the clock")


if __name__ == "__main__":
    main()
