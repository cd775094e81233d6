"""Settings that suit the noise: a clean capture stays exact, a noisy one gains."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from deqsci_cli.equilibrium.model import solve
from deqsci_cli.equilibrium.noise_settings import (
    noise_by_held_out,
    relative_noise,
    relaxation_for,
    settings_for_arms,
)
from deqsci_cli.equilibrium.noisy_measurement import nearer_to_total_variation
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.networks.cnn import CNN
from deqsci_cli.networks.tv import TotalVariation
from deqsci_cli.physics.sensing import SensingOperator

GAP_TV = EquilibriumSettings(sigma=0.1, max_iter=40)
TV = TotalVariation(iterations=3)


@pytest.fixture
def film() -> Tensor:
    """Soft shapes and an edge that move, `(8, 64, 64)`."""
    y, x = np.mgrid[:64, :64]
    frames = [0.5 + 0.2 * np.sin((x - t) / 8) + 0.25 * (x + y > 50 + 2 * t) for t in range(8)]
    return torch.from_numpy(np.stack(frames)).float()


@pytest.fixture
def operator(film) -> SensingOperator:
    draw = torch.rand(film.shape, generator=torch.Generator().manual_seed(0))
    return SensingOperator((draw < 0.5).float())


def noise_like(y: Tensor, deviation: float) -> Tensor:
    return deviation * torch.randn(y.shape, generator=torch.Generator().manual_seed(1))


def error(operator: SensingOperator, y: Tensor, film: Tensor, noise: float) -> float:
    found = solve(TV, operator, y, replace(GAP_TV, consistency_relaxation=relaxation_for(noise)))
    return float((found.x - film).square().mean())


def test_a_clean_measurement_keeps_its_settings(film, operator):
    assert noise_by_held_out(operator, operator.A(film[None])) == [0.0]
    assert relaxation_for(0.0) == 0


def test_noise_is_noticed_and_the_film_is_better_for_it(film, operator):
    clean = operator.A(film[None])
    y = clean + noise_like(clean, 0.15)
    noise = noise_by_held_out(operator, y)[0]
    assert noise > 0
    exact = error(operator, y, film, 0.0)
    assert error(operator, y, film, noise) < 0.7 * exact
    assert error(operator, y, film, relative_noise(operator, 0.15)[0]) < 0.7 * exact


def test_each_measurement_gets_its_own(film, operator):
    clean = operator.A(torch.stack([film, film]))
    y = torch.stack([clean[0], clean[1] + noise_like(clean[1], 0.15)])
    together = noise_by_held_out(operator, y)
    assert together == noise_by_held_out(operator, y[:1]) + noise_by_held_out(operator, y[1:])
    assert together[0] == 0 < together[1]


def test_what_is_not_seen_does_not_count(film, operator):
    y = operator.A(film[None])
    seen = torch.rand(y.shape, generator=torch.Generator().manual_seed(2)) < 0.8
    assert noise_by_held_out(operator.with_seen(seen), torch.where(seen, y, math.nan)) == [0.0]


def test_a_black_measurement_has_no_noise(film, operator):
    assert noise_by_held_out(operator, torch.zeros(1, *film.shape[1:])) == [0.0]


def test_the_unit_is_the_length_of_the_codes():
    # Four frames open at 0.5: the root of gram is 1. Closed pixels do not count.
    mask = torch.full((4, 8, 8), 0.5)
    mask[:, :, :3] = 0
    assert relative_noise(SensingOperator(mask), 0.03) == [pytest.approx(0.03)]
    assert relative_noise(SensingOperator(3 * mask), 0.03) == [pytest.approx(0.01)]
    assert relative_noise(SensingOperator(0 * mask), 0.03) == [0.0]


def test_the_relaxation_grows_with_the_variance():
    values = [relaxation_for(n) for n in (0.015, 0.03, 0.06)]
    assert values[1] == pytest.approx(4 * values[0]) and values[2] == pytest.approx(1.0)
    assert relaxation_for(5.0) == 1.0


class TestMeasurement:
    """A noisy measurement is brought nearer to the clean one, by the noise alone."""

    def off(self, operator, film, deviation, **how):
        clean = operator.A(film[None])
        y = clean + noise_like(clean, deviation)
        level = relative_noise(operator, deviation)[0]
        nearer = nearer_to_total_variation(operator, y, level, **how)
        return float((nearer - clean).norm() / (y - clean).norm())

    def test_told_noise_is_taken_off(self, film, operator):
        assert self.off(operator, film, 0.15, noise=0.15) < 0.7

    def test_so_is_noise_that_is_found(self, film, operator):
        assert self.off(operator, film, 0.15) < 0.7

    def test_without_noise_all_is_kept(self, film, operator):
        y = operator.A(film[None])
        torch.testing.assert_close(nearer_to_total_variation(operator, y, 0.0, noise=0.0), y)

    def test_what_total_variation_cannot_describe_is_kept(self, operator):
        """Noise in the scene is no noise of the measurement."""
        wild = torch.rand(8, 64, 64, generator=torch.Generator().manual_seed(3))
        y = operator.A(wild[None])
        y = y + noise_like(y, 0.05)
        nearer = nearer_to_total_variation(operator, y, 0.03, noise=0.05)
        assert float((nearer - y).norm() / y.norm()) < 0.02


def test_several_arms_are_never_trusted_wholly():
    learned, card = CNN(), EquilibriumSettings(sigma=0.03)
    for network in (learned, TV):
        assert 0 < settings_for_arms(card, network).consistency_relaxation < 0.1
    plain = EquilibriumSettings(consistency_relaxation=1.0)
    assert settings_for_arms(plain, learned) == plain
