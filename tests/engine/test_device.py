"""How a device computes."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
import torch

from deqsci_cli import zoo
from deqsci_cli.engine.solving import Reconstructor
from deqsci_cli.equilibrium.model import EquilibriumSettings


@pytest.mark.parametrize(("dtype", "expected"), [("float32", "ieee"), ("tf32", "tf32")])
@pytest.mark.parametrize("fails", [False, True])
def test_a_gpu_convolves_in_what_is_asked_for(dtype, expected, fails):
    before = torch.backends.cudnn.conv.fp32_precision
    model, seen = zoo.load("pnp-cnn"), []

    def note(*_: object) -> None:
        seen.append(torch.backends.cudnn.conv.fp32_precision)
        if fails:
            raise ValueError

    run = Reconstructor(model, EquilibriumSettings(max_iter=2), device="cpu", dtype=dtype)
    run.network.register_forward_hook(note)
    mask = np.ones((4, 8, 8), np.float32)
    with pytest.raises(ValueError) if fails else nullcontext():
        run(mask.sum(0)[None] / 2, mask)
    assert seen and set(seen) == {expected}
    assert torch.backends.cudnn.conv.fp32_precision == before
