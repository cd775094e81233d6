"""The mean over symmetries: it commutes with each of them, whatever network it is the mean of."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from deqsci_cli.networks.denoiser import Denoiser
from deqsci_cli.networks.options import SYMMETRIES
from deqsci_cli.networks.registry import build
from deqsci_cli.networks.symmetric import Symmetric


class Shift(Denoiser):
    """Each frame is the one before it, a pixel to the right; what is measured is added."""

    uses_measurement = True

    def forward(self, video: Tensor, sigma: float, *measured: Tensor) -> Tensor:
        return (video + sum(measured)).roll((1, 1), (1, 3))


def diagonal(film: Tensor) -> Tensor:
    """Mirrored at the diagonal, and run backwards."""
    return film.mT.flip(1)


def half_turn(film: Tensor) -> Tensor:
    return film.rot90(2, (2, 3))


def mirrored(film: Tensor) -> Tensor:
    """Left for right, and run backwards."""
    return film.flip(3).flip(1)


MEMBERS = {2: (diagonal,), 4: (diagonal, half_turn), 8: (diagonal, half_turn, mirrored)}


@pytest.mark.parametrize(
    ("count", "turned"), [(n, turned) for n, members in MEMBERS.items() for turned in members]
)
@torch.no_grad()
def test_a_turned_film_gives_the_turned_answer(count, turned):
    torch.manual_seed(0)
    network = build("video", {"widths": [16, 24], "measurement": True}).eval()
    network.tail.weight.mul_(20)  # a new network does next to nothing
    films = torch.rand(3, 2, 5, 12, 16)

    def distance(denoiser: Denoiser) -> float:
        there = denoiser(turned(films[0]), 0.1, *map(turned, films[1:]))
        back = turned(denoiser(films[0], 0.1, *films[1:]))
        return float((there - back).norm() / (back - turned(films[0])).norm())

    assert distance(Symmetric(network, count)) < 1e-5
    assert distance(network) > 0.1


def test_the_mean_is_that_of_the_ways_it_can_be_turned():
    film, seen = torch.rand(2, 1, 4, 6, 6)
    answer = Symmetric(Shift(), 4)(film, 0.1, seen)
    whole = film + seen
    # A diagonal exchanges right with down, backwards exchanges before with after.
    ways = [(1, 1, 3), (-1, 1, 2), (1, -1, 3), (-1, -1, 2)]
    expected = sum(whole.roll((time, place), (1, axis)) for time, place, axis in ways) / 4
    torch.testing.assert_close(answer, expected)


@pytest.mark.parametrize("count", SYMMETRIES)
def test_each_symmetry_is_taken_once(count):
    asked: list[Tensor] = []

    class Witness(Denoiser):
        def forward(self, video: Tensor, sigma: float) -> Tensor:
            asked.append(video)
            return video

    film = torch.rand(2, 3, 5, 5)
    torch.testing.assert_close(Symmetric(Witness(), count)(film, 0.1), film)
    assert len({tuple(video.flatten().tolist()) for video in asked}) == len(asked) == count
