"""The adjoint test finds an adjoint that is not one, however small the mistake."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from deqsci_cli.physics.protocol import adjoint_test
from deqsci_cli.physics.sensing import SensingOperator


class Wrong(SensingOperator):
    """Its adjoint is off in one pixel of one sample."""

    by = 0.0

    def A_adjoint(self, measurement: Tensor) -> Tensor:
        video = super().A_adjoint(measurement)
        video[-1, 0, 1, 1] *= 1 + self.by
        return video


@pytest.mark.parametrize("samples", [1, 3])
def test_a_wrong_adjoint_is_found(samples):
    mask = 1e4 * torch.rand(samples, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    operator = Wrong(mask)
    assert adjoint_test(operator) < 1e-14  # in float64, whatever the operator's own precision
    assert operator.mask.dtype == torch.float32
    Wrong.by = 1e-6
    try:
        assert 1e-10 < adjoint_test(operator) < 1e-5
    finally:
        Wrong.by = 0.0


def test_a_closed_camera_passes():
    assert adjoint_test(SensingOperator(torch.zeros(2, 3, 3))) == 0
