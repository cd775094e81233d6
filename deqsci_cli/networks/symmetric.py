"""A denoiser averaged over the symmetries of a film."""

from __future__ import annotations

from torch import Tensor

from deqsci_cli.networks.denoiser import Denoiser, ReceptiveField
from deqsci_cli.networks.symmetry import HEIGHT, TIME, WIDTH, Symmetry

# The first two, the first four and all eight are groups: the square's, half of it with time
# reversed, since what is seen backwards tells more than what is only mirrored
# (benchmarks/README.md).
_SYMMETRIES = (
    Symmetry(False, ()),
    Symmetry(True, (TIME,)),
    Symmetry(False, (HEIGHT, WIDTH)),
    Symmetry(True, (TIME, HEIGHT, WIDTH)),
    Symmetry(False, (TIME, WIDTH)),
    Symmetry(False, (TIME, HEIGHT)),
    Symmetry(True, (WIDTH,)),
    Symmetry(True, (HEIGHT,)),
)


class Symmetric(Denoiser):
    """`D(x) = mean_g g^-1 D0(g x)`, g a film turned, mirrored, or run backwards.

    Such a film is as likely as the film itself, so that the best denoiser commutes with g; a
    trained one only nearly does. The mean does exactly, errs less, and contracts better.
    Source: Terris et al., Equivariant plug-and-play image reconstruction, arXiv 2312.01831.

    Args:
        denoiser: D0.
        count: over how many g, one of `options.SYMMETRIES`.
    """

    def __init__(self, denoiser: Denoiser, count: int):
        super().__init__()
        self.denoiser = denoiser
        self.symmetries = _SYMMETRIES[:count]
        self.uses_measurement = denoiser.uses_measurement

    def forward(self, video: Tensor, sigma: Tensor | float, *measured: Tensor) -> Tensor:
        total = self.denoiser(video, sigma, *measured)
        for symmetry in self.symmetries[1:]:
            total = self.denoiser.turned(symmetry, total, video, sigma, *measured)
        return total.div(len(self.symmetries))

    def receptive_field(self, frames: int) -> ReceptiveField | None:
        return self.denoiser.receptive_field(frames)
