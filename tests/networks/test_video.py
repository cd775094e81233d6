"""`video`: time comes in by shifts and a window, any film fits, samples do not touch each other."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from deqsci_cli.networks.registry import build
from deqsci_cli.networks.video import around, shift_in_time


def test_a_shift_is_a_roll_but_at_the_ends():
    film = torch.rand(2, 5, 16, 3, 4)
    shifted = shift_in_time(film.flatten(0, 1), 5).unflatten(0, (2, 5))
    assert torch.equal(shifted[:, 1:, :2], film.roll(1, 1)[:, 1:, :2])
    assert torch.equal(shifted[:, :-1, 2:4], film.roll(-1, 1)[:, :-1, 2:4])
    assert torch.equal(shifted[:, :, 4:], film[:, :, 4:])
    assert torch.equal(shifted[:, 0, :2], film[:, 0, :2])
    assert torch.equal(shifted[:, -1, 2:4], film[:, -1, 2:4])


def test_what_is_around_is_zero_in_a_still_film_and_the_step_in_one_that_moves_evenly():
    film = torch.arange(6.0).view(1, 6, 1).expand(2, 6, 3)
    before, after, second_before, second_after = around(film, 2)
    assert before[1, :, 0].tolist() == [0, -1, -1, -1, -1, -1]
    assert after[1, :, 0].tolist() == [1, 1, 1, 1, 1, 0]
    assert second_before[0, :, 2].tolist() == [0, -1, -2, -2, -2, -2]
    assert second_after[0, :, 2].tolist() == [2, 2, 2, 2, 1, 0]
    assert not any(other.any() for other in around(torch.ones(1, 4, 3), 7))


@pytest.mark.parametrize("frames", [1, 2, 3, 5])
@pytest.mark.parametrize("channels", [1, 2, 8, 20])
def test_shifts_and_what_is_around_are_differentiated_as_what_indices_gather(frames, channels):
    """Any number of channels and frames; a matrix of zeros and ones says what goes where."""
    times = torch.arange(frames)

    def rows(step: int) -> torch.Tensor:
        return torch.eye(frames, dtype=torch.float64)[(times + step).clamp(0, frames - 1)]

    film = torch.rand(2, frames, channels, 2, 3, dtype=torch.float64).requires_grad_()
    share = max(1, channels // 8)
    ways = [-1] * share + [1] * min(share, channels - share) + [0] * max(0, channels - 2 * share)
    gather = torch.stack([rows(step) for step in ways])
    found = [shift_in_time(film.flatten(0, 1), frames).unflatten(0, (2, frames)), *around(film, 4)]
    expected = [torch.einsum("cst,btchw->bschw", gather, film)]
    for far in range(1, 5):
        for step in (-far, far):
            expected.append(torch.einsum("st,btchw->bschw", rows(step), film) - film)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-15)
        upon = torch.rand(ours.shape, dtype=torch.float64)
        first, second = (torch.autograd.grad(way, film, upon)[0] for way in (ours, theirs))
        torch.testing.assert_close(first, second, rtol=1e-12, atol=1e-14)


@pytest.fixture(params=[0, 3], ids=["shifts", "window"])
def network(request):
    torch.manual_seed(0)
    return build("video", {"widths": [16, 24], "window": request.param}).eval()


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
    reach = 4 + network.reach
    assert met.tolist() == [abs(frame - 7) <= reach for frame in range(15)]


@torch.no_grad()
def test_it_starts_near_the_identity_and_heeds_the_level(network):
    video = torch.rand(1, 4, 32, 32)
    assert (network(video, 0.1) - video).abs().mean() < 0.1
    assert torch.equal(network(video, 0.0), video)
    small, large = (network(video, sigma) - video for sigma in (0.1, 0.3))
    assert not torch.allclose(3 * small, large, atol=1e-3)  # more than the factor in front


@pytest.mark.parametrize(
    "more",
    [
        *({"blocks": 3}, {"measurement": True}, {"window": 2}, {"window": 1, "blocks": 2}),
        *({"widths": [40, 24]}, {"widths": [21, 32], "blocks": 2, "window": 1}),
    ],
)
@pytest.mark.parametrize("already", [{}, {"measurement": True}, {"window": 1}])
@torch.no_grad()
def test_one_that_sees_more_and_has_more_blocks_begins_as_the_smaller_one(already, more):
    torch.manual_seed(0)
    network, larger = (
        build("video", {"widths": [16, 24], **already, **options}).eval() for options in ({}, more)
    )
    video, *measured = torch.randn(3, 2, 5, 16, 16)

    def answer(of):
        return of(video, 0.1, *measured[: 2 * of.uses_measurement])

    assert (answer(larger) - answer(network)).abs().max() > 1e-3
    larger.load_weights_from(network)
    torch.testing.assert_close(answer(larger), answer(network))
    # What it has besides learns: a zero stands behind something that is not zero.
    with torch.enable_grad():
        answer(larger).sum().backward()
    assert (larger.head.weight.grad.abs().amin((1, 2, 3)) > 0).sum() == 16
    for scale in (*larger.encoder, *larger.decoder):
        assert all(block.outer.weight.grad.abs().max() > 0 for block in scale.blocks[1:])
    assert larger.tail.weight.grad.abs().amin((0, 2, 3)).min() > 0  # every feature is heard
    if larger.window is not None:
        assert larger.window.outer.weight.grad.abs().max() > 0


@pytest.mark.parametrize(
    "smaller", [{"widths": [16, 20]}, {"blocks": 1}, {"measurement": False}, {"window": 1}]
)
def test_a_larger_one_does_not_become_a_smaller(smaller):
    options = {"widths": [16, 24], "blocks": 2, "measurement": True, "window": 2}
    with pytest.raises(RuntimeError):
        build("video", options | smaller).load_weights_from(build("video", options))


def test_a_wider_window_does_not_stand_in_for_the_measurement():
    with pytest.raises(RuntimeError, match="sees more"):
        build("video", {"window": 2}).load_weights_from(
            build("video", {"window": 1, "measurement": True})
        )
