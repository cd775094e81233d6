"""What looks into files and cards alone does not wait for PyTorch, nor for SciPy where it can."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from deqsci_cli import zoo
from deqsci_cli.networks.registry import parameter_count

SAMPLES = Path(__file__).resolve().parents[2] / "sample_data"
LAST = """
import atexit, runpy, sys
atexit.register(lambda: print(*{"torch", "scipy"} & set(sys.modules), file=sys.stderr))
sys.argv[0] = "deqsci"
runpy.run_module("deqsci_cli", run_name="__main__")
"""


def imported(environment, tmp_path, *arguments) -> tuple[str, set[str]]:
    """What a command prints, and which of the slow libraries it has imported."""
    command = [sys.executable, "-c", LAST, *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (("--version",), "deqsci"),
        (("--help",), "reconstruct"),
        (("reconstruct", "--help"), "--model"),
        (("models",), "gap-tv"),
        (("models", "show", "pnp"), "not for commercial use"),
        (("models", "show", "gap-tv"), "MIT"),
        (("inspect", SAMPLES / "street.h5"), "as a capture"),
        (("reconstruct", SAMPLES / "street.h5", "--dry-run"), "to do"),
        (("reconstruct", SAMPLES / "street.h5", "--model", "gap-tv", "--dry-run"), "to do"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_without_torch_and_scipy(environment, tmp_path, arguments, shown):
    told, libraries = imported(environment, tmp_path, *arguments)
    assert shown in told and libraries == set()


def test_a_file_of_matlabs_takes_scipy_alone(environment, tmp_path):
    for arguments in (("inspect",), ("reconstruct", "--dry-run")):
        _, libraries = imported(environment, tmp_path, *arguments, SAMPLES / "wheel.mat")
        assert libraries <= {"scipy"}


def test_what_computes_does_import_torch(environment, tmp_path):
    """Else the tests above would see nothing."""
    _, libraries = imported(
        environment, tmp_path, "inspect", SAMPLES / "fall.tif", "--mask", SAMPLES / "fall_mask.tif"
    )
    assert "torch" in libraries


def test_a_model_that_is_not_released_is_put_together(environment, tmp_path, exploding_model):
    """Its card may be of other weights, which only the network itself can tell."""
    told, libraries = imported(environment, tmp_path, "models", "show", exploding_model, "--json")
    assert "torch" in libraries and json.loads(told)["parameters"] == 2 * 9 + 2 * 9


@pytest.mark.parametrize("name", zoo.released())
def test_looked_up_as_it_is_loaded(name):
    model, known = zoo.load(name), zoo.look_up(name)
    assert known == zoo.Stored(model.card, model.path, model.sha256)
    assert known.fingerprint == model.fingerprint
    assert zoo.count_numbers(known) == parameter_count(model.network)
