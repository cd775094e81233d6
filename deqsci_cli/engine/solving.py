"""A model made ready for measurements: arrays in, arrays out."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from deqsci_cli import zoo
from deqsci_cli.engine.device import choose_device, memory_errors, prepare
from deqsci_cli.equilibrium.model import EquilibriumSettings, solve
from deqsci_cli.equilibrium.solvers import OnIteration, Solution
from deqsci_cli.physics.sensing import SensingOperator


class Reconstructor:
    """A model on a device; it keeps the operator of the mask that it saw last.

    Args:
        model: from `zoo.load`.
        settings: None for those of the model's card.
        device: `auto`, `cpu`, `cuda` or `cuda:i`.
        dtype: `float32`, `float64` or `bfloat16`.
    """

    def __init__(
        self,
        model: zoo.Model,
        settings: EquilibriumSettings | None = None,
        *,
        device: str = "auto",
        dtype: str = "float32",
    ):
        self.device = choose_device(device)
        self.settings = settings or EquilibriumSettings.from_card(model.card.equilibrium)
        self.network, self.precision = prepare(model.network, self.device, dtype)
        self._last: tuple[np.ndarray, SensingOperator] | None = None

    def __call__(
        self, measurements: np.ndarray, mask: np.ndarray, on_iteration: OnIteration | None = None
    ) -> Solution:
        """Reconstruct measurements `(B, H, W)` of one camera, whose mask is `(T, H, W)`.

        Returns:
            The solution; `solution.x` is `(B, T, H, W)`, on the CPU.

        Raises:
            DeviceError: the memory is too small.
        """
        with memory_errors(self.device):
            operator = self._operator_of(mask)
            y = torch.as_tensor(measurements).to(self.device, self.precision)
            found = solve(self.network, operator, y, self.settings, on_iteration=on_iteration)
            video: Tensor = found.x.cpu()
        return Solution(video, found.residual, found.residuals, found.evaluations, found.status)

    def _operator_of(self, mask: np.ndarray) -> SensingOperator:
        if self._last is None or not np.array_equal(mask, self._last[0]):
            moved = torch.as_tensor(mask).to(self.device, self.precision)
            self._last = mask, SensingOperator(moved)
        return self._last[1]


def reconstruct_array(
    measurement: np.ndarray,
    mask: np.ndarray,
    model: zoo.Model,
    settings: EquilibriumSettings | None = None,
    *,
    device: str = "auto",
    dtype: str = "float32",
    on_iteration: OnIteration | None = None,
) -> Solution:
    """Reconstruct arrays, without files: for notebooks.

    Args:
        measurement: `(H, W)`, or `(B, H, W)` for several under one mask; y = sum_t mask_t x_t
            with x in [0, 1].
        mask: `(T, H, W)`.
        model: from `zoo.load`.
        settings: None for those of the model's card.
        device: `auto`, `cpu`, `cuda` or `cuda:i`.
        dtype: `float32`, `float64` or `bfloat16`.
        on_iteration: told the number of evaluations and the best residuals.

    Returns:
        The solution; `solution.x` is `(B, T, H, W)` on the CPU.
    """
    y = np.asarray(measurement)
    run = Reconstructor(model, settings, device=device, dtype=dtype)
    return run(y[None] if y.ndim == 2 else y, np.asarray(mask), on_iteration)
