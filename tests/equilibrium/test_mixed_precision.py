"""Coarse far from the fixed point: the answer, and what is said of it, are the exact map's."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from deqsci_cli.equilibrium.model import solve
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.networks.denoiser import Coarse, as_denoiser
from deqsci_cli.physics.sensing import SensingOperator

SETTINGS = EquilibriumSettings(sigma=0.1, solver="picard", start="average", tol=1e-6, max_iter=200)


@pytest.fixture
def scene():
    """Three measurements of different films, and their camera."""
    generator = torch.Generator().manual_seed(0)
    mask = torch.randint(0, 2, (1, 4, 12, 12), generator=generator).double()
    films = torch.rand(3, 4, 12, 12, generator=generator, dtype=torch.float64)
    films[1] *= 0.1
    operator = SensingOperator(mask)
    return operator, operator.A(films)


class Smoothing:
    """A contraction towards the mean of a film, which counts the films that it sees."""

    def __init__(self, *, steps: float = 0.0):
        self.steps, self.count = steps, 0

    def __call__(self, video, sigma):
        self.count += len(video)
        answer = 0.6 * video + 0.3 * video.mean((1, 2, 3), keepdim=True)
        return answer if not self.steps else (answer / self.steps).round() * self.steps


def test_the_fixed_point_is_that_of_the_exact_map(scene):
    operator, y = scene
    exact, rounded, alone = Smoothing(), Smoothing(steps=1e-3), Smoothing()
    expected = solve(alone, operator, y, SETTINGS)
    found = solve(exact, operator, y, SETTINGS, coarse=Coarse(as_denoiser(rounded), 1e-2))
    assert found.status == ["converged"] * 3
    torch.testing.assert_close(found.x, expected.x, rtol=0, atol=1e-5)
    assert rounded.count > 6 and exact.count < alone.count
    # Rounding alone never comes so near.
    rough = solve(Smoothing(steps=1e-3), operator, y, SETTINGS)
    assert (rough.x - expected.x).abs().max() > 1e-4


def test_no_coarse_value_is_taken_for_converged(scene):
    """A network that changes nothing has its fixed point everywhere the data agree."""
    operator, y = scene
    settings = EquilibriumSettings(sigma=0.1, consistency_relaxation=1, tol=1e-6, max_iter=200)
    nothing = as_denoiser(lambda video, sigma: video)
    found = solve(Smoothing(), operator, y, settings, coarse=Coarse(nothing, 1e-2))
    expected = solve(Smoothing(), operator, y, settings)
    torch.testing.assert_close(found.x, expected.x, rtol=0, atol=1e-5)


def test_a_loose_tolerance_is_met_by_the_exact_map_too(scene):
    operator, y = scene
    settings = replace(SETTINGS, tol=5e-2)
    exact = Smoothing()
    coarse = Coarse(as_denoiser(Smoothing(steps=1e-3)), 1e-3)
    found = solve(exact, operator, y, settings, coarse=coarse)
    assert found.status == ["converged"] * 3 and exact.count >= 3
    # Its last residuals are those of the exact map: one evaluation of it tells the same.
    again = solve(Smoothing(), operator, y, replace(settings, tol=1e-9))
    assert (found.x - again.x).flatten(1).norm(dim=1).max() < 0.2 * again.x.flatten(1).norm()


def test_a_sample_has_the_same_answer_in_any_company(scene):
    operator, y = scene
    coarse = Coarse(as_denoiser(Smoothing(steps=1e-2)), 2e-2)
    together = solve(Smoothing(), operator, y, SETTINGS, coarse=coarse)
    for sample in range(3):
        alone = solve(Smoothing(), operator, y[sample : sample + 1], SETTINGS, coarse=coarse)
        assert torch.equal(alone.x[0], together.x[sample])
        assert alone.residual_trace[0] == together.residual_trace[sample]


def test_one_that_stays_far_is_computed_exactly_after_twenty(scene):
    operator, y = scene
    lost = Smoothing(steps=0.5)
    found = solve(Smoothing(), operator, y, SETTINGS, coarse=Coarse(as_denoiser(lost), 1e-9))
    assert lost.count == 20 * 3 and found.status == ["converged"] * 3
