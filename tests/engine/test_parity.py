"""The published DE-GAP-CNN weights in this engine reach the figure of the published code."""

from __future__ import annotations

import pytest

from deqsci_cli import zoo
from deqsci_cli.engine.importing import import_checkpoint
from deqsci_cli.engine.solving import reconstruct_array
from deqsci_cli.equilibrium.model import EquilibriumSettings
from deqsci_cli.io import load_capture
from deqsci_cli.report.metrics import judge


def test_published_cnn_on_drop(shared_data):
    """38.14 dB after 100 iterations; benchmarks/parity.py has the other scenes and networks."""
    network, options = import_checkpoint(shared_data / "weights" / "cnn.ckpt", "cnn")
    model = zoo.Model(network, zoo.Card("cnn", "", "cnn", options), shared_data, None)
    published = EquilibriumSettings(
        map="gap",
        start="adjoint",
        tol=1e-5,
        max_iter=100,
        regularisation=0.0,
        absolute_regularisation=1e-2,
    )
    capture = load_capture(shared_data / "bench" / "drop8_cacti.mat")
    found = reconstruct_array(capture.measurements[0], capture.mask, model, published)
    assert judge(found.x[0].numpy(), capture.truth_of(0))["psnr"] == pytest.approx(38.14, abs=0.1)
