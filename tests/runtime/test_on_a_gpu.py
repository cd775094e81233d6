"""What a GPU would be asked, without one: which tensors are where, and how often the host waits.

On PyTorch's `meta` device tensors have shapes and no values: what mixes devices fails there, and so
does what reads a value on the host.
"""

from __future__ import annotations

import copy

import pytest
import torch

from deqsci_cli import zoo
from deqsci_cli.equilibrium.maps import GAPMap
from deqsci_cli.equilibrium.model import iterate, make_map
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.networks.denoiser import as_denoiser
from deqsci_cli.physics.arms import ArmsOperator
from deqsci_cli.physics.sensing import SensingOperator
from deqsci_cli.physics.sequence import SequenceOperator

META = torch.device("meta")


def camera(kind: str, device: torch.device):
    """An operator and the shapes of two measurements and two videos of its kind."""
    mask = torch.rand(5, 24, 32, device=device)
    seen = torch.ones(2, 24, 32, dtype=torch.bool, device=device)
    return {
        "one": lambda: (SensingOperator(mask), (2, 24, 32), (2, 5, 24, 32)),
        "closed pixels": lambda: (SensingOperator(mask, seen), (2, 24, 32), (2, 5, 24, 32)),
        "arms": lambda: (ArmsOperator(torch.stack((mask, mask))), (2, 2, 24, 32), (2, 5, 24, 32)),
        "recording": lambda: (
            SequenceOperator(mask.repeat(3, 1, 1), 3),
            (2, 3, 24, 32),
            (2, 15, 24, 32),
        ),
    }[kind]()


@pytest.fixture(scope="module", params=zoo.released())
def model(request):
    """A released model without its values, to be trained."""
    made = zoo.load(request.param)
    network = copy.deepcopy(made.network).to(META).requires_grad_(True)
    return network, made.card.equilibrium


@pytest.mark.parametrize("relaxation", [0.3, 1])
@pytest.mark.parametrize("kind", ["one", "closed pixels", "arms", "recording"])
def test_an_evaluation_and_its_gradient_stay_on_the_device(model, kind, relaxation):
    network, card = model
    settings = EquilibriumSettings.from_card(card | {"consistency_relaxation": relaxation})
    operator, measured, video = camera(kind, META)
    f = make_map(network, operator, torch.rand(measured, device=META), settings)
    state = f.start(torch.rand(video, device=META)).requires_grad_()
    value = f(state)
    assert value.device == META and value.shape == state.shape
    value.sum().backward()
    assert state.grad is not None and state.grad.device == META


@pytest.mark.parametrize(
    "mixed",
    [lambda x, s: x + torch.ones(2, 5, 24, 32), lambda x, s: x * float(x.mean())],
    ids=["devices", "reads a value"],
)
def test_a_network_that_does_not_is_found(mixed):
    operator, measured, video = camera("one", META)
    f = GAPMap(operator, torch.rand(measured, device=META), as_denoiser(mixed), 0.1)
    with pytest.raises(RuntimeError, match="meta"):
        f(f.start(torch.rand(video, device=META)))


@pytest.mark.parametrize("solver", ["anderson", "picard"])
def test_the_host_waits_twice_an_evaluation_at_most(monkeypatch, solver):
    """Every wait is a copy to the host by `Tensor.cpu`; nothing else may read a value."""
    waits = []
    to_host = torch.Tensor.cpu

    def count(tensor):
        waits.append(1)
        return to_host(tensor)

    operator, measured, video = camera("one", torch.device("cpu"))
    settings = EquilibriumSettings(sigma=0.1, solver=solver, tol=1e-9, max_iter=12)
    f = GAPMap(operator, torch.rand(measured), as_denoiser(lambda x, s: 0.7 * x), 0.1)
    start = f.start(torch.rand(video))
    monkeypatch.setattr(torch.Tensor, "cpu", count)
    found = iterate(f, start, settings)
    assert found.evaluations == [12, 12]
    assert len(waits) <= 2 * 12 + 1  # the length of the start
