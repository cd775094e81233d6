"""`deqsci train`: a file of settings, options before it, and mistakes told by their names."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from deqsci_cli import zoo
from deqsci_cli.errors import UsageError

FILE = """
stage = "equilibrium"
architecture = "cnn"
options = { channels = 4, depth = 2 }
steps = 5
batch_size = 3
patch_size = 12
validation_side = 16
seed = 7

[captures]
frames = [2]
noise_range = [0, 0]

[solve]
consistency_relaxation = 1.0
sigma = 0.03
max_iter = 6

[stability]
max_iter = 2
reuse_steps = 2
max_residual = 1.0
"""


@pytest.fixture
def clips(tmp_path):
    """A folder of one film."""
    folder = tmp_path / "clips"
    folder.mkdir()
    frame = (np.indices((28, 32)).sum(0) % 16 * 15).astype(np.uint8)
    iio.imwrite(folder / "a.gif", np.stack([np.roll(frame, t, 1) for t in range(4)]))
    return folder


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(FILE, encoding="utf-8")
    return path


def test_a_file_alone(run, clips, file, tmp_path):
    where = {"data": [str(clips)], "validation": str(clips), "out": str(tmp_path / "mine")}
    lines = [f"{key} = {value!r}" for key, value in where.items()]
    file.write_text("\n".join(lines) + FILE, encoding="utf-8")
    result = run("train", "--config", file)
    assert f"{tmp_path / 'mine'}: 5 steps, best validation PSNR" in result.stdout
    card = zoo.read_card(tmp_path / "mine")
    assert card.equilibrium == {"consistency_relaxation": 1.0, "sigma": 0.03, "max_iter": 6}
    assert card.training["steps"] == 5 and card.training["batch_size"] == 3
    assert card.training["seed"] == 7 and card.training["captures"]["noise_range"] == [0.0, 0.0]


def test_options_go_before_the_file_and_assignments_before_both(run, clips, file, tmp_path):
    out = tmp_path / "mine"
    run(
        *("train", clips, "--validation", clips, "-o", out, "--config", file),
        *("--steps", "4", "--seed", "8", "--set", "steps=3", "--set", "solve.sigma=0.04"),
        *("--set", "gradient.form=neumann:2", "--set", "captures.frame_strides=[1]"),
    )
    card = zoo.read_card(out)
    assert card.equilibrium == {"consistency_relaxation": 1.0, "sigma": 0.04, "max_iter": 6}
    training = card.training
    assert training["steps"] == training["steps_done"] == 3 and training["seed"] == 8
    assert training["batch_size"] == 3 and training["gradient"] == {"form": "neumann:2"}
    assert training["captures"] == {"frames": [2], "noise_range": [0.0, 0.0], "frame_strides": [1]}


def test_a_stopped_run_goes_on_by_the_same_command(run, clips, file, tmp_path):
    """The same weights as those of a run that was longer from the start."""
    command = ("train", clips, "--validation", clips, "--config", file, "--set", "stage=denoiser")
    run(*command, "-o", tmp_path / "m", "--steps", "2")
    with pytest.raises(UsageError, match="--overwrite"):
        run(*command, "-o", tmp_path / "m")
    told = run(*command, "-o", tmp_path / "m", "--resume").stderr
    assert "resumed at step 2" in told and "step 5: psnr" in told
    assert "best so far" in told
    quiet = run(*command, "-o", tmp_path / "m", "--resume", "--quiet")
    assert quiet.stderr == "" and "5 steps" in quiet.stdout


def test_from_a_model(run, clips, tmp_path):
    common = ("--validation", clips, "--patch-size", "12", "--batch-size", "1")
    first, second = tmp_path / "first", tmp_path / "second"
    size = ("--set", "options.channels=4", "--set", "options.depth=2")
    run("train", clips, *common, "-o", first, "--architecture", "cnn", "--steps", "2", *size)
    run("train", clips, *common, "-o", second, "--init-from", first, "--steps", "1")
    models = [zoo.load(str(folder)) for folder in (first, second)]
    assert models[1].card.options == {"channels": 4, "depth": 2}
    assert models[1].card.training["init_from"] == "first"
    pairs = zip(*(model.network.parameters() for model in models), strict=True)
    assert all(0 < float((a - b).abs().max()) <= 1.1e-3 for a, b in pairs)  # one step of Adam


def test_what_the_recipe_leaves_out_of_solve_is_the_models(run, clips, file, tmp_path):
    common = ("train", clips, "--validation", clips, "--patch-size", "12", "--batch-size", "1")
    common += ("--steps", "1", "--set", "captures.frames=[2]", "--stage", "equilibrium")
    run("train", clips, "--validation", clips, "-o", tmp_path / "first", "--config", file)
    run(*common, "-o", tmp_path / "second", "--init-from", tmp_path / "first")
    run(*common, "-o", tmp_path / "third", "--init-from", tmp_path / "first",
        "--set", "solve.sigma=0.05")  # fmt: skip
    first, second, third = (
        zoo.read_card(tmp_path / name).equilibrium for name in ("first", "second", "third")
    )
    assert second == first == {"consistency_relaxation": 1.0, "sigma": 0.03, "max_iter": 6}
    assert third == first | {"sigma": 0.05}


def test_steps_that_are_asked_for_go_before_the_minutes_of_a_recipe(run, clips, file, tmp_path):
    file.write_text(FILE.replace("steps = 5", "steps = 5\nminutes = 10"), encoding="utf-8")
    common = ("train", clips, "--validation", clips, "--config", file, "--steps", "2")
    assert ": 2 steps" in run(*common, "-o", tmp_path / "m").stdout


def test_a_model_called_like_a_released_one_is_told_by_its_place(run, clips, file, tmp_path):
    common = ("train", clips, "--validation", clips, "--config", file, "--steps", "1")
    with contextlib.chdir(tmp_path):
        assert run(*common, "-o", "pnp").stdout.endswith("use it with --model ./pnp\n")
        assert zoo.find("./pnp") == Path("pnp")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("stepz = 3", ("unknown key 'stepz'", "did you mean 'steps'?")),
        ("solve.max_iters = 3", ("unknown key 'solve.max_iters'", "did you mean 'max_iter'?")),
        ("captures.frames = 8", ("'captures.frames' must be a list of whole numbers",)),
        ("batch_size = 0", ("batch_size must be at least 1",)),
        ("captures.mask = 1\nsteps = 'ten'",
         ("unknown key 'captures.mask'", "did you mean 'mask", "'steps' must be a whole number")),
        ("stage = 'equilibrium'\nsolve.warmup = [[0.2, 3]]", ("a warm-up is not trained through",)),
        ("gradient.form = 'newton'", ("there is no gradient 'newton'", "neumann:K")),
    ],
)  # fmt: skip
def test_a_mistake_in_the_file_is_told_by_its_name(run, clips, tmp_path, line, words):
    file = tmp_path / "wrong.toml"
    file.write_text(f"architecture = 'cnn'\n{line}\n", encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        run("train", clips, "--validation", clips, "-o", tmp_path / "m", "--config", file)
    assert caught.value.exit_code == 2 and caught.value.path == file
    for word in words:
        assert word in str(caught.value)
    assert not (tmp_path / "m").exists()


def test_a_mistake_by_a_real_process(deqsci, file):
    file.write_text("stepz = 3\n", encoding="utf-8")
    result = deqsci("train", "--config", "recipe.toml")
    assert result.returncode == 2 and "Traceback" not in result.stderr and result.stdout == ""
    # All at once: what is unknown, and what is missing.
    for words in ("recipe.toml: unknown key 'stepz'", "'data' is missing", "'out' is missing"):
        assert words in result.stderr
    assert result.stderr.count("error:") == 1


def test_what_is_missing_is_told_at_once(run):
    with pytest.raises(UsageError) as caught:
        run("train", "--architecture", "cnn")
    assert caught.value.exit_code == 2 and caught.value.path is None
    for name in ("data", "validation", "out"):
        assert f"'{name}' is missing" in str(caught.value)


@pytest.mark.parametrize("content", [None, b"steps = ", b"steps = 1\nsteps = 2", b"\xff\xfe"])
def test_a_file_that_cannot_be_read(run, tmp_path, content):
    path = tmp_path / "broken.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=r"broken\.toml: the config cannot be read"):
        run("train", "--config", path)


@pytest.mark.parametrize(
    "assignment", ["steps", "=3", "solve.=3", "solve.sigma.deep=1", "stepz=1", "steps=three"]
)
def test_assignments_that_set_nothing(run, clips, file, tmp_path, assignment):
    arguments = ("train", clips, "--validation", clips, "-o", tmp_path / "m", "--config", file)
    with pytest.raises(UsageError) as caught:
        run(*arguments, "--set", assignment)
    assert assignment.split("=")[0].split(".")[0] in str(caught.value)
    assert not (tmp_path / "m").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="interrupts are told otherwise there")
def test_interrupted_and_resumed(run, clips, file, tmp_path, environment):
    command = [
        *("train", str(clips), "--validation", str(clips), "--config", str(file)),
        *("-o", str(tmp_path / "m"), "--validate-every", "5"),
    ]
    with subprocess.Popen(
        [sys.executable, "-m", "deqsci_cli", *command, "--steps", "100000"],
        cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True,
        # Of a job in the background it would be ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:  # fmt: skip
        first = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert first.startswith("step 5: psnr") and "Traceback" not in rest
    assert process.returncode == 130
    (told,) = re.findall(r"resumed at step (\d+)", run(*command, "--resume").stderr)
    assert int(told) >= 5


def test_help_needs_no_torch(environment):
    code = (
        "import sys; sys.argv = ['deqsci', 'train', '--help']\n"
        "from deqsci_cli.cli.app import app\n"
        "try: app()\nexcept SystemExit as end: assert end.code == 0\n"
        "assert 'torch' not in sys.modules, 'torch was imported'"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert "--config" in done.stdout and "--set" in done.stdout
