"""The bidirectional recurrent network against its formula, and what each frame may see."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from deqsci_cli.networks import denoiser as denoiser_module
from deqsci_cli.networks.registry import build, parameter_count
from deqsci_cli.networks.rnn import BidirectionalRNN
from deqsci_cli.runtime.device import Bfloat16

F64 = torch.float64
FEATURES, STATE, BLOCKS = 3, 2, 2


def network() -> BidirectionalRNN:
    torch.manual_seed(0)
    made = BidirectionalRNN(FEATURES, STATE, BLOCKS, 4, 3).double().eval().requires_grad_(False)
    for parameter in made.parameters():  # away from the start, where much is almost nothing
        parameter.add_(0.05 * torch.randn_like(parameter))
    return made


def sights(*shape: int) -> list[Tensor]:
    """Video, normalised measurement, left-over; the middle one is the same in every frame."""
    rng = torch.Generator().manual_seed(1)
    video, normalized_measurement, per_frame_residual = torch.rand(
        3, *shape, generator=rng, dtype=F64
    )
    return [video, normalized_measurement[:, :1].expand(shape), per_frame_residual]


def look(
    made: BidirectionalRNN,
    video: Tensor,
    normalized_measurement: Tensor,
    per_frame_residual: Tensor,
) -> Tensor:
    return made(video, 0.1, normalized_measurement, per_frame_residual)


@pytest.mark.parametrize("size", [(8, 10), (9, 12), (8, 7), (11, 13), (2, 2), (1, 1)])
@pytest.mark.parametrize("frames", [1, 2, 5])
def test_any_size_and_any_number_of_frames_come_back(size, frames):
    out = look(network(), *sights(2, frames, *size))
    assert out.shape == (2, frames, *size) and torch.isfinite(out).all()


def conv(x: Tensor, layer: torch.nn.Conv2d) -> Tensor:
    return F.conv2d(x, layer.weight, layer.bias, padding=1)


def step(cell, features: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    z = torch.cat((features, state))
    for n in range(BLOCKS):
        z = z + conv(conv(z, cell.inner[n]).clamp(min=0), cell.outer[n])
    z = conv(z, cell.last).clamp(min=0)
    return z[:FEATURES], z[FEATURES:]


def test_it_is_its_formula():
    """One video, frame by frame, sub-pictures by slicing, nothing batched."""
    made = network()
    video, normalized_measurement, per_frame_residual = sights(1, 4, 6, 8)
    out = look(made, video, normalized_measurement, per_frame_residual)
    alone = made.frames(video, 0.1)
    corners = [(i, j) for i in (0, 1) for j in (0, 1)]
    entered, onward, back = [], [], [torch.empty(0)] * 4
    for t in range(4):
        pictures = (
            video[0, t],
            normalized_measurement[0, t] - video[0, t],
            per_frame_residual[0, t],
            alone[0, t],
        )
        parts = [picture[i::2, j::2] for picture in pictures for i, j in corners]
        x = torch.stack([*parts, torch.full((3, 4), 0.1, dtype=F64)])
        for layer in made.head:
            x = conv(x, layer).clamp(min=0)
        entered.append(x)
    state = torch.zeros(STATE, 3, 4, dtype=F64)
    for t in range(4):
        features, state = step(made.forwards, entered[t], state)
        onward.append(features)
    for t in (3, 2, 1, 0):  # from the state that the way forward has ended with
        back[t], state = step(made.backwards, onward[t], state)
    for t in range(4):
        x = conv(torch.cat((back[t], entered[t])), made.tail[0]).clamp(min=0)
        noise = conv(x, made.tail[1])
        for n, (i, j) in enumerate(corners):
            expected = alone[0, t, i::2, j::2] - 0.1 * noise[n]
            torch.testing.assert_close(out[0, t, i::2, j::2], expected)


def test_a_batch_is_its_samples():
    made, seen = network(), sights(3, 4, 10, 9)
    together = look(made, *seen)
    for b in range(3):
        torch.testing.assert_close(look(made, *(s[b : b + 1] for s in seen)), together[b : b + 1])


@pytest.mark.parametrize("pixels", [1, 90 * 4, 10**9])
def test_chunks_change_nothing(pixels, monkeypatch):
    made, seen = network(), sights(2, 5, 10, 9)
    with torch.enable_grad():  # all frames at once
        expected = look(made, *seen)
    monkeypatch.setattr(denoiser_module, "CPU_CHUNK_PIXELS", pixels)
    with torch.no_grad():
        torch.testing.assert_close(look(made, *seen), expected)


@pytest.mark.parametrize("changed", [0, 2, 4])
def test_every_frame_sees_every_other(changed):
    made, seen = network(), sights(1, 5, 8, 8)
    before = look(made, *seen)
    other = [s.clone() for s in seen]
    other[2][:, changed] += 0.1
    moved = (look(made, *other) - before).flatten(2).norm(dim=2)[0]
    assert (moved > 1e-8).all()


def test_every_sight_matters_and_sigma_too():
    made, seen = network(), sights(1, 3, 8, 8)
    before = look(made, *seen)
    for n in range(3):
        other = list(seen)
        other[n] = seen[n] + 0.1
        # The frame denoiser's answer goes through; all else acts by the noise that is taken off.
        moved = look(made, *other) - made.frames(other[0], 0.1)
        assert (moved - (before - made.frames(seen[0], 0.1))).norm() > 1e-6, n
    assert (made(seen[0], 0.3, *seen[1:]) - before).norm() > 1e-6
    assert torch.equal(made(seen[0], 0.0, *seen[1:]), made.frames(seen[0], 0.0))


def test_each_sample_has_its_own_sigma():
    made, seen = network(), sights(2, 3, 8, 8)
    both = made(seen[0], torch.tensor([0.1, 0.3]), *seen[1:])
    for b, sigma in enumerate((0.1, 0.3)):
        alone = made(seen[0][b : b + 1], sigma, *(s[b : b + 1] for s in seen[1:]))
        torch.testing.assert_close(both[b : b + 1], alone)


def test_an_odd_picture_is_the_padded_one_cut():
    made, seen = network(), sights(1, 3, 9, 7)
    padded = [F.pad(s, (0, 1, 0, 1), mode="replicate") for s in seen]
    torch.testing.assert_close(look(made, *seen), look(made, *padded)[..., :9, :7])


def test_a_new_network_is_its_frame_denoiser():
    torch.manual_seed(0)
    made, seen = build("rnn"), [s.float() for s in sights(1, 8, 32, 32)]
    with torch.no_grad():
        assert torch.equal(look(made, *seen), made.frames(seen[0], 0.1))


def test_its_size():
    """Beside the frame denoiser half of the published one, 382,251 a direction (2201.06931)."""
    count = parameter_count(build("rnn")) - parameter_count(build("ffdnet"))
    width = 48
    cell = 9 * (width * width + 1 / 9 * width) * (4 + 4 + 1)
    enter = 9 * (17 * width + width * 24) + width + 24
    leave = 9 * (48 * width + width * 4) + width + 4
    assert count == 2 * cell + enter + leave


def test_gradients_reach_every_parameter():
    made = network().train().requires_grad_()
    look(made, *sights(2, 3, 8, 8)).square().mean().backward()
    assert all(p.grad is not None and p.grad.any() for p in made.parameters())


def test_in_bfloat16_it_is_the_same_to_three_digits():
    made, seen = network().float(), [s.float() for s in sights(1, 3, 12, 12)]
    fast = Bfloat16(made)
    assert fast.uses_measurement
    out = look(fast, *seen)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, look(made, *seen), atol=0.02, rtol=0.02)
    assert not torch.equal(out, look(made, *seen))
