"""Published weights, imported, reach the figures of the published code by their card's settings."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from deqsci_cli import zoo
from deqsci_cli.engine.convert import convert_checkpoint
from deqsci_cli.io import load_capture
from deqsci_cli.networks.registry import build
from deqsci_cli.networks.rsn_cnn import operator_norm
from deqsci_cli.physics.masks import make_mask
from deqsci_cli.reconstructor import reconstruct
from deqsci_cli.report.metrics import compute_metrics


def imported(tmp_path, checkpoint, architecture):
    convert_checkpoint(checkpoint, tmp_path / "imported", architecture)
    return zoo.load(str(tmp_path / "imported"))


def test_published_cnn_on_drop(tmp_path, shared_data):
    """38.14 dB after 100 iterations; benchmarks/parity.py has the other scenes and networks."""
    model = imported(tmp_path, shared_data / "weights" / "cnn.ckpt", "cnn")
    capture = load_capture(shared_data / "bench" / "drop8_cacti.mat")
    found = reconstruct(capture.measurements[0], capture.mask, model)
    assert compute_metrics(found.video, capture.truth_of(0))["psnr"] == pytest.approx(
        38.14, abs=0.1
    )


def small(tmp_path, architecture, moving_scene, size):
    """A random network of weights of this size, imported, and a capture."""
    torch.manual_seed(0)
    network = build(architecture, {"channels": 4, "depth": 3})
    state = {}
    for key, value in network.state_dict().items():
        _, layer, name = key.split(".")
        state[f"net.{2 * int(layer)}.{name}"] = size * torch.randn(value.shape)
    torch.save(state, tmp_path / "x.ckpt")
    mask = make_mask("binary", moving_scene.shape, np.random.default_rng(0))
    y = (mask * moving_scene).sum(0)
    return imported(tmp_path, tmp_path / "x.ckpt", architecture), y, mask


@pytest.mark.parametrize("architecture", ["cnn", "rsn-cnn"])
def test_the_published_iteration(tmp_path, moving_scene, architecture):
    """Up to 100 evaluations of GAP, mixed by Anderson's weights with 1e-2 on the Gram matrix."""
    model, y, mask = small(tmp_path, architecture, moving_scene, 0.2)
    found = reconstruct(y, mask, model)
    assert found.evaluations[0] == 100
    gram = (mask**2).sum(0).clip(1e-20)

    def f(x):
        closer = x + mask * ((y - (mask * x).sum(0)) / gram)
        return model.network(torch.as_tensor(closer)[None].float(), 0.1)[0].double().numpy()

    # As the published code has it: a bordered system over the last five iterates.
    xs, images, trace = [mask * y], [], []
    while len(trace) < 20:
        images.append(f(xs[-1]))
        trace.append(np.linalg.norm(images[-1] - xs[-1]) / np.linalg.norm(images[-1]))
        residuals = np.stack([(b - a).ravel() for a, b in zip(xs, images, strict=True)][-5:])
        system = np.ones((len(residuals) + 1,) * 2)
        system[0, 0] = 0
        system[1:, 1:] = residuals @ residuals.T + 1e-2 * np.eye(len(residuals))
        weights = np.linalg.solve(system, np.eye(len(system))[0])[1:]
        xs.append(np.tensordot(weights, np.stack(images[-5:]), 1))
    np.testing.assert_allclose(found.residual_trace[0][:20], trace, rtol=1e-2)


def test_a_normalised_network_runs_as_it_ran(tmp_path):
    """Its kernels have norm 1 already; nothing scales them once more."""
    torch.manual_seed(0)
    theirs = nn.Sequential(
        *(nn.Conv2d(a, b, 3, padding=1, bias=False) for a, b in ((1, 4), (4, 1)))
    )
    with torch.no_grad():
        for layer in theirs:
            layer.weight *= 0.998 / operator_norm(layer.weight)
    torch.save(theirs.state_dict(), tmp_path / "r.ckpt")
    model = imported(tmp_path, tmp_path / "r.ckpt", "rsn-cnn")
    x = torch.rand(3, 1, 20, 24)
    expected = x - theirs[1](theirs[0](x).relu())
    torch.testing.assert_close(model.network(x.view(1, 3, 20, 24), 0.1).view_as(x), expected)


def test_the_published_schedule(tmp_path, moving_scene):
    """FFDNet: ten iterations of accelerated GAP at each of four noise levels, and no more."""
    model, y, mask = small(tmp_path, "ffdnet", moving_scene, 0.05)
    found = reconstruct(y, mask, model)
    gram = (mask**2).sum(0).clip(1e-20)
    frame = y / mask.sum(0).clip(1e-20)
    frame[mask.sum(0) == 0] = frame[mask.sum(0) > 0].mean()
    x, y1 = np.broadcast_to(frame, mask.shape), y
    for sigma in np.repeat([50, 25, 12, 6], 10) / 255:
        coded = (mask * x).sum(0)
        y1 = y1 + (y - coded)
        closer = x + mask * ((y1 - coded) / gram)
        x = model.network(torch.as_tensor(closer)[None].float(), float(sigma))[0].numpy()
    assert found.evaluations == [40]
    np.testing.assert_allclose(found.video, x, atol=1e-4)
