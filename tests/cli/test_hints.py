"""What is said of a mistake can be followed, and what cannot be meant is refused by its name."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import get_type_hints

import h5py
import imageio.v3 as iio
import numpy as np
import pytest
import torch

from deqsci_cli import zoo
from deqsci_cli.engine.batch.plan import ReconstructConfig
from deqsci_cli.engine.benchmark import BenchmarkConfig
from deqsci_cli.engine.simulate import SimulateConfig
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.errors import DeqsciError, ModelError, UsageError
from deqsci_cli.networks.registry import build
from deqsci_cli.physics.noise import SensorNoise
from deqsci_cli.training.captures import CaptureSettings
from deqsci_cli.training.denoiser import DenoiserSettings
from deqsci_cli.training.equilibrium import GradientSettings, StabilitySettings
from deqsci_cli.training.settings import TrainConfig

A, B = Path("a"), Path("b")
CONFIGS = {
    EquilibriumSettings: {},
    CaptureSettings: {},
    GradientSettings: {},
    StabilitySettings: {},
    DenoiserSettings: {},
    SensorNoise: {},
    TrainConfig: {
        "data": (A,),
        "validation": A,
        "out": B,
        "architecture": "cnn",
        "init_from": "pnp",
    },
}


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.__name__)
def test_no_setting_is_nan(config):
    """Comparisons with NaN are false: a check must be one that it fails."""
    given = CONFIGS[config]
    sound = config(**given)
    for name, kind in get_type_hints(config).items():
        value = getattr(sound, name)
        if kind in (float, float | None):
            wrong = math.nan
        elif isinstance(value, tuple) and value and isinstance(value[0], float):
            wrong = (math.nan, *value[1:])
        else:
            continue
        with pytest.raises(UsageError):
            dataclasses.replace(sound, **{name: wrong})


@pytest.mark.parametrize("seed", [-1, 2**63, 2**64, 10**40])
def test_a_seed_that_no_generator_takes(run, capture, tmp_path, seed):
    for make in (
        lambda: ReconstructConfig((A,), B, seed=seed),
        lambda: BenchmarkConfig((A,), ("pnp",), seed=seed),
        lambda: SimulateConfig(A, B, seed=seed),
        lambda: TrainConfig((A,), A, B, architecture="cnn", seed=seed),
    ):
        with pytest.raises(UsageError, match="seed"):
            make()
    if seed > 0:
        with pytest.raises(UsageError, match="seed"):
            run("reconstruct", capture, "-o", tmp_path / "o", "--model", "gap-tv", "--seed", seed)
        with pytest.raises(UsageError, match="seed"):
            run("train", tmp_path, "--validation", tmp_path, "-o", tmp_path / "m",
                "--architecture", "cnn", "--seed", seed)  # fmt: skip
    assert not (tmp_path / "o").exists() and not (tmp_path / "m").exists()


@pytest.mark.parametrize("count", [0, -1])
def test_no_iterations_are_refused_everywhere(run, capture, tmp_path, count):
    for command in (
        ("reconstruct", capture, "-o", tmp_path / "o", "--model", "gap-tv", "--max-iter", count),
        ("evaluate", "--benchmark", capture, "--models", "gap-tv", "--max-iter", count),
    ):
        with pytest.raises(UsageError, match="at least 1"):
            run(*command)
    zoo.write_card(
        tmp_path / "m", zoo.Card("m", "", "tv", equilibrium={"max_iter": count}), overwrite=False
    )
    with pytest.raises(ModelError, match="at least 1"):
        zoo.load(str(tmp_path / "m"))


@pytest.mark.parametrize("option", ["channels=0", "depth=0", "channels=2.5", "channels=x", "d=1"])
def test_options_of_a_network_that_is_trained(run, tmp_path, moving_scene, option):
    iio.imwrite(tmp_path / "a.gif", np.rint(255 * moving_scene).astype(np.uint8))
    with pytest.raises(UsageError, match=option.partition("=")[0]):
        run("train", tmp_path, "--validation", tmp_path, "-o", tmp_path / "m",
            "--architecture", "cnn", "--set", f"options.{option}")  # fmt: skip
    assert not (tmp_path / "m").exists()


def refusal(run, *command) -> tuple[int, str]:
    """Exit code and words of a command that must not succeed."""
    try:
        result = run(*command)
    except DeqsciError as error:
        return error.exit_code, str(error)
    return result.exit_code, result.stderr.replace("\n", " ")


def test_arrays_are_named_by_options_that_are_there(run, tmp_path):
    """Each option of a hint is one of the command that gave it."""
    rng = np.random.default_rng(0)
    for name, arrays in (("two.h5", ("p", "q")), ("one.h5", ("video",))):
        with h5py.File(tmp_path / name, "w") as file:
            for key in arrays:
                file[key] = rng.random((4, 16, 20))
    iio.imwrite(tmp_path / "clip.gif", rng.integers(0, 256, (8, 16, 20), dtype=np.uint8))
    two, one = tmp_path / "two.h5", tmp_path / "one.h5"
    for command, hint in (
        (("view", two), "call it video in the file"),
        (("evaluate", two, "--truth", one), "call it video in the file"),
        (("evaluate", one, "--truth", two), "--truth-key"),
        (("evaluate", one, "--truth", two, "--truth-key", "pp"), "--truth-key p?"),
        (
            ("simulate", tmp_path / "clip.gif", "-o", tmp_path / "c.h5", "--mask", two),
            "call it mask",
        ),
    ):
        code, told = refusal(run, *command)
        assert code == 3 and str(two) in told and hint in told, (command, told)
        if "of a truth" not in told:  # which only `evaluate` reads
            shown = run(command[0], "--help").stdout
            options = [w.strip(",;?()") for w in told.split("(")[-1].split() if w[:2] == "--"]
            assert all(option in shown for option in options), (command, told)
    assert run("evaluate", one, "--truth", two, "--truth-key", "p").exit_code == 0


def test_a_video_in_place_of_a_capture(run, tmp_path):
    iio.imwrite(tmp_path / "clip.gif", np.zeros((8, 16, 20), np.uint8))
    code, told = refusal(run, "reconstruct", tmp_path / "clip.gif", "-o", tmp_path / "o")
    assert code == 3 and "deqsci simulate" in told


def test_weights_in_place_of_a_model(run, capture, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    zoo.save_model(
        tmp_path / "m", build("cnn", {"channels": 2}), zoo.Card("m", "", "cnn"), overwrite=False
    )
    torch.save({"a": torch.zeros(1)}, tmp_path / "x.ckpt")
    for name, words in (
        ("x.ckpt", "deqsci convert"),
        (str(tmp_path / "x.ckpt"), "deqsci convert"),
        ("m/model.safetensors", "give its folder, m"),
        ("m/card.json", "give its folder, m"),
    ):
        code, told = refusal(run, "reconstruct", capture, "-o", "o", "--model", name)
        assert code == 3 and words in told, (name, told)


def test_a_report_that_is_not_there(run, tmp_path):
    for path in (tmp_path, tmp_path / "report.json"):
        code, told = refusal(run, "view", path)
        assert code == 3 and "damaged" not in told and "copy" not in told, told


def test_what_training_needs_is_named_by_its_option(run, tmp_path):
    code, told = refusal(run, "train", tmp_path, "-o", tmp_path / "m", "--architecture", "cnn")
    assert code == 2 and "--validation" in told
