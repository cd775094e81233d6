"""How a model is brought to its fixed point; known without PyTorch, which is slow to import."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from deqsci_cli.config import build
from deqsci_cli.equilibrium.registries import MAPS, SOLVERS, STARTS
from deqsci_cli.errors import UsageError
from deqsci_cli.networks.options import AUTO, SYMMETRIES, check_tile

# All of it is held at once; beyond some ten iterates nothing is gained.
_MOST_MEMORY = 1000
# Two maps of former versions, and the setting that each has become.
_FORMER_MAPS = {"gap": 1.0, "accelerated-gap": 0.0}


@dataclass(frozen=True)
class EquilibriumSettings:
    """How a model is brought to its fixed point.

    Attributes:
        map: `relaxed-gap`.
        consistency_relaxation: r of that map, in [0, 1]. At 0 (accelerated GAP) the video agrees
            with the measurement after the denoiser; at 1 (plain GAP) only before it; in between
            the measurement is trusted less the larger r is.
        sigma: the denoiser's noise level at equilibrium, in [0, 1] units.
        symmetries: the denoiser's answer is the mean over so many turned, mirrored and reversed
            films (1, 2, 4 or 8): better, and an evaluation takes so many times as long.
        tile: side of the tiles by which the denoiser is evaluated, which changes its answer by no
            more than rounding: pixels, `none` for whole pictures, or `auto` for tiles where whole
            features would take more than a fixed amount of memory (see `networks.tiled`).
        warmup: pairs (sigma, iterations) of plain iteration before it, falling to `sigma`.
        start: `average` (y / sum of masks), `adjoint`, or `gap-tv` (a total-variation
            reconstruction, for less than the price of one evaluation of most networks).
        solver: `anderson` or `picard`.
        tol: relative residual at which the equilibrium is met.
        max_iter: most evaluations of the solver, after the warm-up.
        relaxation: of the solver's steps, in (0, 1].
        memory: iterates that Anderson mixes.
        anderson_start_tol: the residual below which it begins to; 0 for from the start.
        regularisation: of Anderson's least squares, relative.
        absolute_regularisation: the same as the published code has it; 0 for none.
    """

    map: str = "relaxed-gap"
    consistency_relaxation: float = 0.0
    sigma: float = 12 / 255
    symmetries: int = 1
    tile: str = AUTO
    warmup: tuple[tuple[float, int], ...] = ()
    start: str = "average"
    solver: str = "anderson"
    tol: float = 1e-3
    max_iter: int = 100
    relaxation: float = 1.0
    memory: int = 5
    anderson_start_tol: float = 0.0
    regularisation: float = 1e-8
    absolute_regularisation: float = 0.0

    def __post_init__(self) -> None:
        if self.map in _FORMER_MAPS:
            raise UsageError(
                f"the map '{self.map}' has become a setting of the map relaxed-gap",
                hint=f"in place of `map` set consistency_relaxation = {_FORMER_MAPS[self.map]}",
            )
        MAPS.check(self.map)
        SOLVERS.check(self.solver)
        STARTS.check(self.start)
        if not 0 <= self.consistency_relaxation <= 1:
            raise UsageError("consistency_relaxation must be between 0 and 1")
        if self.symmetries not in SYMMETRIES:
            raise UsageError(
                f"symmetries must be 1, 2, 4 or 8, not {self.symmetries}",
                hint="each doubling costs twice the time",
            )
        check_tile(self.tile)
        if not (self.tol > 0 and math.isfinite(self.tol)):
            raise UsageError("the tolerance must be above 0")
        levels = (self.sigma, *(sigma for sigma, _ in self.warmup))
        if not all(0 <= sigma < math.inf for sigma in levels):
            raise UsageError("a noise level must not be negative, nor infinite")
        if self.max_iter < 1:
            raise UsageError("max_iter must be at least 1")
        if any(iterations < 1 for _, iterations in self.warmup):
            raise UsageError("a level of the warm-up has at least 1 iteration")
        if not 0 < self.relaxation <= 1:
            raise UsageError("the relaxation lies above 0 and at most at 1")
        if not 1 <= self.memory <= _MOST_MEMORY:
            raise UsageError(f"Anderson's memory must be 1 to {_MOST_MEMORY}")
        for name in ("anderson_start_tol", "regularisation", "absolute_regularisation"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UsageError(f"{name} must not be negative, nor infinite")

    @classmethod
    def from_card(cls, equilibrium: dict[str, Any], **changes: Any) -> EquilibriumSettings:
        """A card's settings, with what the user asks for instead (None: nothing asked).

        Raises:
            UsageError: an unknown or impossible setting.
        """
        return build(cls, equilibrium | {k: v for k, v in changes.items() if v is not None})
