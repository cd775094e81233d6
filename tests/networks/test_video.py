"""`video`: time comes in by shifts, any film fits, samples do not touch each other."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from deqsci_cli.networks.registry import build
from deqsci_cli.networks.video import shift_in_time


def test_a_shift_is_a_roll_but_at_the_ends():
    film = torch.rand(2, 5, 16, 3, 4)
    shifted = shift_in_time(film.flatten(0, 1), 5).unflatten(0, (2, 5))
    assert torch.equal(shifted[:, 1:, :2], film.roll(1, 1)[:, 1:, :2])
    assert torch.equal(shifted[:, :-1, 2:4], film.roll(-1, 1)[:, :-1, 2:4])
    assert torch.equal(shifted[:, :, 4:], film[:, :, 4:])
    assert torch.equal(shifted[:, 0, :2], film[:, 0, :2])
    assert torch.equal(shifted[:, -1, 2:4], film[:, -1, 2:4])


@pytest.fixture
def network():
    torch.manual_seed(0)
    return build("video", {"widths": [16, 24]}).eval()


@pytest.mark.parametrize("shape", [(4, 16, 16), (1, 8, 12), (14, 9, 21), (2, 3, 5)])
@torch.no_grad()
def test_any_film(network, shape):
    video = torch.rand(2, *shape)
    answer = network(video, torch.tensor([0.1, 0.02]))
    assert answer.shape == video.shape
    for sample, sigma in enumerate((0.1, 0.02)):
        alone = network(video[sample : sample + 1], sigma)
        torch.testing.assert_close(answer[sample : sample + 1], alone, rtol=0, atol=1e-6)


@torch.no_grad()
def test_sizes_that_do_not_fit_are_those_of_a_film_whose_edge_goes_on(network):
    video = torch.rand(1, 3, 13, 18)
    part = network(F.pad(video, (0, 2, 0, 3), mode="replicate"), 0.1)[..., :13, :18]
    torch.testing.assert_close(network(video, 0.1), part, rtol=0, atol=1e-6)


def test_a_frame_sees_its_neighbours_and_not_the_far_ones(network):
    video = torch.rand(1, 15, 16, 16, requires_grad=True)
    network(video, 0.1)[0, 7].sum().backward()
    met = video.grad[0].abs().sum((1, 2)) > 0
    # Four blocks of one shift each: down and up at two scales.
    assert met.tolist() == [3 <= frame <= 11 for frame in range(15)]


@torch.no_grad()
def test_it_starts_near_the_identity_and_heeds_the_level(network):
    video = torch.rand(1, 4, 32, 32)
    assert (network(video, 0.1) - video).abs().mean() < 0.1
    assert torch.equal(network(video, 0.0), video)
    small, large = (network(video, sigma) - video for sigma in (0.1, 0.3))
    assert not torch.allclose(3 * small, large, atol=1e-3)  # more than the factor in front
