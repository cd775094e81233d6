"""The published weights in this engine beside the figures of the published code.

    python benchmarks/parity.py ../shared/data

expects `weights/{cnn.ckpt,rsn_cnn.ckpt,ffdnet_gray.pth}` and `bench/*8_cacti.mat` there.
Some five minutes on two cores.
"""

from __future__ import annotations

import sys
from pathlib import Path

from deqsci_cli import zoo
from deqsci_cli.engine.convert import PUBLISHED, RUNS_AS
from deqsci_cli.io import load_capture
from deqsci_cli.networks.checkpoints import import_checkpoint
from deqsci_cli.reconstructor import reconstruct
from deqsci_cli.report.metrics import compute_metrics
from deqsci_cli.runtime.device import keep_freed_memory

FIGURES = (
    ("cnn.ckpt", "cnn", {"drop8": "38.14", "runner8": "32.35"}),
    ("rsn_cnn.ckpt", "rsn-cnn", {"drop8": "35.96", "runner8": "30.74"}),
    (
        "ffdnet_gray.pth",
        "ffdnet",
        {"drop8": "at least 39.6", "runner8": "at least 32.4", "kobe8": "at least 31.9"},
    ),
)


def main() -> None:
    data = Path(sys.argv[1])
    keep_freed_memory()
    print("| weights | scene | published dB | here dB | evaluations | residual |")
    print("|---|---|---|---|---|---|")
    for file, architecture, scenes in FIGURES:
        network, options = import_checkpoint(data / "weights" / file, RUNS_AS[architecture])
        card = zoo.Card(file, "", RUNS_AS[architecture], options)
        model, settings = zoo.Model(card, data, None, network), PUBLISHED[architecture]
        for scene, published in scenes.items():
            capture = load_capture(data / "bench" / f"{scene}_cacti.mat")
            found = reconstruct(capture.measurements[0], capture.mask, model, settings)
            psnr = compute_metrics(found.video, capture.truth_of(0))["psnr"]
            print(
                f"| {file} | {scene} | {published} | {psnr:.2f} | {found.evaluations[0]} | "
                f"{found.residual_trace[0][-1]:.1e} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
