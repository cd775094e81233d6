"""Foreign checkpoints: layouts in circulation, and files that would run code."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from deqsci_cli.errors import InputError, UsageError
from deqsci_cli.networks.checkpoints import import_checkpoint, read_checkpoint
from deqsci_cli.networks.rsn_cnn import operator_norm

WEIGHTS = Path(__file__).resolve().parents[3] / "shared" / "data" / "weights"


def dncnn(channels: int = 5, depth: int = 4) -> nn.Sequential:
    """The published DE-GAP-CNN: convolutions with ReLUs between, no biases."""
    torch.manual_seed(0)
    widths = [1, *[channels] * (depth - 1), 1]
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Conv2d(a, b, 3, padding=1, bias=False), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def ffdnet(channels: int = 6, depth: int = 4, *, bias: bool = False) -> nn.Sequential:
    """The published FFDNet: batch normalisation, with some history, in the hidden layers."""
    torch.manual_seed(1)
    layers: list[nn.Module] = [nn.Conv2d(5, channels, 3, padding=1, bias=bias), nn.ReLU()]
    for _ in range(depth - 2):
        norm = nn.BatchNorm2d(channels)
        with torch.no_grad():
            norm.weight.uniform_(0.3, 2)
            norm.bias.normal_(0, 0.2)
            norm.running_mean.normal_(0, 0.3)
            norm.running_var.uniform_(0.2, 3)
        layers += [nn.Conv2d(channels, channels, 3, padding=1, bias=bias), norm, nn.ReLU()]
    layers.append(nn.Conv2d(channels, 4, 3, padding=1, bias=bias))
    return nn.Sequential(*layers).eval()


def named(network: nn.Module, prefix: str) -> OrderedDict[str, torch.Tensor]:
    return OrderedDict((prefix + k, v) for k, v in network.state_dict().items())


def saved(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def frames() -> torch.Tensor:
    return torch.rand(1, 2, 10, 8, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("wrap", ["bare", "state_dict", "solver_state_dict", "nested"])
def test_cnn_as_published(tmp_path, wrap):
    theirs = dncnn()
    state = named(theirs, "nonlinear_op.dncnn.")
    content = {
        "bare": state,
        "state_dict": {"state_dict": state, "epoch": 3},
        "solver_state_dict": {"solver_state_dict": state, "epoch": 9, "optimizer_state_dict": {}},
        "nested": {"model": {"params": state}, "lr": 0.1},
    }[wrap]
    network, options = import_checkpoint(saved(tmp_path / "cnn.ckpt", content), "cnn")
    assert options == {"channels": 5, "depth": 4} and not network.training
    x = frames()
    flat = x.view(2, 1, 10, 8)
    with torch.no_grad():
        torch.testing.assert_close(network(x, 0.1).view_as(flat), flat - theirs(flat))


def test_the_old_file_format(tmp_path):
    path = tmp_path / "old.pth"
    torch.save(dncnn().state_dict(), path, _use_new_zipfile_serialization=False)
    network, _ = import_checkpoint(path, "cnn")
    assert torch.equal(network.layers[0].weight, dncnn()[0].weight)


@pytest.mark.parametrize("bias", [False, True])
def test_batch_normalisation_is_folded(tmp_path, bias):
    theirs = ffdnet(bias=bias)
    path = saved(tmp_path / "f.pth", named(theirs, "module.intermediate_dncnn.itermediate_dncnn."))
    network, options = import_checkpoint(path, "ffdnet")
    assert options == {"channels": 6, "depth": 4}
    x = frames()
    flat, sigma = x.view(2, 1, 10, 8), 0.2
    small = F.pixel_unshuffle(flat, 2)
    with torch.no_grad():
        noise = theirs(torch.cat((torch.full_like(small[:, :1], sigma), small), dim=1))
        expected = flat - F.pixel_shuffle(noise, 2)
        torch.testing.assert_close(network(x, sigma).view_as(flat), expected, atol=1e-5, rtol=1e-5)


def test_a_normalised_layer_is_taken_as_it_ran(tmp_path):
    # Spectral normalisation leaves weight_orig, weight and its own vectors in the state.
    state = {}
    for n, layer in enumerate(m for m in dncnn() if isinstance(m, nn.Conv2d)):
        weight = layer.weight.detach()
        state[f"net.{2 * n}.weight_orig"] = 7 * weight
        state[f"net.{2 * n}.weight"] = 0.9 * weight / operator_norm(weight)
        state[f"net.{2 * n}.weight_u"] = torch.randn(1, 5, 40, 40)
    network, _ = import_checkpoint(saved(tmp_path / "r.ckpt", state), "rsn-cnn")
    for n, layer in enumerate(network.layers):
        assert torch.equal(layer.weight, state[f"net.{2 * n}.weight"])


def test_half_precision_becomes_single(tmp_path):
    state = {k: v.half() for k, v in dncnn().state_dict().items()}
    network, _ = import_checkpoint(saved(tmp_path / "h.pth", state), "cnn")
    assert {p.dtype for p in network.parameters()} == {torch.float32}


class Evil:
    """Runs a command when a pickle of it is opened."""

    def __init__(self, witness: Path):
        self.witness = witness

    def __reduce__(self):
        return os.system, (f"touch '{self.witness}'",)


class Custom:
    """Harmless, but no tensor."""


@pytest.mark.parametrize("how", ["torch", "torch-old", "pickle", "module", "custom"])
def test_a_checkpoint_that_would_run_code_is_refused(tmp_path, how):
    path, witness = tmp_path / "evil.ckpt", tmp_path / "witness"
    evil = {"state_dict": dncnn().state_dict(), "extra": Evil(witness)}
    if how == "torch":
        torch.save(evil, path)
    elif how == "torch-old":
        torch.save(evil, path, _use_new_zipfile_serialization=False)
    elif how == "pickle":
        path.write_bytes(pickle.dumps(evil))
    elif how == "module":
        torch.save(dncnn(), path)  # a whole module names classes to be built
    else:
        torch.save({"state_dict": dncnn().state_dict(), "config": Custom()}, path)
    with pytest.raises(InputError) as caught:
        import_checkpoint(path, "cnn")
    assert str(path) in str(caught.value)
    assert not witness.exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"not a checkpoint", b"PK\x03\x04 broken zip", b"\x80\x02", b"\x80\x04\x95", bytes(64)],
    ids=["empty", "text", "zip", "pickle", "frame", "zeros"],
)
def test_a_file_that_is_none(tmp_path, content):
    path = tmp_path / "x.ckpt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"x\.ckpt"):
        read_checkpoint(path)


@pytest.mark.parametrize("old", [False, True])
def test_a_file_that_is_cut_off(tmp_path, old):
    path = tmp_path / "cut.ckpt"
    torch.save(dncnn().state_dict(), path, _use_new_zipfile_serialization=not old)
    whole = path.read_bytes()
    for size in range(1, len(whole) - 1, len(whole) // 40):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError):
            read_checkpoint(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="not there"):
        read_checkpoint(tmp_path / "none.ckpt")
    with pytest.raises(InputError):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("content", [{"epoch": 3}, [1, 2], 5, {}], ids=str)
def test_a_checkpoint_without_weights(tmp_path, content):
    with pytest.raises(InputError, match="no weights"):
        read_checkpoint(saved(tmp_path / "x.ckpt", content))


@pytest.mark.parametrize(
    ("network", "architecture"),
    [(dncnn(), "ffdnet"), (ffdnet(), "cnn"), (nn.Sequential(nn.Linear(3, 3)), "cnn"),
     (nn.Sequential(nn.Conv2d(1, 4, 5), nn.Conv2d(4, 1, 5)), "cnn")],
    ids=["cnn-as-ffdnet", "ffdnet-as-cnn", "linear", "5x5"],
)  # fmt: skip
def test_another_network(tmp_path, network, architecture):
    with pytest.raises(InputError, match=r"x\.ckpt"):
        import_checkpoint(saved(tmp_path / "x.ckpt", network.state_dict()), architecture)


def test_two_networks_in_one_file_are_not_mixed_up(tmp_path):
    state = {**named(dncnn(), "online.net."), **named(dncnn(), "ema.net.")}
    with pytest.raises(InputError):
        import_checkpoint(saved(tmp_path / "x.ckpt", state), "cnn")


def test_architectures_that_cannot_be_meant(tmp_path):
    path = saved(tmp_path / "x.ckpt", dncnn().state_dict())
    with pytest.raises(UsageError, match="no weights to import"):
        import_checkpoint(path, "tv")
    with pytest.raises(UsageError, match="did you mean"):
        import_checkpoint(path, "ffdnett")


@pytest.mark.parametrize(
    ("file", "architecture", "options"),
    [("cnn.ckpt", "cnn", {"channels": 64, "depth": 4}),
     ("rsn_cnn.ckpt", "rsn-cnn", {"channels": 64, "depth": 4}),
     ("ffdnet_gray.pth", "ffdnet", {"channels": 64, "depth": 15})],
)  # fmt: skip
def test_the_published_weights(file, architecture, options):
    if not (WEIGHTS / file).exists():
        pytest.skip(f"{WEIGHTS / file} is not here")
    network, found = import_checkpoint(WEIGHTS / file, architecture)
    assert found == options
    # They are denoisers: noise on a smooth picture gets less.
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    clean = (0.5 + 0.3 * torch.sin(x / 5) * torch.cos(y / 7))[None, None]
    sigma = 15 / 255
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    noisy = clean + sigma * noise
    if architecture == "ffdnet":
        assert (network(noisy, sigma) - clean).square().mean() < 0.2 * sigma**2
    elif architecture == "rsn-cnn":  # "layer norms 0.998 each"
        for layer in network.layers:
            assert operator_norm(layer.weight).item() < 1.005
    assert torch.isfinite(network(noisy, sigma)).all()
