"""A denoiser averaged over the symmetries of a film."""

from __future__ import annotations

from torch import Tensor

from deqsci_cli.networks.denoiser import Denoiser

_TIME, _HEIGHT, _WIDTH = 1, 2, 3

# Rows and columns exchanged or not, then the axes that are run through backwards. The first two,
# the first four and all eight are groups: the square's, half of it with time reversed, since what
# is seen backwards tells more than what is only mirrored (benchmarks/README.md).
_SYMMETRIES: tuple[tuple[bool, tuple[int, ...]], ...] = (
    (False, ()),
    (True, (_TIME,)),
    (False, (_HEIGHT, _WIDTH)),
    (True, (_TIME, _HEIGHT, _WIDTH)),
    (False, (_TIME, _WIDTH)),
    (False, (_TIME, _HEIGHT)),
    (True, (_WIDTH,)),
    (True, (_HEIGHT,)),
)

#: how many may be averaged over
SYMMETRIES = (1, 2, 4, 8)


class Symmetric(Denoiser):
    """`D(x) = mean_g g^-1 D0(g x)`, g a film turned, mirrored, or run backwards.

    Such a film is as likely as the film itself, so that the best denoiser commutes with g; a
    trained one only nearly does. The mean does exactly, errs less, and contracts better.
    Source: Terris et al., Equivariant plug-and-play image reconstruction, arXiv 2312.01831.

    Args:
        denoiser: D0.
        count: over how many g, one of `SYMMETRIES`.
    """

    def __init__(self, denoiser: Denoiser, count: int):
        super().__init__()
        self.denoiser = denoiser
        self.symmetries = _SYMMETRIES[:count]
        self.uses_measurement = denoiser.uses_measurement

    def forward(self, video: Tensor, sigma: Tensor | float, *measured: Tensor) -> Tensor:
        total = self.denoiser(video, sigma, *measured)
        for exchanged, reversed_ in self.symmetries[1:]:
            seen = [_exchange(v, exchanged).flip(reversed_) for v in (video, *measured)]
            answer = self.denoiser(seen[0], sigma, *seen[1:])
            total = total + _exchange(answer.flip(reversed_), exchanged)
        return total.div(len(self.symmetries))


def _exchange(video: Tensor, exchanged: bool) -> Tensor:
    return video.transpose(_HEIGHT, _WIDTH) if exchanged else video
