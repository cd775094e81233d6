"""The stage `denoiser` on clips small enough to train on in a second."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save

from deqsci_cli import zoo
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.errors import DeqsciError, InputError, ModelError, OutputExistsError, UsageError
from deqsci_cli.networks.tv import TotalVariation
from deqsci_cli.runtime.events import Note, Stepped, Validated
from deqsci_cli.runtime.interrupt import deferred_interrupt
from deqsci_cli.training import train as training
from deqsci_cli.training.checkpoint import STATE
from deqsci_cli.training.denoiser import DenoiserSettings, DenoiserStage, DenoiserValidation
from deqsci_cli.training.equilibrium import GradientSettings, StabilitySettings
from deqsci_cli.training.log import LOG
from deqsci_cli.training.patches import PatchSampler, load_clips
from deqsci_cli.training.settings import TrainConfig, check_recipe, learning_rate, recipe
from deqsci_cli.training.train import train


def config(data: tuple[Path, Path], out: Path, **changes) -> TrainConfig:
    base = TrainConfig(
        data=(data[0],), validation=data[1], out=out, architecture="cnn",
        options={"channels": 6, "depth": 3}, steps=12, batch_size=4, patch_size=16,
        learning_rate=3e-3, validate_every=5, device="cpu",
    )  # fmt: skip
    return replace(base, **changes)


def test_the_loss_falls_and_the_model_beats_doing_nothing(data, tmp_path):
    losses: list[float] = []

    def listen(event) -> None:
        if isinstance(event, Stepped):
            losses.append(event.loss)

    result = train(
        config(data, tmp_path / "m", steps=150, batch_size=8, validate_every=75,
               denoiser=DenoiserSettings((0.1, 0.1))), listen
    )  # fmt: skip
    assert len(losses) == 150
    assert np.mean(losses[-20:]) < 0.75 * np.mean(losses[:5])
    # Doing nothing has the PSNR of the noise itself, -20 log10(25 / 255) = 20.2 dB.
    assert result.figures["psnr-25"] > 21.5


@pytest.mark.parametrize("name", ["cnn", "rsn-cnn", "ffdnet"])
@pytest.mark.parametrize(
    ("step", "kind"), [(1, Stepped), (5, Stepped), (7, Stepped), (5, Validated), (12, Stepped)]
)
def test_a_resumed_run_ends_like_an_uninterrupted_one(
    data, tmp_path, read_log, stop_at, name, step, kind
):
    whole = config(data, tmp_path / "whole", architecture=name)
    parts = config(data, tmp_path / "parts", architecture=name)
    expected = train(whole)
    with pytest.raises(KeyboardInterrupt):
        train(parts, stop_at(step, kind))
    notes: list[str] = []
    found = train(
        replace(parts, resume=True), lambda e: notes.append(e.text) if isinstance(e, Note) else None
    )
    assert notes == [f"resumed at step {step}"]
    assert found.figures == expected.figures and found.steps == expected.steps == 12
    assert (parts.out / zoo.WEIGHTS).read_bytes() == (whole.out / zoo.WEIGHTS).read_bytes()
    logs = [read_log(run.out) for run in (whole, parts)]
    assert logs[0] == logs[1] and [line["step"] for line in logs[0]] == [5, 10, 12]


def test_the_mean_of_the_weights_is_the_model(data, tmp_path, stop_at):
    run = config(data, tmp_path / "m", ema_decay=0.75, steps=6, validate_every=1)
    seen: list[dict[str, torch.Tensor]] = []

    def listen(event) -> None:
        if isinstance(event, Validated):
            seen.append(load_file(run.out / STATE))

    train(run, listen)
    for name in [n.removeprefix("network.") for n in seen[0] if n.startswith("network.")]:
        mean = seen[0][f"network.{name}"]
        for state in seen[1:]:
            mean = 0.75 * mean + 0.25 * state[f"network.{name}"]
        torch.testing.assert_close(seen[-1][f"mean.module.{name}"], mean)
    # What was validated and kept is one of these means.
    kept = zoo.load(str(run.out)).network.state_dict()
    assert any(all(torch.equal(s[f"mean.module.{n}"], w) for n, w in kept.items()) for s in seen)
    parts = replace(run, out=tmp_path / "parts")
    with pytest.raises(KeyboardInterrupt):
        train(parts, stop_at(3, Stepped))
    train(replace(parts, resume=True))
    assert (parts.out / zoo.WEIGHTS).read_bytes() == (run.out / zoo.WEIGHTS).read_bytes()
    with pytest.raises(UsageError, match="ema_decay"):
        config(data, tmp_path / "n", ema_decay=1.0)


def test_an_existing_run_is_not_replaced_unasked(data, tmp_path, read_log):
    first = config(data, tmp_path / "m", steps=3)
    train(first)
    before = (first.out / zoo.WEIGHTS).read_bytes()
    with pytest.raises(OutputExistsError):
        train(replace(first, seed=1))
    assert (first.out / zoo.WEIGHTS).read_bytes() == before
    train(replace(first, seed=1, overwrite=True))
    assert (first.out / zoo.WEIGHTS).read_bytes() != before
    assert len(read_log(first.out)) == 1  # the old log is gone


def test_a_run_that_is_begun_anew_and_killed_at_once_leaves_the_one_before(data, tmp_path):
    first = config(data, tmp_path / "m", steps=3)
    train(first)
    before = {path.name: path.read_bytes() for path in first.out.iterdir()}

    def end(event, how: type[BaseException]) -> None:
        if isinstance(event, Stepped):
            raise how

    with pytest.raises(RuntimeError):
        train(replace(first, overwrite=True), partial(end, how=RuntimeError))
    assert {path.name: path.read_bytes() for path in first.out.iterdir()} == before
    # One that is interrupted has a state of its own, and no line of the other's log.
    with pytest.raises(KeyboardInterrupt):
        train(replace(first, overwrite=True), partial(end, how=KeyboardInterrupt))
    assert (first.out / LOG).read_bytes() == b""
    assert train(replace(first, resume=True)).steps == 3


def test_a_released_model_is_not_replaced_unasked(data, tmp_path):
    # A model folder as it is released: no state to resume from beside it.
    first = config(data, tmp_path / "m", steps=2)
    train(first)
    (first.out / STATE).unlink()
    (first.out / LOG).unlink()
    with pytest.raises(OutputExistsError):
        train(first)


def test_a_model_keeps_the_licence_of_the_one_it_began_as(data, tmp_path):
    first = train(config(data, tmp_path / "first", steps=1)).out
    assert zoo.read_card(first).licence == ""
    card = replace(zoo.read_card(first), licence="not for sale")
    zoo.write_card(first, card, overwrite=True)
    begun = {"init_from": str(first), "architecture": None, "options": {}}
    second = train(config(data, tmp_path / "second", steps=1, **begun)).out
    assert zoo.read_card(second).licence == "not for sale"


def test_the_card_and_the_log(data, tmp_path, read_log):
    done = train(config(data, tmp_path / "small-cnn", steps=6, seed=3))
    model = zoo.load(str(done.out))
    card = model.card
    assert card.name == "small-cnn" and card.architecture == "cnn"
    assert card.options == {"channels": 6, "depth": 3}
    assert card.training["seed"] == 3 and card.training["stage"] == "denoiser"
    assert card.training["data"] == ["train"]  # names alone: whose disk it was is nobody's business
    assert str(tmp_path) not in (done.out / zoo.CARD).read_text()
    lines = read_log(done.out)
    assert [line["step"] for line in lines] == [5, 6]
    assert done.figures["psnr"] == max(line["psnr"] for line in lines)
    assert card.figures["validation"]["psnr"] == pytest.approx(done.figures["psnr"], abs=1e-3)
    # The figures are those of the weights that were written.
    again = DenoiserValidation(load_clips([data[1]]))(model.network)
    assert again["psnr"] == pytest.approx(done.figures["psnr"], abs=1e-4)


def test_nothing_to_resume(data, tmp_path):
    with pytest.raises(ModelError, match="no run to resume"):
        train(config(data, tmp_path / "none", resume=True))


@pytest.mark.parametrize("how", ["cut", "other"])
def test_a_state_that_cannot_be_resumed(data, tmp_path, how):
    first = config(data, tmp_path / "m", steps=2)
    train(first)
    changes = {}
    if how == "cut":
        state = (first.out / STATE).read_bytes()
        (first.out / STATE).write_bytes(state[: len(state) // 2])
    else:
        changes = {"options": {"channels": 7, "depth": 3}}
    with pytest.raises(ModelError, match="cannot be resumed") as caught:
        train(replace(first, resume=True, **changes))
    assert caught.value.path == first.out / STATE


def test_an_architecture_without_weights(data, tmp_path):
    with pytest.raises(UsageError, match="nothing to train"):
        train(config(data, tmp_path / "m", architecture="tv", options={}))


@pytest.mark.parametrize(
    "wrong",
    [{"steps": 0}, {"batch_size": 0}, {"validate_every": 0}, {"patch_size": 4},
     {"learning_rate": 0.0},
     {"stage": "denoising"}, {"architecture": None}, {"dtype": "float64"},
     {"clip_gradient": 0.0}, {"validation_side": 7}, {"seed": -1},
     {"minutes": -1.0},
     {"gradient": GradientSettings("unrolled:3"),
      "stability": StabilitySettings(n_correction_losses=2)}],
    ids=str,
)  # fmt: skip
def test_impossible_settings(data, tmp_path, wrong):
    with pytest.raises(UsageError):
        config(data, tmp_path, **wrong)


@pytest.mark.parametrize("wrong", [(0.2, 0.1), (-0.1, 0.1), (0.0, 2.0)])
def test_impossible_noise(wrong):
    with pytest.raises(UsageError):
        DenoiserSettings(wrong)


def test_patches_are_pieces_of_the_clips_and_depend_on_the_step_alone(data):
    clips = load_clips([data[0]])
    assert sorted(c.shape for c in clips) == [(1, 33, 37), (3, 36, 36), (4, 40, 48)]
    sample = PatchSampler(clips, patch_size=8, batch_size=12, seed=5)
    first, rngs = sample(3)
    sample(4)
    again, rngs_again = sample(3)
    assert torch.equal(first, again) and rngs[2].random() == rngs_again[2].random()
    shares = [
        PatchSampler(clips, patch_size=8, batch_size=12, seed=5, share=(r, 3))(3)[0]
        for r in range(3)
    ]
    assert torch.equal(torch.stack(shares, 1).flatten(0, 1), first)  # dealt out in turn
    assert not torch.equal(first, sample(4)[0])
    assert first.shape == (12, 1, 8, 8) and first.dtype == torch.float32

    def sums(frame, side):
        """All windows of a frame, as sums of what becomes one pixel: whole numbers, so exact."""
        view = np.lib.stride_tricks.sliding_window_view(frame.astype(int), (side, side))
        return view.reshape(-1, 8, side // 8, 8, side // 8).sum((2, 4)).reshape(-1, 64)

    known = {
        side: {w.tobytes() for c in clips for frame in c for w in sums(frame, side)}
        for side in (8, 16)
    }
    turned, sides = set(), set()
    for patch_size in first[:, 0].numpy().astype(float) * 255:
        found = False
        for side in (8, 16):
            counts = np.rint(patch_size * (side // 8) ** 2).astype(int)
            ways = [np.rot90(p, k) for p in (counts, counts[:, ::-1]) for k in range(4)]
            for n, way in enumerate(ways):
                if np.ascontiguousarray(way).tobytes() in known[side]:
                    found = True
                    turned.add(n)
                    sides.add(side)
        assert found
    assert len(turned) > 2 and sides == {8, 16}


def test_data_that_is_not_there_or_too_small(data, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError):
        load_clips([tmp_path / "empty"])
    with pytest.raises(InputError):
        load_clips([tmp_path / "none"])
    with pytest.raises(InputError, match="no clip has a frame of at least 64x64"):
        PatchSampler(load_clips([data[0]]), patch_size=64, batch_size=1, seed=0)


def test_validation_of_doing_nothing_is_the_noise_itself(data):
    figures = DenoiserValidation(load_clips([data[1]]))(_NotMoving())
    for level in (5, 12, 25, 50):
        assert figures[f"psnr-{level}"] == pytest.approx(-20 * np.log10(level / 255), abs=0.3)
    assert figures["psnr"] == pytest.approx(
        np.mean([figures[f"psnr-{n}"] for n in (5, 12, 25, 50)])
    )


class _NotMoving(TotalVariation):
    def __init__(self):
        super().__init__(weight=0.0)
        self.unused = torch.nn.Parameter(torch.zeros(1))  # validation asks parameters for a device


def test_the_learning_rate_rises_and_falls(data, tmp_path):
    c = config(data, tmp_path, steps=1000, learning_rate=0.01)
    rates = [learning_rate(c, n, n / 1000) for n in range(1000)]
    top = int(np.argmax(rates))
    assert max(rates) == pytest.approx(0.01) and top in (19, 20)
    assert rates[0] == pytest.approx(0.01 / 20) and rates[-1] < 1e-4
    assert all(np.diff(rates[:19]) > 0) and all(np.diff(rates[20:]) < 0)


def test_in_a_run_that_ends_by_time_the_learning_rate_follows_the_time(data, tmp_path):
    by_steps = config(data, tmp_path, steps=10_000, learning_rate=0.01)
    by_time = replace(by_steps, steps=3, minutes=7.0)
    for share in (0.0, 0.01, 0.0199, 0.021, 0.3, 0.75, 0.999):
        expected = learning_rate(by_steps, round(share * 10_000), share)
        for step in (0, 5, 123_456):
            assert learning_rate(by_time, step, share) == pytest.approx(expected, rel=1e-9)
    rates = [learning_rate(by_time, 0, share) for share in np.linspace(0, 1, 777)]
    assert 0.0099 < max(rates) <= 0.01 and rates[-1] < 1e-4


class Clock:
    """A clock that stands still unless it is told to go on."""

    def __init__(self):
        self.now = 1e6

    def monotonic(self) -> float:
        return self.now


def test_a_run_that_ends_by_time_goes_on_with_what_is_left_of_it(data, tmp_path, monkeypatch):
    clock, seen, rates = Clock(), [], []
    monkeypatch.setattr(training, "time", clock)
    honest = training.learning_rate

    def noted(run, step, progress):
        rates.append((step, progress))
        return honest(run, step, progress)

    monkeypatch.setattr(training, "learning_rate", noted)

    def listen(event) -> None:
        if isinstance(event, Stepped):
            seen.append(event)
            clock.now += 2 if event.step <= 6 else 6  # 30 seconds are 6 + 3 steps
            if event.step == 4:
                raise KeyboardInterrupt

    run = config(data, tmp_path / "m", steps=2, minutes=0.5, validate_every=5)
    with pytest.raises(KeyboardInterrupt):
        train(run, listen)
    clock.now += 1000  # the machine had other work meanwhile
    done = train(replace(run, resume=True), listen)
    assert done.steps == 9 and [event.step for event in seen] == list(range(1, 10))
    expected = [0, 2, 4, 6, 8, 10, 12, 18, 24]
    assert [step for step, _ in rates] == list(range(9))
    assert [progress for _, progress in rates] == pytest.approx([s / 30 for s in expected])
    assert seen[-1].steps in (9, 10, 11) and all(event.steps >= event.step for event in seen)
    card = zoo.read_card(run.out)
    assert card.training["minutes"] == 0.5 and card.training["steps_done"] in (5, 9)
    # With more time it goes on; with none left it ends, and what it has is kept.
    assert train(replace(run, resume=True)).steps == 9
    assert train(replace(run, resume=True, minutes=0.7), listen).steps == 11


def test_however_little_time_there_is_one_step_is_taken(data, tmp_path):
    done = train(config(data, tmp_path / "m", minutes=1e-9))
    assert done.steps == 1 and zoo.load(str(done.out)) and "psnr" in done.figures


def test_a_resumed_run_keeps_its_recipe_but_may_be_longer(data, tmp_path):
    train(config(data, tmp_path / "m", steps=3))
    with pytest.raises(UsageError, match="batch_size 4"):
        train(config(data, tmp_path / "m", steps=5, batch_size=2, resume=True))
    assert train(config(data, tmp_path / "m", steps=5, resume=True)).steps == 5


def test_a_state_with_old_names_is_told_as_that_before_anything_else(data, tmp_path):
    run = config(data, tmp_path / "m", steps=2)
    train(run)
    with safe_open(run.out / STATE, "pt") as file:
        facts = json.loads(file.metadata()["facts"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    facts["recipe"]["batch"] = facts["recipe"].pop("batch_size")
    tensors.popitem()  # the tensors of a network whose parts were renamed would not fit either
    (run.out / STATE).write_bytes(save(tensors, metadata={"facts": json.dumps(facts)}))
    with pytest.raises(UsageError, match=r"earlier version of deqsci \(0\.1\.0\)"):
        train(replace(run, resume=True))


def test_what_an_earlier_version_did_not_know_was_as_its_default_is(data, tmp_path):
    run = config(data, tmp_path / "m", ema_decay=0.5, solve=EquilibriumSettings(memory=3))
    begun = recipe(run)
    del (
        begun["weight_interpolation"],
        begun["frozen"],
        begun["solve"]["symmetries"],
        begun["captures"]["hot_pixel_prob"],
    )
    check_recipe(run, begun)
    louder = replace(run, captures=replace(run.captures, noise_range=(0.0, 0.01)))
    with pytest.raises(UsageError, match=r"noise_range.*0\.005"):
        check_recipe(louder, begun)
    for changed in (
        replace(run, weight_interpolation=0.5, init_from="pnp"),
        replace(run, ema_decay=0.0),
    ):
        with pytest.raises(UsageError, match=r"weight_interpolation 1\.0|ema_decay 0\.5"):
            check_recipe(changed, begun)
    with pytest.raises(UsageError, match='"symmetries": 1'):
        check_recipe(replace(run, solve=EquilibriumSettings(memory=3, symmetries=2)), begun)


def poison(monkeypatch, broken) -> None:
    """Have the loss of some steps be nothing."""
    honest = DenoiserStage.forward

    def forward(self, step):
        loss, facts = honest(self, step)
        return loss * (float("nan") if step in broken else 1.0), facts

    monkeypatch.setattr(DenoiserStage, "forward", forward)


def test_a_step_whose_loss_is_not_finite_is_not_taken(data, tmp_path, monkeypatch, read_log):
    poison(monkeypatch, {7})
    done = train(config(data, tmp_path / "m", steps=10))
    assert done.steps == 10
    lines = read_log(done.out)
    assert [line["skipped"] for line in lines] == [0, 1]
    weights = zoo.load(str(done.out)).network.state_dict()
    assert all(torch.isfinite(w).all() for w in weights.values())


def test_a_run_that_takes_no_more_steps_ends_and_can_be_resumed(data, tmp_path, monkeypatch):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(config(data, whole, steps=80))
    with monkeypatch.context() as patch_size:
        poison(patch_size, range(7, 80))
        with pytest.raises(DeqsciError, match=r"50 steps in a row .* step 57"):
            train(config(data, broken, steps=80))
    # Later states hold the weights of step 7, the last that was taken.
    resumed = train(config(data, broken, steps=80, resume=True))
    assert resumed.steps == 80
    weights = zoo.load(str(broken)).network.state_dict()
    assert all(torch.isfinite(w).all() for w in weights.values())


@pytest.fixture
def interruptible():
    """Python's own answer to Ctrl-C, which a shell's background jobs lack."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_waits_until_nothing_is_half_done():
    with pytest.raises(KeyboardInterrupt), deferred_interrupt() as interrupted:
        signal.raise_signal(signal.SIGINT)
        done = "the step was finished"
        interrupted()
    assert done
    with pytest.raises(KeyboardInterrupt), deferred_interrupt():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)  # somebody means it
    with deferred_interrupt() as interrupted:
        interrupted()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
