"""Several processes on one training give what one process gives."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from deqsci_cli import zoo
from deqsci_cli.config import build, read_toml
from deqsci_cli.errors import DeviceError, UsageError
from deqsci_cli.training import train as training
from deqsci_cli.training.parallel import Workers, is_first, join
from deqsci_cli.training.settings import TrainConfig
from deqsci_cli.training.train import train

COMMON = """
steps = 6
batch_size = 4
patch_size = 12
validate_every = 4
validation_side = 16
device = "cpu"
captures.frames = [3]
solve = { consistency_relaxation = 1.0, max_iter = 12 }
stability.max_iter = 3
stability.reuse_steps = 3
stability.jacobian = 0.01
stability.n_correction_losses = 1
stability.max_residual = 1.0
"""
NEW = 'architecture = "rsn-cnn"\noptions = { channels = 4, depth = 2 }'


def recipe(films: tuple[Path, Path], folder: Path, stage: str, start: str) -> Path:
    file = folder / "run.toml"
    text = f"""
        data = ["{films[0].as_posix()}"]
        validation = "{films[1].as_posix()}"
        stage = "{stage}"
        {start}
        {COMMON}
    """
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.skipif(sys.platform == "win32", reason="the wheels for it have no torchrun")
@pytest.mark.parametrize("stage", ["denoiser", "equilibrium"])
def test_two_processes_train_as_one(films, denoiser, tmp_path, read_log, environment, stage):
    # At a map that does not contract, Anderson's method would multiply the rounding.
    start = NEW if stage == "denoiser" else f'init_from = "{denoiser.as_posix()}"'
    file = recipe(films, tmp_path, stage, start)
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
        *("-m", "deqsci_cli", "train", "--config", str(file), "-o", str(tmp_path / "two")),
    ]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("two: 6 steps") == 1, done.stdout
    one = build(TrainConfig, read_toml(file) | {"out": str(tmp_path / "one")})
    train(one)

    folders = [tmp_path / "one", tmp_path / "two"]
    expected, found = (load_file(folder / zoo.WEIGHTS) for folder in folders)
    assert expected.keys() == found.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-6)
    logs = [read_log(folder) for folder in folders]
    assert [line["step"] for line in logs[1]] == [4, 6]
    for ours, theirs in zip(*logs, strict=True):
        assert ours.keys() == theirs.keys()
        for name in ours:
            np.testing.assert_allclose(theirs[name], ours[name], rtol=1e-3, atol=1e-5)

    # One process goes on where two have left off.
    longer = replace(one, out=tmp_path / "two", resume=True, steps=9)
    assert train(longer).steps == 9
    weights = load_file(tmp_path / "two" / zoo.WEIGHTS)
    assert all(torch.isfinite(weight).all() for weight in weights.values())


def test_a_batch_that_cannot_be_shared(films, tmp_path, monkeypatch):
    @contextmanager
    def join(device):
        yield Workers(0, 3, device)

    monkeypatch.setattr(training, "join", join)
    file = recipe(films, tmp_path, "denoiser", NEW)
    run = build(TrainConfig, read_toml(file) | {"out": str(tmp_path / "m")})
    with pytest.raises(UsageError, match="a batch of 4 cannot be shared by 3") as caught:
        train(run)
    assert caught.value.exit_code == 2 and not run.out.exists()


def test_one_process_agrees_with_itself():
    alone = Workers(0, 1, torch.device("cpu"))
    values = {"loss": 0.1, "residual": float("inf")}
    assert alone.mean(values) == values and alone.mean({}) == {}
    assert alone.any(True) is True and alone.any(False) is False
    module = torch.nn.Linear(2, 2)
    assert alone.wrap(module) is module and alone.share == (0, 1)
    alone.wait()


@pytest.fixture
def torchrun(monkeypatch):
    """Variables as torchrun sets them, with changes; None leaves one out."""

    def put(**changed: str | None) -> None:
        given = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "localhost"}
        for name, value in ({"MASTER_PORT": "1"} | given | changed).items():
            monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name, raising=False)

    return put


def test_more_processes_than_gpus(torchrun, monkeypatch):
    """Nobody waits for a process that cannot begin."""
    torchrun(RANK="2", LOCAL_RANK="2", WORLD_SIZE="3")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with (
        pytest.raises(DeviceError, match=r"2 CUDA device\(s\), not cuda:2") as told,
        join(torch.device("cuda")),
    ):
        pass
    assert told.value.exit_code == 4 and "--nproc-per-node" in told.value.hint


@pytest.mark.parametrize("changed", [{"WORLD_SIZE": "two"}, {"LOCAL_RANK": None}])
def test_an_environment_that_is_not_torchruns(torchrun, changed):
    torchrun(**changed)
    with pytest.raises(UsageError, match="torchrun"), join(torch.device("cuda")):
        pass


def test_a_rank_that_is_no_number(torchrun):
    torchrun(RANK="first")
    with pytest.raises(UsageError, match="RANK is 'first'"):
        is_first()


@pytest.mark.parametrize("changed", [{"MASTER_ADDR": None}, {"RANK": None}, {"MASTER_PORT": "x"}])
def test_processes_that_cannot_find_each_other(torchrun, changed):
    torchrun(**changed)
    with pytest.raises(DeviceError, match="do not find each other"), join(torch.device("cpu")):
        pass
