"""On a GPU: the same films and the same gradients as on the CPU. `make gpu` runs these first."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from deqsci_cli import zoo
from deqsci_cli.engine.diagnose import DiagnoseConfig, diagnose
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.io import write_capture
from deqsci_cli.physics.arms import ArmsOperator
from deqsci_cli.reconstructor import Reconstructor
from deqsci_cli.runtime.device import convolutions_in
from deqsci_cli.training.capture_settings import CaptureSettings
from deqsci_cli.training.captures import CaptureSampler
from deqsci_cli.training.equilibrium import EquilibriumStage, GradientSettings, StabilitySettings

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
DEVICE = "cuda"


@pytest.fixture
def captures(moving_scene):
    """Two measurements of a moving scene, and the mask."""
    mask = np.random.default_rng(0).integers(0, 2, moving_scene.shape).astype(np.float32)
    return np.stack([(mask * film).sum(0) for film in (moving_scene, moving_scene[::-1])]), mask


# A residual of a solution says how far it may be off: some ten times as much, by a slow map more.
@pytest.mark.parametrize(("dtype", "bound"), [("float32", 3e-3), ("mixed", 3e-3), ("tf32", 1e-2)])
@pytest.mark.parametrize("name", zoo.released())
def test_a_film_is_that_of_the_cpu(captures, name, dtype, bound):
    here = Reconstructor(name, device="cpu")(*captures)
    there = Reconstructor(name, device=DEVICE, dtype=dtype)(*captures)
    assert there.x.device.type == "cpu" and here.status == ["converged"] * 2
    if dtype != "tf32":
        assert there.status == here.status
    assert (there.x - here.x).norm() < bound * here.x.norm()


def test_arms_are_inverted_as_on_the_cpu():
    """A matrix for each of 65,536 pixels: more than a GPU's library takes at once."""
    masks, video = torch.rand(2, 4, 256, 256), torch.rand(1, 4, 256, 256)
    y = ArmsOperator(masks).A(video)
    here, there = (
        ArmsOperator(masks.to(device)).pseudo_inverse(y.to(device)).cpu()
        for device in ("cpu", DEVICE)
    )
    assert (there - here).norm() < 1e-3 * here.norm()


@pytest.mark.parametrize("form", ["jfb", "exact"])
def test_a_step_of_training_has_the_gradient_of_the_cpu(form):
    clips = [np.random.default_rng(0).integers(0, 256, (12, 40, 40)).astype(np.uint8)]
    gradients = []
    for device in ("cpu", DEVICE):
        model = zoo.load("pnp-cnn")
        network = copy.deepcopy(model.network).to(device).requires_grad_(True)
        sampler = CaptureSampler(clips, CaptureSettings(), patch_size=24, batch_size=2, seed=0)
        stage = EquilibriumStage(
            network, sampler, EquilibriumSettings.from_card(model.card.equilibrium),
            GradientSettings(form), StabilitySettings(max_iter=10, reuse_steps=1),
        )  # fmt: skip
        with convolutions_in("float32"):
            stage(0)[0].backward()
        gradients.append(torch.cat([p.grad.cpu().flatten() for p in network.parameters()]))
    here, there = gradients
    assert (there - here).norm() < 0.02 * here.norm()


def test_a_diagnosis_is_that_of_the_cpu(captures, tmp_path):
    measurements, mask = captures
    write_capture(
        tmp_path / "a.mat", measurements=measurements, mask=mask, scale=1, provenance={},
        overwrite=False,
    )  # fmt: skip
    here, there = (
        diagnose(DiagnoseConfig("pnp-cnn", (tmp_path / "a.mat",), side=32, device=device))[0]
        for device in ("cpu", DEVICE)
    )
    assert there.spectral_radius == pytest.approx(here.spectral_radius, abs=0.02)
