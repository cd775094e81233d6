"""What holds for every denoiser of single frames: shapes, chunks, noise levels."""

from __future__ import annotations

import math
from inspect import Parameter, signature

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from deqsci_cli.errors import ModelError, UsageError
from deqsci_cli.networks import denoiser as denoiser_module
from deqsci_cli.networks.cnn import CNN
from deqsci_cli.networks.denoiser import FrameDenoiser
from deqsci_cli.networks.ffdnet import FFDNet
from deqsci_cli.networks.registry import ARCHITECTURES, build, parameter_count

SMALL = {"cnn": {"channels": 6, "depth": 3}, "rsn-cnn": {"channels": 6, "depth": 3},
         "ffdnet": {"channels": 6, "depth": 4}, "tv": {"iterations": 5}}  # fmt: skip
every = pytest.mark.parametrize("name", list(SMALL))


def small(name: str) -> FrameDenoiser:
    torch.manual_seed(0)
    network = build(name, SMALL[name]).eval().requires_grad_(False)
    for index, layer in enumerate(getattr(network, "layers", [])):
        layer.weight.mul_(1.5)  # away from the start, where the last layer is almost nothing
        if layer.bias is not None:
            layer.bias.fill_(0.01 * (index + 1))
    return network


def clip(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


@every
@pytest.mark.parametrize("size", [(8, 10), (9, 12), (8, 7), (11, 13), (2, 2)])
def test_any_size_comes_back(name, size):
    out = small(name)(clip(2, 3, *size), 0.1)
    assert out.shape == (2, 3, *size) and torch.isfinite(out).all()


@every
def test_a_batch_is_its_samples_and_a_video_its_frames(name):
    network, video = small(name), clip(3, 4, 10, 9)
    sigma = torch.tensor([0.02, 0.1, 0.3])
    together = network(video, sigma)
    for b in range(3):
        alone = network(video[b : b + 1], sigma[b].item())
        torch.testing.assert_close(alone, together[b : b + 1], atol=1e-6, rtol=1e-5)
    swapped = network(video.flip(1), sigma)
    torch.testing.assert_close(swapped.flip(1), together, atol=1e-6, rtol=1e-5)


@every
@pytest.mark.parametrize("pixels", [1, 90 * 5, 10**9])
def test_chunks_change_nothing(name, pixels, monkeypatch):
    network, video, sigma = small(name), clip(2, 4, 10, 9), torch.tensor([0.05, 0.2])
    expected = network(video, sigma)
    monkeypatch.setattr(denoiser_module, "CPU_CHUNK_PIXELS", pixels)
    with torch.no_grad():
        torch.testing.assert_close(network(video, sigma), expected, atol=1e-6, rtol=1e-5)


@every
def test_sigma_matters_where_it_is_said_to(name):
    network, video = small(name), clip(1, 2, 12, 12)
    same = torch.equal(network(video, 0.02), network(video, 0.3))
    assert same is (name in ("cnn", "rsn-cnn"))  # these are blind


def test_a_video_that_is_not_contiguous():
    network, video = small("ffdnet"), clip(2, 12, 10, 3)
    torch.testing.assert_close(
        network(video.permute(0, 3, 1, 2), 0.1),
        network(video.permute(0, 3, 1, 2).contiguous(), 0.1),
    )


def test_ffdnet_is_its_published_formula():
    # Written out by hand: four sub-pictures by slicing, the noise map first.
    network, x, sigma = small("ffdnet"), clip(1, 1, 8, 6), 0.15
    parts = [x[0, 0, i::2, j::2] for i in (0, 1) for j in (0, 1)]
    h = torch.stack([torch.full_like(parts[0], sigma), *parts])[None]
    for n, layer in enumerate(network.layers):
        h = F.conv2d(h, layer.weight, layer.bias, padding=1)
        h = h.clamp(min=0) if n < 3 else h
    noise = torch.zeros(8, 6)
    for n, (i, j) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        noise[i::2, j::2] = h[0, n]
    torch.testing.assert_close(network(x, sigma)[0, 0], x[0, 0] - noise, atol=1e-6, rtol=1e-5)


def test_an_odd_picture_is_the_padded_one_cut():
    network, x = small("ffdnet"), clip(1, 1, 9, 7)
    padded = F.pad(x, (0, 1, 0, 1), mode="replicate")
    torch.testing.assert_close(network(x, 0.1), network(padded, 0.1)[..., :9, :7])


def test_cnn_is_homogeneous():
    network, x = small("cnn"), clip(1, 2, 9, 9)
    torch.testing.assert_close(network(3.5 * x, 0.0), 3.5 * network(x, 0.0), atol=1e-5, rtol=1e-5)


def test_a_new_network_starts_near_the_identity():
    torch.manual_seed(0)
    for network in (CNN(), FFDNet()):
        x = clip(1, 1, 32, 32)
        with torch.no_grad():
            moved = (network(x, 0.1) - x).norm() / x.norm()
        assert 1e-4 < moved < 0.5


def test_published_sizes():
    assert parameter_count(build("cnn")) == 64 * 9 + 2 * 64 * 64 * 9 + 64 * 9
    assert parameter_count(build("ffdnet")) == 485_316  # 0.49 M, as the paper's grey model


def test_gradients_reach_every_parameter():
    for name in ("cnn", "rsn-cnn", "ffdnet"):
        network = build(name, SMALL[name]).train()
        network(clip(2, 1, 8, 8), 0.1).square().mean().backward()
        assert all(p.grad is not None and p.grad.any() for p in network.parameters()), name


@pytest.mark.parametrize(("wrong", "near"), [("ffdnt", "ffdnet"), ("rsncnn", "rsn-cnn")])
def test_an_unknown_architecture_is_told_with_the_nearest(wrong, near):
    with pytest.raises(UsageError, match=f"did you mean {near}"):
        build(wrong)


def test_an_architecture_like_no_other_is_told_with_all():
    with pytest.raises(UsageError, match=", ".join(ARCHITECTURES)):
        build("§§§")


def test_options_that_an_architecture_does_not_take():
    with pytest.raises(ModelError, match="ffdnet"):
        build("ffdnet", {"width": 3})


# None of these is an option of any architecture.
NO_OPTIONS = (
    *(-1, 2.5, 1025, 2**40, 2**70, -(2**70), math.nan, math.inf, "4", "", "x", None, {}, []),
    *([0], [4, -1], [[4]], [2.5], ["4"], [4] * 9, [1025], {"a": 1}),
)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_option_is_checked_or_makes_a_network_that_works(architecture):
    make = ARCHITECTURES[architecture]
    defaults = {p.name: p.default for p in signature(make).parameters.values()}
    assert defaults and all(default is not Parameter.empty for default in defaults.values())
    for name, default in defaults.items():
        for value in (*NO_OPTIONS, 0, 1, True):
            if value == 2.5 and isinstance(default, float):
                continue  # a strength
            try:
                network = build(architecture, {name: value}).eval()
            except ModelError as error:
                assert name in str(error) or "beyond" in str(error), (name, value, str(error))
                continue
            assert value in (0, 1, True) and not isinstance(value, float), (name, value)
            x = clip(1, 3, 9, 11)
            with torch.no_grad():
                seen = (x, x) if network.uses_measurement else ()
                assert network(x, 0.1, *seen).isfinite().all()


def test_sizes_of_nothing_are_refused():
    for architecture, options in (
        *(("cnn", {name: 0}) for name in ("channels", "depth")),
        *(("rsn-cnn", {name: 0}) for name in ("channels", "depth")),
        *(("ffdnet", {name: 0}) for name in ("channels", "depth")),
        *(("rnn", {name: 0}) for name in ("features", "state", "blocks", "channels", "depth")),
        *(("video", {name: 0}) for name in ("blocks",)),
        *(("video", {"widths": widths}) for widths in ([], [0], [8, 0])),
        ("tv", {"iterations": 0}),
    ):
        with pytest.raises(ModelError, match=next(iter(options))):
            build(architecture, options)
