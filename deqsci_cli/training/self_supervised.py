"""Learning without truth: a film is as good as it predicts pixels that its solve was not shown.

Sources: Batson & Royer, Noise2Self, ICML 2019; of measurements, Yaman et al., SSDU, arXiv
1912.07669.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from deqsci_cli.equilibrium.held_out import held_out_solve, hidden_pixels
from deqsci_cli.equilibrium.maps import GAPMap
from deqsci_cli.equilibrium.model import make_map
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.equilibrium.window import brightest
from deqsci_cli.errors import InputError
from deqsci_cli.networks.denoiser import Denoiser
from deqsci_cli.networks.options import WHOLE
from deqsci_cli.physics.sensing import SensingOperator
from deqsci_cli.training.equilibrium import EquilibriumStage

#: share of a piece's pixels that are hidden from its solve and then compared
PREDICTED_SHARE = 0.08
# Of the look at the model: a part of so many pixels, of so many measurements at most.
_LOOK_SIDE, _LOOKED_AT = 128, 4
# Pixels that the looks hide; no step of the training ever sees them.
_LOOK_SEED = 1


@dataclass(frozen=True, eq=False)
class Pieces:
    """Pieces of measurements, of which some pixels are hidden.

    Attributes:
        measurement: `(B, H, W)`.
        mask: `(B, T, H, W)`.
        shown: booleans `(B, H, W)`: pixels that the solve sees.
        hidden: `(B, H, W)`, the values of those that it is compared with; NaN elsewhere.
    """

    measurement: Tensor
    mask: Tensor
    shown: Tensor
    hidden: Tensor


class MeasurementSampler:
    """Random pieces of measurements of one camera.

    Args:
        measurement: `(N, H, W)`.
        mask: `(T, H, W)`.
        usable: booleans `(N, H, W)`, pixels that may be shown or compared.
        patch_size: side of a piece, pixels.
        batch_size: pieces a step.
        seed: of all that is random.

    Raises:
        InputError: the picture is smaller than a piece.
    """

    def __init__(
        self,
        measurement: Tensor,
        mask: Tensor,
        usable: Tensor,
        *,
        patch_size: int,
        batch_size: int,
        seed: int,
    ):
        if min(measurement.shape[1:]) < patch_size:
            raise InputError(
                f"the measurements are smaller than pieces of {patch_size}x{patch_size} pixels",
                hint="use a smaller --patch-size",
            )
        self.measurement, self.mask, self.usable = measurement, mask, usable
        self.patch_size, self.batch_size, self.seed = patch_size, batch_size, seed

    def __call__(self, step: int) -> Pieces:
        """The pieces of a step."""
        drawn = [self._draw(rng) for rng in self._streams(step)]
        measurement, mask, usable, chosen = (torch.stack(part) for part in zip(*drawn, strict=True))
        hidden = usable & chosen
        return Pieces(
            measurement, mask, usable & ~hidden, torch.where(hidden, measurement, torch.nan)
        )

    def probe(self, step: int, shape: torch.Size) -> Tensor:
        """Standard normal numbers `(B, …)` for a step."""
        drawn = [rng.standard_normal(shape[1:]) for rng in self._streams(step, 1)]
        return torch.from_numpy(np.stack(drawn))

    def uniform(self, step: int) -> Tensor:
        """Numbers in [0, 1] for a step, `(B,)`."""
        return torch.tensor([rng.random() for rng in self._streams(step, 2)])

    def _streams(self, step: int, *kind: int) -> list[np.random.Generator]:
        """A random stream for each place in a step's batch."""
        return [
            np.random.default_rng([self.seed, step, place, *kind])
            for place in range(self.batch_size)
        ]

    def _draw(self, rng: np.random.Generator) -> tuple[Tensor, ...]:
        n, side = int(rng.integers(len(self.measurement))), self.patch_size
        # Even: networks that halve a picture start at the same pixels.
        top, left = (
            2 * int(rng.integers((length - side) // 2 + 1)) for length in self.mask.shape[1:]
        )
        rows, columns = slice(top, top + side), slice(left, left + side)
        chosen = torch.from_numpy(rng.random((side, side)) < PREDICTED_SHARE)
        return (
            self.measurement[n, rows, columns],
            self.mask[:, rows, columns],
            self.usable[n, rows, columns],
            chosen,
        )


class SelfSupervisedStage(EquilibriumStage):
    """The loss of measurements without truth: the error of their hidden pixels.

    What a step draws are `Pieces`; in the place of a true video stand the hidden pixels' values.
    """

    def film(self, step: int) -> tuple[GAPMap, Tensor]:
        """The network's map of the pieces that a step draws, and what is hidden from it."""
        device = next(self.network.parameters()).device
        pieces: Pieces = self.ahead(step)
        operator = SensingOperator(pieces.mask.to(device), pieces.shown.to(device))
        alone = replace(self.solve, symmetries=1, tile=WHOLE)
        f = make_map(self.network, operator, pieces.measurement.to(device), alone)
        return f, pieces.hidden.to(device)

    def errors(self, f: GAPMap, video: Tensor, truth: Tensor) -> Tensor:
        """The mean square error of each sample's hidden pixels, `(B,)`."""
        assert isinstance(f.operator, SensingOperator)
        hidden = truth.isfinite()
        missed = torch.where(hidden, f.operator.with_seen(None).A(video) - truth, 0.0)
        return missed.square().sum((1, 2)) / hidden.sum((1, 2)).clamp(min=1)


class HeldOutValidation:
    """How well a model predicts pixels of a few measurements that no step sees.

    Args:
        measurement: `(N, H, W)`.
        mask: `(T, H, W)`.
        seen: booleans `(N, H, W)`, pixels that tell something.
        solve: how the model is run.

    Raises:
        InputError: all measurements are black.
    """

    def __init__(self, measurement: Tensor, mask: Tensor, seen: Tensor, solve: EquilibriumSettings):
        self.solve = solve
        #: what training may use: pixels that are seen and open, and not looked at here
        self.usable = SensingOperator(mask, seen).open.clone()
        self.parts: list[tuple[SensingOperator, Tensor]] = []
        shown = torch.where(seen, measurement, 0.0)
        lit = shown.amax((1, 2)).nonzero()[:, 0]  # what is black tells nothing
        if not len(lit):
            raise InputError("no measurement has any light", hint="give captures of a scene")
        count = min(len(lit), _LOOKED_AT)
        for n in lit[np.linspace(0, len(lit) - 1, count).round().astype(int)].tolist():
            part = brightest(shown[n], _LOOK_SIDE)
            operator = SensingOperator(part.cut(mask), part.cut(seen[n : n + 1]))
            y = part.cut(measurement[n : n + 1])
            part.cut(self.usable[n : n + 1])[hidden_pixels(operator, y, _LOOK_SEED)] = False
            self.parts.append((operator, y))

    @torch.no_grad()
    def __call__(self, network: Denoiser) -> dict[str, float]:
        """Means over what is looked at: `held_out`, `evaluations`, and the share `converged`."""
        device = next(network.parameters()).device
        network.eval()
        rows = []
        for operator, y in self.parts:
            there = operator.to(device), y.to(device)
            score, found = held_out_solve(*there, network, self.solve, seed=_LOOK_SEED)
            rows.append((float(score), found.evaluations[0], found.status[0] == "converged"))
        network.train()
        means = np.mean(rows, axis=0).tolist()
        return dict(zip(("held_out", "evaluations", "converged"), means, strict=True))
