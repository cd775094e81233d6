"""Learning from measurements alone: what is hidden, what the loss is, and what comes of it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import scipy.io
import torch

from deqsci_cli import zoo
from deqsci_cli.engine.adapt import AdaptConfig, adapt
from deqsci_cli.equilibrium.maps import GAPMap
from deqsci_cli.equilibrium.model import solve
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.errors import InputError, UsageError
from deqsci_cli.io import only_run
from deqsci_cli.physics.sensing import SensingOperator
from deqsci_cli.report.metrics import psnr
from deqsci_cli.runtime.events import Validated
from deqsci_cli.training.equilibrium import GradientSettings, StabilitySettings
from deqsci_cli.training.self_supervised import (
    PREDICTED_SHARE,
    HeldOutValidation,
    MeasurementSampler,
    SelfSupervisedStage,
)

T, SIDE, PIECE, COUNT = 4, 40, 24, 3


def films() -> np.ndarray:
    """Stripes that travel fast enough to be coded, `(N, T, H, W)` in [0, 1]."""
    t, y, x = np.mgrid[: T * COUNT, :SIDE, :SIDE]
    waves = 0.5 + 0.3 * np.sign(np.sin(0.5 * x + 0.2 * y + 0.4 * t)) + 0.1 * np.sin(0.9 * y)
    return waves.reshape(COUNT, T, SIDE, SIDE).astype(np.float32)


@pytest.fixture
def camera() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Measurements, their mask, and the pixels that are seen: not the first rows."""
    generator = torch.Generator().manual_seed(0)
    mask = (torch.rand(T, SIDE, SIDE, generator=generator) < 0.5).float()
    y = SensingOperator(mask).A(torch.from_numpy(films()))
    seen = torch.ones(y.shape, dtype=torch.bool)
    seen[:, :5] = False
    return y, mask, seen


@pytest.fixture
def capture(camera, tmp_path):
    y, mask, _ = (each.numpy() for each in camera)
    path = tmp_path / "lab.mat"
    scipy.io.savemat(path, {"meas": np.moveaxis(y, 0, 2), "mask": np.moveaxis(mask, 0, 2)})
    return path


@pytest.fixture
def config(capture, tmp_path):
    torch.set_num_threads(1)
    return AdaptConfig(
        (capture,), tmp_path / "mine", "pnp-cnn", steps=15, patch_size=PIECE, device="cpu"
    )


def sampler(y, mask, usable, **more) -> MeasurementSampler:
    settings = {"patch_size": PIECE, "batch_size": 4, "seed": 1} | more
    return MeasurementSampler(y, mask, usable, **settings)


def test_hidden_pixels_are_usable_ones_that_the_solve_does_not_see(camera):
    y, mask, seen = camera
    sample = sampler(y, mask, seen)
    shares = []
    for step in range(5):
        pieces = sample(step)
        hidden = pieces.hidden.isfinite()
        assert not bool((hidden & pieces.shown).any())
        assert torch.equal(pieces.hidden[hidden], pieces.measurement[hidden])
        usable = hidden | pieces.shown
        shares.append(float(hidden.sum() / usable.sum()))
        for piece, coding, used in zip(pieces.measurement, pieces.mask, usable, strict=True):
            # Where it comes from: the only place at which measurement and mask are these.
            places = [
                (n, top, left)
                for n in range(COUNT)
                for top in range(SIDE - PIECE + 1)
                for left in range(SIDE - PIECE + 1)
                if torch.equal(y[n, top : top + PIECE, left : left + PIECE], piece)
            ]
            ((n, top, left),) = places
            assert torch.equal(mask[:, top : top + PIECE, left : left + PIECE], coding)
            assert torch.equal(seen[n, top : top + PIECE, left : left + PIECE], used)
    assert np.mean(shares) == pytest.approx(PREDICTED_SHARE, abs=0.01)
    assert torch.equal(sample(2).hidden.isfinite(), sampler(y, mask, seen)(2).hidden.isfinite())
    with pytest.raises(InputError, match="64x64"):
        sampler(y, mask, seen, patch_size=64)


def test_the_loss_is_the_error_of_hidden_pixels_alone(camera):
    y, mask, seen = camera
    stage = SelfSupervisedStage(
        zoo.load("pnp-cnn").network,
        sampler(y, mask, seen),
        EquilibriumSettings(sigma=0.05),
        GradientSettings("jfb"),
        StabilitySettings(),
    )
    f, hidden = stage.film(3)
    assert isinstance(f, GAPMap) and isinstance(f.operator, SensingOperator)
    film = torch.rand(f.operator.mask.shape)
    missed = (f.operator.mask * film).sum(1) - hidden
    expected = [float(each[each.isfinite()].square().mean()) for each in missed]
    assert stage.errors(f, film, hidden).tolist() == pytest.approx(expected, rel=1e-5)
    # What the map sees does not change with what is hidden.
    changed = f.measurement.clone()
    changed[hidden.isfinite()] = 7.0
    other = GAPMap(f.operator, changed, f.denoiser, f.sigma)
    state = f.start(film)
    torch.testing.assert_close(other(other.start(film)), f(state))


def test_no_step_sees_what_the_look_judges_by(camera):
    y, mask, seen = camera
    solve_ = EquilibriumSettings(sigma=0.1, max_iter=5)
    look = HeldOutValidation(y, mask, seen, solve_)
    assert not bool((look.usable & ~seen).any())
    network = zoo.load("gap-tv").network
    network.register_parameter("none", torch.nn.Parameter(torch.zeros(1)))
    before = look(network)
    spoilt = torch.where(look.usable, y, y + 0.3)  # all that it may not learn from
    assert HeldOutValidation(spoilt, mask, seen, solve_)(network)["held_out"] > before["held_out"]
    judged = (seen & (mask.sum(0) > 0) & ~look.usable).sum((1, 2))
    assert judged.tolist() == pytest.approx([0.05 * (SIDE - 5) * SIDE] * COUNT, rel=0.35)


def test_a_model_that_has_learned_makes_better_films(config, camera):
    events = []
    done = adapt(config, events.append)
    looks = [e.figures["held_out"] for e in events if isinstance(e, Validated)]
    assert done.before["held_out"] == looks[0] and done.after["held_out"] == min(looks) < looks[0]
    y, mask, _ = camera

    def quality(model: str) -> float:
        made = zoo.load(model)
        settings = EquilibriumSettings.from_card(made.card.equilibrium)
        found = solve(made.network, SensingOperator(mask), y, settings).x.numpy()
        return float(np.mean([psnr(a, b) for a, b in zip(found, films(), strict=True)]))

    assert quality(str(config.out)) > quality("pnp-cnn") + 0.1
    card = json.loads((config.out / zoo.CARD).read_text())
    assert card["licence"] == zoo.read_card(zoo.find("pnp-cnn")).licence
    assert card["training"]["data"] == ["lab.mat"] and card["training"]["init_from"] == "pnp-cnn"


def test_black_measurements_are_passed_over(camera):
    y, mask, seen = camera
    solve_ = EquilibriumSettings(sigma=0.1, max_iter=5)
    network = zoo.load("pnp-cnn").network
    alone = HeldOutValidation(y[1:2], mask, seen[1:2], solve_)(network)
    dark = torch.cat((torch.zeros_like(y[:1]), y[1:2]))
    among = HeldOutValidation(dark, mask, torch.cat((seen[:1], seen[1:2])), solve_)(network)
    assert among == alone and np.isfinite(among["held_out"])
    with pytest.raises(InputError, match="light"):
        HeldOutValidation(torch.zeros_like(y), mask, seen, solve_)


def test_a_folder_in_use_is_refused_before_anything_is_learned(config):
    told = []
    with only_run(config.out), pytest.raises(UsageError, match="another run"):
        adapt(config, told.append)
    assert not told and not config.out.exists()


def test_where_nothing_is_learned_the_model_stays(config):
    done = adapt(replace(config, steps=2, learning_rate=1.0))
    assert done.step == 0 and done.after == done.before
    kept, first = (zoo.load(name).network.state_dict() for name in (str(config.out), "pnp-cnn"))
    assert all(torch.equal(kept[name], first[name]) for name in first)
    with pytest.raises(UsageError, match="no weights"):
        adapt(replace(config, model="gap-tv", overwrite=True))
