"""The stage `equilibrium` on films of six frames, by networks of four channels."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from safetensors.torch import load_file

from deqsci_cli import zoo
from deqsci_cli.config import build, read_toml, to_table
from deqsci_cli.equilibrium.gradients import GradientForm, Linearised
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.errors import DeqsciError, InputError, UsageError
from deqsci_cli.reconstructor import reconstruct
from deqsci_cli.runtime.events import Stepped, Validated
from deqsci_cli.training.capture_settings import CaptureSettings
from deqsci_cli.training.captures import CaptureSampler
from deqsci_cli.training.checkpoint import STATE
from deqsci_cli.training.equilibrium import (
    EquilibriumStage,
    GradientSettings,
    StabilitySettings,
    log_loss,
    mean_psnr,
)
from deqsci_cli.training.log import LOG
from deqsci_cli.training.patches import load_clips
from deqsci_cli.training.settings import TrainConfig
from deqsci_cli.training.train import train
from deqsci_cli.training.validation import EquilibriumValidation

SMALL = {"channels": 4, "depth": 2}
STABLE = StabilitySettings(max_iter=3, reuse_steps=3, max_residual=1.0)
CAPTURES = CaptureSettings(frames=(3,))


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def config(films: tuple[Path, Path], out: Path, **changes) -> TrainConfig:
    base = TrainConfig(
        data=(films[0],), validation=films[1], out=out, stage="equilibrium", architecture="cnn",
        options=SMALL, steps=10, batch_size=2, patch_size=12, learning_rate=3e-3, validate_every=4,
        validation_side=16, device="cpu", captures=CAPTURES,
        solve=EquilibriumSettings(max_iter=8), stability=STABLE,
    )  # fmt: skip
    return replace(base, **changes)


def start_from(folder: Path) -> dict:
    return {"init_from": str(folder), "architecture": None, "options": {}}


class Steps(list):
    """The steps of a run, as they are told."""

    def __call__(self, event) -> None:
        if isinstance(event, Stepped):
            self.append(event)


def validation(films, settings: EquilibriumSettings) -> EquilibriumValidation:
    return EquilibriumValidation(load_clips([films[1]]), frames=3, side=16, solve=settings)


def test_what_is_nearly_perfect_does_not_drown_the_rest():
    torch.manual_seed(0)
    truth = torch.rand(2, 4, 16, 16)
    wrong = torch.randn(truth.shape) * torch.tensor([10**-1.5, 1e-3]).view(-1, 1, 1, 1)
    video = (truth + wrong).requires_grad_()
    log_loss((video - truth).square().flatten(1).mean(1)).backward()
    rough, fine = video.grad.flatten(1).norm(dim=1).tolist()
    # By the logarithm alone the capture at 60 dB would pull 31 times as strongly as that at 30.
    assert 0.7 < fine / rough < 1.5
    assert mean_psnr(video.detach(), truth) == pytest.approx(45, abs=0.5)  # four standard errors


def test_the_loss_falls_and_the_equilibrium_gets_better(films, denoiser, tmp_path):
    steps, solve = Steps(), EquilibriumSettings(max_iter=20)
    run = config(
        films, tmp_path / "m", steps=60, batch_size=4, validate_every=60, solve=solve,
        stability=replace(STABLE, max_iter=5), **start_from(denoiser),
        captures=replace(
            CAPTURES, masks=("binary",), gain_range=(1.0, 1.0), noise_range=(0.0, 0.0)
        ),
    )  # fmt: skip
    measure = validation(films, solve)
    before = measure(zoo.load(str(denoiser)).network)
    result = train(run, steps)
    # Seeds 0 to 3 gain 3.8 to 4.3 dB; their losses, a tenth of a PSNR, fall by 0.26 to 0.39.
    assert result.figures["psnr"] > before["psnr"] + 2
    losses = [step.loss for step in steps]
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) - 0.1
    # The figures are those of the weights that were written.
    after = measure(zoo.load(str(run.out)).network)
    assert after == pytest.approx(result.figures, rel=1e-4)


@pytest.mark.parametrize(
    ("architecture", "form"),
    [
        *(("cnn", form) for form in ("exact", "jfb", "neumann:2", "phantom:2,0.8", "unrolled:2")),
        *(("rsn-cnn", form) for form in ("exact", "jfb", "phantom:2,0.8")),
    ],
)
def test_a_resumed_run_ends_like_an_uninterrupted_one(
    films, tmp_path, read_log, stop_at, architecture, form
):
    changes = {"architecture": architecture, "gradient": GradientSettings(form)}
    if form in ("exact", "phantom:2,0.8"):
        more = {
            "jacobian": 0.01,
            "spectral_penalty": 0.1,
            "n_correction_losses": 2,
            "first_max_iter": 2,
        }
        changes["stability"] = replace(STABLE, **more)
    whole = config(films, tmp_path / "whole", **changes)
    parts = config(films, tmp_path / "parts", **changes)
    expected = train(whole)
    # While its batches are reused, at a validation, before one, and after all steps.
    for step, kind in ((2, Stepped), (4, Validated), (5, Stepped), (8, Stepped), (10, Stepped)):
        with pytest.raises(KeyboardInterrupt):
            train(parts, stop_at(step, kind))
        parts = replace(parts, resume=True)
        alive = [k for k in load_file(parts.out / STATE) if k.startswith("state.")]
        assert 1 <= len(alive) <= 3
    found = train(parts)
    assert found.steps == expected.steps == 10 and found.figures == expected.figures
    assert (parts.out / zoo.WEIGHTS).read_bytes() == (whole.out / zoo.WEIGHTS).read_bytes()
    assert read_log(parts.out) == read_log(whole.out)
    assert [line["step"] for line in read_log(whole.out)] == [4, 8, 10]
    states = [load_file(run.out / STATE) for run in (parts, whole)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL there")
def test_a_killed_run_can_be_resumed(films, tmp_path, read_log, environment):
    file = tmp_path / "run.toml"
    file.write_text(
        f"""
        data = [{json.dumps(str(films[0]))}]
        validation = {json.dumps(str(films[1]))}
        stage = "equilibrium"
        architecture = "rsn-cnn"
        options = {{ channels = 4, depth = 2 }}
        steps = 40
        batch_size = 2
        patch_size = 12
        validate_every = 10
        validation_side = 16
        device = "cpu"
        captures.frames = [3]
        solve.max_iter = 8
        stability = {{ max_iter = 3, reuse_steps = 3, max_residual = 1.0 }}
        """,
        encoding="utf-8",
    )
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "deqsci_cli", "train", "--config", str(file), "-o", str(out)]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        told = process.stderr.readline()
        process.kill()
    assert told.startswith("step 10: psnr"), told
    assert process.returncode == -signal.SIGKILL
    # As if it had come a little later: after a line, before its state, and within another line.
    with (out / LOG).open("a", encoding="utf-8") as log:
        log.write('{"step": 1000, "psnr": 1.0}\n{"step": 10')
    table = read_toml(file)
    expected = train(build(TrainConfig, table | {"out": str(tmp_path / "whole")}))
    found = train(build(TrainConfig, table | {"out": str(out), "resume": True}))
    assert found.figures == expected.figures
    assert (out / zoo.WEIGHTS).read_bytes() == (expected.out / zoo.WEIGHTS).read_bytes()
    assert read_log(out) == read_log(expected.out)


def test_a_state_without_fixed_points_is_of_the_weights_alone(films, denoiser, tmp_path, stop_at):
    # At a map that contracts, so that a fixed point solved for anew is the one that was lost.
    whole = config(films, tmp_path / "whole", **start_from(denoiser))
    parts = replace(whole, out=tmp_path / "parts", save_fixed_points=False)
    expected = train(whole)
    for step in (4, 7):
        with pytest.raises(KeyboardInterrupt):
            train(parts, stop_at(step))
        assert not [k for k in load_file(parts.out / STATE) if k.startswith("state.")]
        parts = replace(parts, resume=True)
    found = train(replace(parts, save_fixed_points=True))
    assert found.steps == 10
    assert found.figures["psnr"] == pytest.approx(expected.figures["psnr"], abs=0.05)
    assert [k for k in load_file(parts.out / STATE) if k.startswith("state.")]
    assert "save_fixed_points" not in zoo.read_card(parts.out).training


class Drawn(CaptureSampler):
    """Keeps which step's captures were asked for, and knows them again."""

    def __init__(self, *arguments, **settings):
        super().__init__(*arguments, **settings)
        self.calls: list[int] = []
        self.step_of: dict[bytes, int] = {}

    def __call__(self, step):
        self.calls.append(step)
        batch = super().__call__(step)
        self.step_of[batch.measurement.numpy().tobytes()] = step
        return batch


class Stepping(EquilibriumStage):
    """Keeps which step's captures were solved."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.visited: list[int] = []

    def _settle(self, f, state, step, facts):
        self.visited.append(self.sample.step_of[f.measurement.numpy().tobytes()])
        return super()._settle(f, state, step, facts)


def stage(films, denoiser, **stability) -> Stepping:
    sample = Drawn(load_clips([films[0]]), CAPTURES, patch_size=8, batch_size=1, seed=0)
    return Stepping(
        zoo.load(str(denoiser)).network, sample,
        EquilibriumSettings(consistency_relaxation=1.0, tol=1e-12),
        GradientSettings("jfb"), replace(STABLE, **stability),
    )  # fmt: skip


def test_a_state_that_ran_away_is_not_kept(films, denoiser):
    """Else the batch's next uses were lost too, and the state could not be resumed from."""
    running = stage(films, denoiser, reuse_steps=3)
    running.form = GradientForm.parse("unrolled:3")
    running(0)
    assert list(running.states) == [0]
    with torch.no_grad():
        for weight in running.network.parameters():
            weight.mul_(1e30)
    running(3)
    assert running.visited == [0, 0]
    assert not running.states and not running.films


@pytest.mark.parametrize("reuse_steps", [2, 3, 4])
def test_a_batch_is_seen_several_times_at_staggered_ages(films, denoiser, reuse_steps):
    stepping = stage(films, denoiser, reuse_steps=reuse_steps, max_iter=1)
    count = 10 * reuse_steps
    last_uses = []
    for step in range(count):
        _, facts = stepping(step)
        assert len(stepping.states) <= reuse_steps
        if "spectral_radius" in facts:
            last_uses.append(step)
    drawn = stepping.visited
    seen = {n: [step for step in range(count) if drawn[step] == n] for n in set(drawn)}
    for first, steps in seen.items():
        assert steps == list(range(first, first + reuse_steps * len(steps), reuse_steps))
        ended = steps[-1] + reuse_steps < count
        if first >= reuse_steps and ended:
            assert len(steps) == reuse_steps
        assert (steps[-1] in last_uses) or not ended
    assert sorted(len(seen[n]) for n in range(reuse_steps)) == list(range(1, reuse_steps + 1))
    assert set(last_uses) <= {steps[-1] for steps in seen.values()}
    ages = [sum(n == drawn[step] for n in drawn[:step]) for step in range(count)]
    for begin in range(reuse_steps**2, count, reuse_steps):
        assert sorted(ages[begin : begin + reuse_steps]) == list(range(reuse_steps))
    # What is kept is of the batches that are seen again, and of no others.
    for step in range(count, count + reuse_steps):
        stepping(step)
    again = stepping.visited[count:]
    assert {n for n in again if n < count} == {n for n, steps in seen.items() if n in again}
    # Captures are made once, not at every visit.
    assert max(Counter(stepping.sample.calls).values()) == 1


def test_one_visit_is_a_new_batch_each_step(films, denoiser):
    stepping = stage(films, denoiser, reuse_steps=1, max_iter=1)
    for step in range(6):
        _, facts = stepping(step)
        assert stepping.states == {} and "spectral_radius" in facts
    assert stepping.visited == list(range(6))


def test_a_batch_goes_on_from_where_it_was_left(films, denoiser):
    stepping = stage(films, denoiser, reuse_steps=4, max_iter=4)
    residuals = [stepping(step)[1]["residual"] for step in range(0, 16, 4)]
    assert Counter(stepping.visited) == {0: 4}
    assert all(np.diff(residuals) < 0) and residuals[-1] < 0.1 * residuals[0]


def test_a_fixed_point_that_was_not_kept_is_solved_for_anew(films, denoiser):
    def residual(reuse_steps: int, lost_at: int) -> float:
        stepping = stage(films, denoiser, reuse_steps=4, max_iter=4)
        for visit in range(reuse_steps):
            if visit == lost_at:
                stepping.states.clear()
                stepping.films.clear()
            facts = stepping(4 * visit)[1]
        return facts["residual"]

    first, kept, lost = residual(1, -1), residual(4, -1), residual(4, 3)
    # As many evaluations without a break come at least as near, far nearer than a first visit.
    assert lost < 1.1 * kept < 0.1 * first


def test_a_share_of_the_captures_starts_elsewhere(films, denoiser):
    stepping = stage(films, denoiser, random_start_prob=0.6)
    kinds = Counter()
    for step in range(200):
        f, _ = stepping.film(step)
        average = f.operator.normalized_measurement(f.measurement)
        adjoint = f.operator.mask * f.measurement
        found = stepping.start(f, step)
        assert torch.equal(found, stepping.start(f, step))
        is_average, is_adjoint = torch.equal(found, average), torch.allclose(found, adjoint)
        if not (is_average or is_adjoint):
            assert 0.2 < found.std() < 0.4 and abs(found.mean() - 0.5) < 0.1  # noise
        kinds["average" if is_average else "adjoint" if is_adjoint else "noise"] += 1
    # The average is also the model's own start. Five standard deviations: 33, 28, 28.
    assert abs(kinds["average"] - 120) < 33
    assert abs(kinds["adjoint"] - 40) < 28 and abs(kinds["noise"] - 40) < 28


def test_symmetries_are_for_use_and_cost_training_nothing(films, denoiser):
    stepping = stage(films, denoiser)
    stepping.solve = replace(stepping.solve, symmetries=4)
    f, truth = stepping.film(0)
    assert f.denoiser is stepping.network
    # Where the model is looked at they are taken: any network turns as the film is turned.
    look = validation(films, stepping.solve)
    g, _ = next(look.maps(stepping.network))
    found = {}
    for name, asked in (("training", f), ("validation", g)):
        turned = asked.denoiser(truth.rot90(2, (2, 3)), 0.1).rot90(2, (2, 3))
        found[name] = float((turned - asked.denoiser(truth, 0.1)).detach().abs().max())
    assert found["validation"] < 1e-6 < 1e-4 < found["training"]


def test_a_step_too_far_from_its_fixed_point_is_not_taken(films, denoiser, tmp_path, read_log):
    steps = Steps()
    run = config(
        films, tmp_path / "m", steps=6, stability=replace(STABLE, max_residual=1e-9),
        **start_from(denoiser),
    )  # fmt: skip
    result = train(run, steps)
    assert result.steps == len(steps) == 6
    assert [line["skipped"] for line in read_log(run.out)] == [4, 6]
    assert zoo.read_card(run.out).training["skipped"] == 6
    before, after = (zoo.load(str(m)).network.state_dict() for m in (denoiser, run.out))
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_fifty_steps_not_taken_end_the_run(films, denoiser, tmp_path):
    steps = Steps()
    run = config(
        films, tmp_path / "m", steps=60, batch_size=1, patch_size=8, validate_every=100,
        stability=replace(STABLE, max_iter=1, max_residual=1e-9), **start_from(denoiser),
    )  # fmt: skip
    with pytest.raises(DeqsciError, match=r"50 steps in a row .* step 50") as caught:
        train(run, steps)
    assert len(steps) == 49 and caught.value.path == run.out and caught.value.exit_code == 1


def test_evaluations_rise_over_the_first_half(films, tmp_path):
    steps = Steps()
    run = config(
        films, tmp_path / "m", steps=12, validate_every=12,
        solve=EquilibriumSettings(tol=1e-12, max_iter=2),
        stability=replace(STABLE, first_max_iter=2, max_iter=7),
    )  # fmt: skip
    train(run, steps)
    found = np.array([step.facts["evaluations"] for step in steps])
    line = 2 + 5 * np.minimum(1, np.arange(12) / 6)
    assert np.abs(found - line).max() <= 0.5
    assert found[0] == 2 and all(found[6:] == 7)


def test_the_slow_mode_is_found_in_what_still_moves(films, denoiser):
    # 4000 modes up to 0.9 and one of 0.99, which is what is left over after 200 evaluations.
    modes = torch.cat((torch.linspace(0, 0.9, 4000), torch.tensor([0.99])))[None]
    at = Linearised(lambda x: modes * x, modes**200)
    found: dict[str, dict[str, float]] = {"residual": {}, "random": {}}
    for mode, facts in found.items():
        stage(films, denoiser, spectral_penalty=1.0, power_iteration_start=mode)._penalty(
            at, 0, facts
        )
    assert found["residual"]["spectral_radius"] == pytest.approx(0.99, abs=1e-3)
    assert found["random"]["spectral_radius"] < 0.95


@pytest.mark.parametrize("penalty", ["jacobian", "spectral_penalty"])
def test_a_penalty_makes_the_map_contract_more(films, denoiser, tmp_path, read_log, penalty):
    radii = []
    for weight in (0.0, 1000.0):
        without = {
            "jacobian": 0.0,
            "spectral_penalty": 0.0,
            "spectral_target": 0.5,
            "reuse_steps": 1,
        }
        run = config(
            films, tmp_path / str(weight), steps=30, validate_every=30, learning_rate=1e-2, seed=3,
            solve=EquilibriumSettings(consistency_relaxation=1.0, max_iter=20),
            stability=replace(STABLE, **without | {penalty: weight}), **start_from(denoiser),
        )  # fmt: skip
        train(run)
        (line,) = read_log(run.out)
        radii.append(line["spectral_radius"])
        assert ("train/spectral_radius" in line) == (penalty == "spectral_penalty" and weight > 0)
        assert ("train/jacobian" in line) == (penalty == "jacobian" and weight > 0)
    # Seeds 0 to 4: 0.97 to 0.98 without, 0.84 to 0.91 with; the least difference is 0.07.
    assert radii[1] < radii[0] - 0.1


def test_a_model_brings_its_architecture_and_its_weights(films, denoiser, tmp_path):
    run = config(films, tmp_path / "mine", steps=2, **start_from(denoiser))
    train(run)
    card = zoo.read_card(run.out)
    assert card.architecture == "cnn" and card.options == SMALL
    assert card.training["init_from"] == "small"
    # Another seed draws other captures, but the weights are the same ones.
    moved = [
        float((a - b).abs().max())
        for a, b in zip(
            zoo.load(str(denoiser)).network.parameters(),
            zoo.load(str(run.out)).network.parameters(),
            strict=True,
        )
    ]
    # Adam's first step is the learning rate; by Cauchy-Schwarz its second is at most 1.0014 of it.
    assert all(0 < most <= 2.0015 * run.learning_rate for most in moved)


def test_a_blend_lies_between_the_first_weights_and_the_trained_ones(films, denoiser, tmp_path):
    folders = [denoiser]
    for blend in (0.25, 1.0):
        run = config(
            films,
            tmp_path / f"blend{blend}",
            steps=4,
            weight_interpolation=blend,
            **start_from(denoiser),
        )
        train(run)
        folders.append(run.out)
    first, mixed, trained = (zoo.load(str(f)).network.state_dict() for f in folders)
    for name, weight in first.items():
        torch.testing.assert_close(mixed[name], 0.75 * weight + 0.25 * trained[name])
        assert not torch.equal(weight, trained[name])
    with pytest.raises(UsageError, match="weight_interpolation"):
        config(films, tmp_path / "none", weight_interpolation=0.5)


def test_the_card_and_what_it_is_good_for(films, tmp_path):
    solve = EquilibriumSettings(
        consistency_relaxation=1.0, sigma=0.03, start="gap-tv", max_iter=9, tol=1e-2
    )
    run = config(films, tmp_path / "small-gap", steps=4, solve=solve)
    result = train(run)
    model = zoo.load(str(run.out))
    card = model.card
    assert card.name == "small-gap" and card.summary == "cnn trained at its equilibrium"
    assert card.equilibrium == to_table(solve, only_changed=True)
    assert set(card.equilibrium) == {
        "consistency_relaxation", "sigma", "start", "max_iter", "tol"
    }  # fmt: skip
    assert EquilibriumSettings.from_card(card.equilibrium) == solve
    assert card.training["stage"] == "equilibrium"
    assert card.training["captures"] == {"frames": [3]}
    assert card.training["data"] == ["train"] and card.training["validation"] == "held"
    assert str(films[0].parent) not in (text := (run.out / zoo.CARD).read_text())
    assert str(tmp_path) not in text
    assert card.figures["validation"]["psnr"] == pytest.approx(result.figures["psnr"], abs=1e-3)

    clip = load_clips([films[1]])[0][:3] / np.float32(255)
    mask = (np.random.default_rng(0).random(clip.shape) < 0.5).astype(np.float32)
    found = reconstruct((mask * clip).sum(0), mask, model)
    asked = reconstruct((mask * clip).sum(0), mask, model, solve)
    np.testing.assert_array_equal(found.video, asked.video)
    assert found.video.shape == clip.shape
    assert found.evaluations[0] <= 9 and np.isfinite(found.video).all()


def test_a_model_for_one_camera(films, tmp_path, read_log):
    path = tmp_path / "camera.mat"
    mask = np.random.default_rng(1).integers(1, 200, (20, 24, 4), dtype=np.uint8)
    scipy.io.savemat(path, {"mask": mask})
    run = config(films, tmp_path / "mine", steps=2, captures=CaptureSettings(mask_file=path))
    train(run)
    assert np.isfinite(read_log(run.out)[0]["psnr"])
    card = zoo.read_card(run.out)
    assert card.training["captures"] == {"mask_file": "camera.mat"}
    assert str(tmp_path) not in (run.out / zoo.CARD).read_text()
    with pytest.raises(InputError, match=r"camera\.mat"):
        train(replace(run, out=tmp_path / "large", validation_side=21))


def test_bfloat16(films, denoiser, tmp_path):
    steps = Steps()
    stable = replace(
        STABLE, reuse_steps=1, jacobian=0.01, spectral_penalty=0.1, spectral_target=0.0
    )
    run = config(films, tmp_path / "m", steps=3, dtype="bfloat16", stability=stable,
                 **start_from(denoiser))  # fmt: skip
    train(run, steps)
    single = Steps()
    train(replace(run, out=tmp_path / "single", dtype="float32"), single)
    before, found, expected = (
        zoo.load(str(m)).network.state_dict() for m in (denoiser, run.out, tmp_path / "single")
    )
    for name, weight in found.items():
        assert weight.dtype == torch.float32 and torch.isfinite(weight).all()
        assert not torch.equal(weight, before[name])
        assert not torch.equal(weight, expected[name])  # it did compute otherwise
    np.testing.assert_allclose([s.loss for s in steps], [s.loss for s in single], rtol=0.05)
    assert zoo.read_card(run.out).training["dtype"] == "bfloat16"


def scalars(out: Path) -> dict[str, list[tuple[int, float]]]:
    """Steps and values by name, as TensorBoard shows them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(out / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    return {
        name: [(event.step, event.value) for event in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }


def test_tensorboard(films, tmp_path, read_log):
    pytest.importorskip("tensorboard")
    steps = Steps()
    run = config(films, tmp_path / "m", tensorboard=True)
    train(run, steps)
    found = scalars(run.out)
    assert [n for n, _ in found["train/loss"]] == list(range(1, 11))
    np.testing.assert_allclose([v for _, v in found["train/loss"]], [s.loss for s in steps], 1e-6)
    assert [n for n, _ in found["psnr"]] == [4, 8, 10]
    psnr = [line["psnr"] for line in read_log(run.out)]
    np.testing.assert_allclose([value for _, value in found["psnr"]], psnr, 1e-6)


@pytest.mark.parametrize("end", [KeyboardInterrupt, RuntimeError])
def test_tensorboard_shows_no_step_twice_after_resuming(films, tmp_path, end):
    pytest.importorskip("tensorboard")

    def stop(event) -> None:
        if isinstance(event, Stepped) and event.step == 6:
            raise end  # only the interrupt saves a state, the other one is that of step 4

    run = config(films, tmp_path / "m", tensorboard=True)
    with pytest.raises(end):
        train(run, stop)
    assert [n for n, _ in scalars(run.out)["train/loss"]] == [1, 2, 3, 4, 5, 6]
    train(replace(run, resume=True))
    found = scalars(run.out)
    assert [n for n, _ in found["train/loss"]] == list(range(1, 11))
    assert [n for n, _ in found["psnr"]] == [4, 8, 10]


def test_a_validation_without_frames_enough(films, data, tmp_path):
    with pytest.raises(InputError, match="3 frames"):
        train(config(films, tmp_path / "m", validation=data[1]))


def test_a_warm_up_is_not_trained_through(films, tmp_path):
    solve = EquilibriumSettings(warmup=((0.2, 3),))
    with pytest.raises(UsageError, match="warm-up"):
        config(films, tmp_path, solve=solve)
    assert config(films, tmp_path, solve=solve, stage="denoiser").solve.warmup


@pytest.mark.parametrize("wrong", ["newton", "neumann", "phantom:2,1.5", ""])
def test_an_unknown_gradient(wrong):
    with pytest.raises(UsageError, match=f"no gradient '{wrong}'"):
        GradientSettings(wrong)


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        *((GradientSettings, wrong) for wrong in ({"tol": 0.0}, {"max_iter": 0})),
        *((StabilitySettings, {name: -1})
          for name in ("first_max_iter", "jacobian", "spectral_penalty", "spectral_target",
                       "n_correction_losses", "random_start_prob")),
        *((StabilitySettings, {name: 0}) for name in ("max_iter", "reuse_steps", "max_residual")),
        (StabilitySettings, {"random_start_prob": 1.5}),
        (StabilitySettings, {"power_iteration_start": "slowest"}),
    ],
)  # fmt: skip
def test_impossible_settings(settings, wrong):
    with pytest.raises(UsageError):
        settings(**wrong)
