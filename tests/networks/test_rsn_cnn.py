"""Spectral normalisation against the convolution's own matrix."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from deqsci_cli.networks.rsn_cnn import _GRID, _MARGIN, RSNCNN, SpectralConv2d, operator_norm


def matrix_of(weight: torch.Tensor, size: tuple[int, int], *, circular: bool) -> np.ndarray:
    """The convolution of a picture of `size` as a dense matrix, one column a unit picture."""
    channels = weight.shape[1]
    n = channels * size[0] * size[1]
    units = torch.eye(n, dtype=weight.dtype).view(n, channels, *size)
    if circular:
        out = F.conv2d(F.pad(units, (1, 1, 1, 1), mode="circular"), weight)
    else:
        out = F.conv2d(units, weight, padding=1)
    return out.reshape(n, -1).T.numpy()


def kernel(out_channels: int, in_channels: int, seed: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(out_channels, in_channels, 3, 3, generator=rng, dtype=torch.float64)


@pytest.mark.parametrize(("o", "i"), [(1, 1), (3, 2), (2, 4)])
@pytest.mark.parametrize("grid", [4, 6, 8])
def test_it_is_the_norm_of_the_circular_convolution(o, i, grid):
    weight = kernel(o, i, grid)
    dense = np.linalg.norm(matrix_of(weight, (grid, grid), circular=True), 2)
    assert operator_norm(weight, grid).item() == pytest.approx(dense, rel=1e-10)


@pytest.mark.parametrize(("o", "i"), [(1, 1), (3, 2)])
@pytest.mark.parametrize("size", [(5, 7), (9, 11), (1, 3), (8, 8)])
def test_it_bounds_the_zero_padded_convolution(o, i, size):
    for seed in range(6):
        weight = kernel(o, i, seed)
        padded = np.linalg.norm(matrix_of(weight, size, circular=False), 2)
        assert padded <= operator_norm(weight).item() * (1 + 1e-3)


def test_it_is_not_the_norm_of_the_reshaped_kernel():
    # A kernel of ones gains 9 at frequency zero; its reshaped norm is only 3.
    weight = torch.ones(1, 1, 3, 3, dtype=torch.float64)
    assert operator_norm(weight).item() == pytest.approx(9)
    assert torch.linalg.matrix_norm(weight.reshape(1, -1), 2).item() == pytest.approx(3)


def test_the_grid_is_fine_enough():
    # A trigonometric polynomial of degree 1 falls from its maximum like a cosine at most
    # (M. Riesz), so that a grid point half a step away, on both axes, has cos(pi / 24)**2 of it.
    floor = math.cos(math.pi / _GRID) ** 2
    for seed in range(20):
        weight = kernel(2, 2, seed)
        coarse, fine = operator_norm(weight).item(), operator_norm(weight, 240).item()
        assert floor * fine <= coarse <= fine * (1 + 1e-12)


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("gain", [0.1, 1.0, 30.0])
def test_a_layer_never_expands(mode, gain):
    torch.manual_seed(1)
    layer = SpectralConv2d(3, 5)
    with torch.no_grad():
        layer.weight.mul_(gain)
    if mode == "train":  # the power iteration needs some steps to follow
        for _ in range(60):
            layer._follow()
    else:
        layer.eval()
    with torch.no_grad():
        for size in ((6, 9), (15, 13), (32, 32)):
            x = torch.randn(40, 3, *size)
            for _ in range(4):  # towards the worst input: power iteration on the layer itself
                y = layer(x)
                assert (y.flatten(1).norm(dim=1) <= (1 + 1e-3) * x.flatten(1).norm(dim=1)).all()
                used = layer.weight / max(1.0, operator_norm(layer.weight).item())
                x = F.conv_transpose2d(y, used, padding=1)
                x = x / x.flatten(1).norm(dim=1).clamp(min=1e-20).view(-1, 1, 1, 1)


def test_a_small_kernel_is_left_alone_and_a_large_one_scaled():
    torch.manual_seed(2)
    layer = SpectralConv2d(2, 2).eval()
    x = torch.randn(1, 2, 8, 8)
    with torch.no_grad():
        for target, factor in ((0.5, 1.0), (4.0, 0.25 * _MARGIN)):
            layer.weight.mul_(target / operator_norm(layer.weight))
            expected = factor * F.conv2d(x, layer.weight, padding=1)
            torch.testing.assert_close(layer(x), expected)


def test_the_exact_norm_follows_the_weights():
    torch.manual_seed(3)
    layer = SpectralConv2d(2, 3).eval()
    other = SpectralConv2d(2, 3).eval()
    with torch.no_grad():
        other.weight.mul_(50)
        x = torch.randn(1, 2, 6, 6)
        layer(x)
        layer.load_state_dict(other.state_dict())
        torch.testing.assert_close(layer(x), other(x))


def test_the_exact_norm_follows_the_weights_of_a_copy():
    torch.manual_seed(3)
    layer = SpectralConv2d(2, 3).eval()
    x = torch.randn(1, 2, 6, 6)
    with torch.no_grad():
        layer.weight.mul_(2)
        expected = layer(x)
        twin = copy.deepcopy(layer)
        for _ in range(layer.weight._version):  # the copy's versions catch up with the original's
            twin.weight.mul_(3)
        torch.testing.assert_close(twin(x), expected)
    assert operator_norm(layer.weight) > 1


def test_the_power_iteration_finds_the_exact_norm():
    torch.manual_seed(4)
    layer = SpectralConv2d(4, 4)
    for _ in range(300):
        estimate = layer._follow()
    assert estimate.item() == pytest.approx(operator_norm(layer.weight).item(), rel=1e-3)


def test_training_begins_at_the_exact_norm():
    """Loaded weights make the same network in training as in use, from the first step on."""
    torch.manual_seed(8)
    layer = SpectralConv2d(6, 6)
    with torch.no_grad():
        layer.weight.mul_(20)
    x = torch.randn(1, 6, 9, 9)
    in_training = layer.train()(x)
    torch.testing.assert_close(in_training, layer.eval()(x), rtol=2e-3, atol=1e-4)


def test_the_gradient_of_a_scaled_kernel_is_that_of_the_exact_norm():
    torch.manual_seed(5)
    layer = SpectralConv2d(2, 2)
    with torch.no_grad():
        layer.weight.mul_(10)
    for _ in range(300):
        layer._follow()
    direction = torch.randn_like(layer.weight)
    (ours,) = torch.autograd.grad((layer._contraction() * direction).sum(), layer.weight)
    exact = layer.weight / (operator_norm(layer.weight) / _MARGIN)
    (exact,) = torch.autograd.grad((exact * direction).sum(), layer.weight)
    assert F.cosine_similarity(ours.flatten(), exact.flatten(), dim=0) > 0.999


def test_while_training_the_layer_changes_with_its_weights_alone():
    torch.manual_seed(7)
    layer = SpectralConv2d(3, 3)
    x = torch.randn(1, 3, 8, 8)
    with torch.no_grad():
        layer.weight.mul_(10)
        first = layer(x)
    # Not with the number of its evaluations, with or without a graph: one map, one fixed point.
    torch.testing.assert_close(layer(x), first)
    with torch.no_grad():
        assert torch.equal(layer(x), first)
        layer.weight.add_(torch.randn_like(layer.weight))
        assert not torch.equal(layer(x), first)


def test_the_noise_estimate_of_the_network_is_1_lipschitz():
    torch.manual_seed(6)
    network = RSNCNN(channels=6, depth=3).eval()
    with torch.no_grad():
        for layer in network.layers:
            layer.weight.mul_(20)
        a = torch.rand(30, 1, 12, 12)
        b = a + 0.1 * torch.randn_like(a)
        moved = (a - network(a, 0.0)) - (b - network(b, 0.0))
        assert (moved.flatten(1).norm(dim=1) <= 1.001 * (a - b).flatten(1).norm(dim=1)).all()


def test_the_released_form_has_no_helpers_in_its_state():
    assert set(RSNCNN(channels=2, depth=2).state_dict()) == {"layers.0.weight", "layers.1.weight"}
