"""Help in groups, with defaults and examples, each of which runs."""

from __future__ import annotations

import re
import shlex
import shutil

import imageio.v3 as iio
import numpy as np
import pytest
import scipy.io
import tifffile
import torch
from typer.main import get_command

from deqsci_cli.cli import choices
from deqsci_cli.cli.app import app
from deqsci_cli.cli.examples import EXAMPLES
from deqsci_cli.cli.options import PANELS
from deqsci_cli.networks.registry import build

# What keeps an example short; where an option is given twice the last one counts.
SHORT = {
    "reconstruct": "--max-iter 2",
    "evaluate": "--max-iter 2",
    "diagnose": "--evaluations 2 --side 16",
    "adapt": "--steps 1 --batch-size 1 --patch-size 16",
    "train": "--steps 1 --batch-size 1 --patch-size 16 --set validation_side=16 "
    "--set solve.max_iter=2 --set stability.max_iter=2",
}
COMMANDS = get_command(app).commands


@pytest.fixture
def lab(tmp_path, capture, moving_scene, monkeypatch):
    """The folder that the examples are run in."""
    monkeypatch.chdir(tmp_path)
    content = scipy.io.loadmat(capture)
    mask = content["mask"].transpose(2, 0, 1)
    for path in ("capture.mat", "night/a.mat", "night/b.mat"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        shutil.copy(capture, path)
    capture.unlink()
    scipy.io.savemat("mask.mat", {"mask": content["mask"]})
    film = np.rint(255 * moving_scene).astype(np.uint8)
    for folder in ("clips", "held-out"):
        (tmp_path / folder).mkdir()
        iio.imwrite(f"{folder}/a.gif", np.tile(film, (3, 1, 1)))
    iio.imwrite("clip.gif", film)
    (tmp_path / "positions").mkdir()
    for index, pattern in enumerate(mask):
        tifffile.imwrite(f"positions/{index:02d}.tif", (20 + 200 * pattern).astype(np.uint8))
    tifffile.imwrite("dark.tif", np.full(mask.shape[1:], 20, np.uint8))
    tifffile.imwrite("white.tif", np.full(mask.shape[1:], 220, np.uint8))
    torch.save(build("cnn", {"channels": 4}).state_dict(), "cnn.ckpt")
    (tmp_path / "run.toml").write_text('model = "gap-tv"\nmax_iter = 3\n', encoding="utf-8")


def test_every_example_runs(run, lab):
    """In this order: some read what others write."""
    for command in ("calibrate", *(name for name in EXAMPLES if name != "calibrate")):
        for example in EXAMPLES[command]:
            program, *arguments = shlex.split(example)
            assert program == "deqsci"
            short = SHORT.get(command, "") if "--truth" not in arguments else ""
            result = run(*arguments, *short.split())
            assert result.exit_code == 0, (example, result.output)


@pytest.mark.parametrize(
    "path", [(name,) for name in COMMANDS] + [("models", "show"), ("models", "diagnose")]
)
def test_examples_and_groups(run, path):
    shown = run(*path, "--help").stdout
    squeezed = " ".join(shown.split())
    for example in EXAMPLES[path[-1]]:
        assert example.split(" ", 1)[1] in squeezed, example
    places = [shown.find(f"─ {panel} ") for panel in PANELS[1:]]
    given = [place for place in places if place >= 0]
    assert given and given == sorted(given)


@pytest.mark.parametrize("command", ["reconstruct", "evaluate"])
def test_what_the_card_decides(run, command):
    shown = " ".join(run(command, "--help").stdout.replace("│", " ").split())
    for option in ("--tol", "--max-iter", "--symmetries", "--solver"):
        text = shown.split(f" {option} ")[1].split(" --")[0]
        assert "default: (from the model's card)" in text, option


def test_every_option_is_in_a_group():
    """But `--help`; without one it would stand apart, at the top."""
    models = COMMANDS["models"].commands
    for command in (*(COMMANDS[n] for n in COMMANDS if n != "models"), *models.values()):
        for option in command.params:
            if option.opts[0].startswith("-"):
                assert option.rich_help_panel in PANELS[1:], (command.name, option.name)


@pytest.mark.parametrize(
    ("command", "option", "words"),
    [
        ("simulate", "mask_kind", choices.mask_kinds),
        ("train", "stage", choices.stages),
        ("train", "dtype", choices.training_dtypes),
        ("train", "architecture", lambda: {*choices.architectures()} - {"tv"}),  # has no weights
        ("convert", "architecture", choices.published),
        ("reconstruct", "film_format", choices.formats),
        ("reconstruct", "solver", choices.solvers),
    ],
)
def test_the_help_lists_what_may_be_said(command, option, words):
    """Written out there, so that a help needs none of the modules that know."""
    (shown,) = (p.help for p in COMMANDS[command].params if p.name == option)
    assert {*words()} <= {*re.split(r"[\s,.:;()]+", shown)}
