"""Settings, warm-up and the way from a measurement to a video."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from deqsci_cli import zoo
from deqsci_cli.equilibrium.maps import GAPMap
from deqsci_cli.equilibrium.model import make_map, solve, start_state
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.errors import UsageError
from deqsci_cli.networks.denoiser import FrameDenoiser
from deqsci_cli.networks.tv import TotalVariation
from deqsci_cli.physics.masks import make_mask
from deqsci_cli.physics.sensing import SensingOperator


class Recorder(FrameDenoiser):
    """Shrinks towards the mean, and remembers the noise levels that it was called with."""

    def __init__(self, spoil_call: int | None = None):
        super().__init__()
        self.levels: list[float] = []
        self.spoil_call = spoil_call

    def denoise(self, frames: Tensor, sigma: Tensor) -> Tensor:
        self.levels.append(round(float(sigma.flatten()[0]), 6))
        if len(self.levels) == self.spoil_call:
            return frames * math.nan
        return 0.9 * frames + 0.05


def moving_square(frames: int = 6, size: int = 40) -> Tensor:
    """A bright square that crosses a shaded ground, a pixel and a half a frame."""
    y, x = np.mgrid[:size, :size]
    film = [0.3 + 0.2 * x / size + 0.5 * ((abs(y - 20) < 8) & (abs(x - 12 - 1.5 * t) < 7))
            for t in range(frames)]  # fmt: skip
    return torch.from_numpy(np.stack(film)).float()[None]


@pytest.fixture(scope="module")
def camera() -> tuple[SensingOperator, Tensor, Tensor]:
    truth = moving_square()
    mask = make_mask("binary", (6, 40, 40), np.random.default_rng(0))
    operator = SensingOperator(torch.from_numpy(mask))
    return operator, operator.A(truth), truth


@pytest.mark.parametrize(
    "wrong",
    [
        {"map": "gapp"}, {"consistency_relaxation": -0.1}, {"consistency_relaxation": 1.1},
        {"consistency_relaxation": math.nan}, {"solver": "newton"}, {"start": "zero"},
        {"tol": 0.0}, {"tol": -1.0}, {"tol": math.nan}, {"tol": math.inf},
        {"max_iter": -1}, {"relaxation": 0.0}, {"relaxation": 1.5}, {"relaxation": math.nan},
        {"symmetries": 0}, {"symmetries": 3}, {"symmetries": 16},
        {"memory": 0}, {"sigma": -0.1}, {"sigma": math.nan}, {"sigma": math.inf},
        {"anderson_start_tol": -1e-3}, {"anderson_start_tol": math.nan},
        {"anderson_start_tol": math.inf},
    ],
    ids=str,
)  # fmt: skip
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(UsageError):
        EquilibriumSettings(**wrong)


def test_an_unknown_word_is_told_with_the_known_ones():
    with pytest.raises(UsageError, match=r"anderson.*picard"):
        EquilibriumSettings(solver="andersen")


@pytest.mark.parametrize(("former", "r"), [("gap", "1.0"), ("accelerated-gap", "0.0")])
def test_a_former_map_is_refused_with_the_setting_that_it_has_become(former, r):
    with pytest.raises(UsageError) as refused:
        EquilibriumSettings.from_card({"map": former})
    assert f"consistency_relaxation = {r}" in str(refused.value.hint)


def test_a_card_is_merged_with_what_was_asked():
    card = {"consistency_relaxation": 1.0, "tol": 1e-4, "warmup": [[0.2, 3], [0.1, 4]]}
    settings = EquilibriumSettings.from_card(card, tol=1e-2, max_iter=None)
    assert settings.consistency_relaxation == 1 and settings.tol == 1e-2
    assert settings.max_iter == EquilibriumSettings().max_iter
    assert settings.warmup == ((0.2, 3), (0.1, 4))
    assert card["tol"] == 1e-4  # the card itself stays as it was


@pytest.mark.parametrize(
    "card",
    [{"tolerance": 1e-3}, {"warmup": [0.1]}, {"warmup": [[0.1, 2, 3]]}, {"warmup": 5},
     {"warmup": [["a", 1]]}, {"tol": "small"}],
    ids=str,
)  # fmt: skip
def test_a_card_that_makes_no_sense_is_refused(card):
    with pytest.raises(UsageError):
        EquilibriumSettings.from_card(card)


@pytest.mark.parametrize("solver", ["anderson", "picard"])
def test_the_warm_up_counts_and_has_its_own_levels(camera, solver):
    operator, y, _ = camera
    network = Recorder()
    told: list[int] = []
    settings = EquilibriumSettings(
        consistency_relaxation=1.0,
        sigma=0.05,
        warmup=((0.2, 3), (0.1, 2)),
        solver=solver,
        tol=1e-30,
        max_iter=4,
    )
    found = solve(network, operator, y, settings, on_iteration=lambda n, r, x: told.append(n))
    assert found.evaluations == [9] and len(found.residual_trace[0]) == 9
    assert told == list(range(1, 10))
    assert [network.levels[0], network.levels[3], network.levels[-1]] == [0.2, 0.1, 0.05]
    assert network.levels.count(0.2) * 2 == network.levels.count(0.1) * 3


def test_the_trace_is_that_of_the_map_iterated_by_hand(camera):
    operator, y, _ = camera
    tv = TotalVariation(weight=0.5)
    settings = EquilibriumSettings(
        consistency_relaxation=1.0,
        sigma=0.1,
        warmup=((0.3, 2),),
        solver="picard",
        tol=1e-30,
        max_iter=3,
    )
    found = solve(tv, operator, y, settings)
    x, trace = operator.normalized_measurement(y), []
    for sigma in (0.3, 0.3, 0.1, 0.1, 0.1):
        fx = GAPMap(operator, y, tv, sigma, 1.0)(x)
        trace.append(float((fx - x).norm() / fx.norm()))
        x = fx
    np.testing.assert_allclose(found.residual_trace[0], trace, rtol=1e-5)
    assert found.status == ["max_iter"]
    assert found.residual[0] == pytest.approx(min(trace[2:]), rel=1e-5)  # of the final map only


def test_a_nan_in_the_warm_up_does_not_reach_the_answer(camera):
    operator, y, _ = camera
    settings = EquilibriumSettings(
        consistency_relaxation=1.0, warmup=((0.2, 4),), solver="picard", max_iter=60
    )
    found = solve(Recorder(spoil_call=2), operator, y, settings)
    assert torch.isfinite(found.x).all() and found.status == ["converged"]


def test_a_nan_at_equilibrium_is_divergence(camera):
    operator, y, _ = camera
    settings = EquilibriumSettings(tol=1e-9, max_iter=20)
    found = solve(Recorder(spoil_call=5), operator, y, settings)
    assert found.status == ["diverged"] and torch.isfinite(found.x).all()


def test_the_start(camera):
    operator, y, _ = camera
    for start, expected in (
        ("average", operator.normalized_measurement(y)),
        ("adjoint", operator.A_adjoint(y)),
    ):
        for r in (0.0, 0.5, 1.0):
            settings = EquilibriumSettings(consistency_relaxation=r, start=start)
            f = make_map(Recorder(), operator, y, settings)
            assert torch.equal(f.video(start_state(f, settings)), expected)
            with pytest.raises(UsageError, match="at least 1"):
                replace(settings, max_iter=0)


@pytest.mark.parametrize("r", [0.0, 0.5, 1.0])
def test_total_variation_recovers_a_moving_scene(camera, r):
    operator, y, truth = camera
    settings = EquilibriumSettings(
        consistency_relaxation=r, sigma=0.05, warmup=((0.2, 20),), max_iter=40
    )
    found = solve(TotalVariation(), operator, y, settings)

    def psnr(x: Tensor) -> float:
        return -10 * math.log10(float((x - truth).square().mean()))

    assert psnr(found.x) > psnr(operator.normalized_measurement(y)) + 6
    assert found.x.shape == truth.shape and not found.x.requires_grad


@pytest.mark.parametrize(("name", "evaluations"), [("gap-tv", 6), ("pnp-cnn", 1)])
def test_an_answer_has_the_same_bytes_whatever_the_batch_and_the_threads(name, evaluations):
    # Large enough for PyTorch to give a single sample's sums and products to several threads.
    truth = torch.cat([moving_square(8, 48).roll(3 * n, -1) / (1 + n) for n in range(3)])
    truth = torch.cat((truth, truth.flip(-2)), dim=-1)
    mask = make_mask("binary", tuple(truth.shape[1:]), np.random.default_rng(0))
    operator, model = SensingOperator(torch.from_numpy(mask)), zoo.load(name)
    settings = EquilibriumSettings.from_card(model.card.equilibrium, max_iter=evaluations)
    threads, answers = torch.get_num_threads(), []
    try:
        for count, size in ((1, 1), (2, 1), (1, 3)):
            torch.set_num_threads(count)
            parts = operator.A(truth).split(size)
            answers.append(
                torch.cat([solve(model.network, operator, y, settings).x for y in parts])
            )
    finally:
        torch.set_num_threads(threads)
    assert not torch.equal(answers[0][0], answers[0][1])
    assert all(torch.equal(answer, answers[0]) for answer in answers)


def test_the_cheap_start_is_the_nearest_to_the_truth(camera):
    operator, measurement, truth = camera

    def error(start: str) -> float:
        settings = EquilibriumSettings(start=start)
        f = make_map(Recorder(), operator, measurement, settings)
        return float((f.video(start_state(f, settings)) - truth).square().mean())

    assert error("gap-tv") < 0.5 * error("average") < 0.5 * error("adjoint")


class Leaning(FrameDenoiser):
    """Blurs, and to the right alone: no mirrored film gets the mirrored answer."""

    def denoise(self, frames: Tensor, sigma: Tensor) -> Tensor:
        return 0.5 * frames + 0.25 * frames.roll(1, -1) + 0.1


@pytest.mark.parametrize("r", [0.0, 0.5, 1.0])
def test_with_symmetries_a_turned_capture_has_the_turned_film(camera, r):
    operator, y, _ = camera
    turned = SensingOperator(operator.mask.rot90(2, (2, 3)))
    distances = {}
    for count in (1, 4):
        settings = EquilibriumSettings(
            consistency_relaxation=r, symmetries=count, tol=1e-6, max_iter=200
        )
        found = solve(Leaning(), operator, y, settings)
        other = solve(Leaning(), turned, y.rot90(2, (1, 2)), settings)
        assert found.status == other.status == ["converged"]
        distances[count] = float((other.x.rot90(2, (2, 3)) - found.x).abs().max())
    assert distances[4] < 1e-4 < 0.02 < distances[1]
