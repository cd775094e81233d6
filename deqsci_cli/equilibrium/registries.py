"""The solvers, starts and maps by name: known without PyTorch, which is slow to import."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from deqsci_cli.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

    from deqsci_cli.equilibrium.maps import GAPMap
    from deqsci_cli.equilibrium.solvers import Solution
    from deqsci_cli.physics.protocol import Physics

_HERE = "deqsci_cli.equilibrium"

#: called as `solver(f, x0, on_iteration=…)` with those settings that its parameters name
SOLVERS: Registry[Callable[..., Solution]] = Registry(
    "solver", homes={name: f"{_HERE}.solvers" for name in ("picard", "anderson")}
)
#: called as `start(operator, measurement)`; gives the video that a map starts from
STARTS: Registry[Callable[[Physics, Tensor], Tensor]] = Registry(
    "start", homes={name: f"{_HERE}.model" for name in ("average", "adjoint", "gap-tv")}
)
#: called as `map(operator, measurement, denoiser)` with those settings that its parameters name
MAPS: Registry[Callable[..., GAPMap]] = Registry("map", homes={"relaxed-gap": f"{_HERE}.maps"})
