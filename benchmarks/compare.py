"""This checkout beside another one, and beside what other tools took: seconds, in turns.

    python benchmarks/compare.py CAPTURE --model pnp-cnn [--checkout ../other] \
        [--foreign "published code=125"] [--rounds 5]

Every round runs `deqsci reconstruct CAPTURE --measurements 0` by each checkout, one after the
other, so that a machine that drifts drifts for all of them. Foreign timings, in seconds for the
same capture, are taken as they are given.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent


def once(checkout: Path, capture: Path, model: str) -> tuple[float, float]:
    """Seconds of solving, and PSNR (nan without truth), by a checkout's own report."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "deqsci_cli", "reconstruct", str(capture), "-o", folder]
        command += ["--model", model, "--measurements", "0", "--preview", "none", "--quiet"]
        environment = os.environ | {"PYTHONPATH": str(checkout)}
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        (record,) = json.loads((Path(folder) / "report.json").read_text())["measurements"]
    return record["seconds"], record["psnr"] or float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("capture", type=Path)
    parser.add_argument("--model", default="pnp")
    parser.add_argument("--checkout", type=Path, action="append", default=[])
    parser.add_argument("--foreign", action="append", default=[], metavar="NAME=SECONDS")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    checkouts = [HERE, *(path.resolve() for path in options.checkout)]
    taken: dict[Path, list[tuple[float, float]]] = {path: [] for path in checkouts}
    for _ in range(options.rounds):
        for path in checkouts:
            taken[path].append(once(path, options.capture.resolve(), options.model))
    ours = [seconds for seconds, _ in taken[HERE]]
    print(
        "| who | seconds | least to most | PSNR dB | times as long as here |\n|---|---|---|---|---|"
    )
    for path, runs in taken.items():
        times = [seconds for seconds, _ in runs]
        ratio = statistics.median(a / b for a, b in zip(times, ours, strict=True))
        span = f"{min(times):.2f} to {max(times):.2f}"
        print(
            f"| {'here' if path == HERE else path.name} | {statistics.median(times):.2f} | {span} "
            f"| {runs[0][1]:.2f} | {ratio:.2f} |"
        )
    for given in options.foreign:
        name, _, figure = given.rpartition("=")
        ratio = float(figure) / statistics.median(ours)
        print(f"| {name} | {float(figure):.2f} | as given | | {ratio:.2f} |")


if __name__ == "__main__":
    main()
