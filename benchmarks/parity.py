"""The published weights in this engine beside the figures of the published code.

    python benchmarks/parity.py ../shared/data

expects `weights/{cnn.ckpt,rsn_cnn.ckpt,ffdnet_gray.pth}` and `bench/*8_cacti.mat` there.
Some five minutes on two cores.
"""

from __future__ import annotations

import sys
from pathlib import Path

from deqsci_cli import zoo
from deqsci_cli.engine.device import keep_freed_memory
from deqsci_cli.engine.importing import import_checkpoint
from deqsci_cli.engine.solving import reconstruct_array
from deqsci_cli.equilibrium.model import EquilibriumSettings
from deqsci_cli.io import load_capture
from deqsci_cli.report.metrics import judge

# Anderson as the published code has it: memory 5, 1e-2 added to the Gram matrix.
PUBLISHED = EquilibriumSettings(
    map="gap",
    start="adjoint",
    solver="anderson",
    tol=1e-5,
    max_iter=100,
    regularisation=0.0,
    absolute_regularisation=1e-2,
)
# Accelerated GAP under the usual schedule, ten iterations a level, the last one the solver's.
SCHEDULE = EquilibriumSettings(
    map="accelerated-gap",
    warmup=tuple((level / 255, count) for level, count in ((50, 10), (25, 10), (12, 10), (6, 9))),
    sigma=6 / 255,
    max_iter=1,
)
FIGURES = (
    ("cnn.ckpt", "cnn", PUBLISHED, {"drop8": "38.14", "runner8": "32.35"}),
    ("rsn_cnn.ckpt", "rsn-cnn", PUBLISHED, {"drop8": "35.96", "runner8": "30.74"}),
    (
        "ffdnet_gray.pth",
        "ffdnet",
        SCHEDULE,
        {"drop8": "at least 39.6", "runner8": "at least 32.4", "kobe8": "at least 31.9"},
    ),
)


def main() -> None:
    data = Path(sys.argv[1])
    keep_freed_memory()
    print("| weights | scene | published dB | here dB | evaluations | residual |")
    print("|---|---|---|---|---|---|")
    for file, architecture, settings, scenes in FIGURES:
        network, options = import_checkpoint(data / "weights" / file, architecture)
        card = zoo.Card(file, "", architecture, options)
        model = zoo.Model(network, card, data, None)
        for scene, published in scenes.items():
            capture = load_capture(data / "bench" / f"{scene}_cacti.mat")
            found = reconstruct_array(capture.measurements[0], capture.mask, model, settings)
            psnr = judge(found.x[0].numpy(), capture.truth_of(0))["psnr"]
            print(
                f"| {file} | {scene} | {published} | {psnr:.2f} | {found.evaluations[0]} | "
                f"{found.residuals[0][-1]:.1e} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
