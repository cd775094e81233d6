"""What is shown runs: the scripts of `examples/` in a short form."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
# Arguments that make them short; what they must print, and how good it must be in dB.
EXAMPLES = {
    "reconstruct_array": ("32", r"^converged .*^([\d.]+) dB", 30),
    "own_mask": ("32", r"read noise 0: ([\d.]+) dB, converged$.*noise 0.05: [\d.]+ dB", 28),
    "own_denoiser": ("32", r"own blur: ([\d.]+) dB, converged$.*gap-tv", 20),
    "train_in_a_minute": ("2", r"^2 steps: .*'psnr': ([\d.]+)", 30),
}


def run(*arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_does_what_it_says(name):
    argument, printed, least = EXAMPLES[name]
    output = run(f"examples/{name}.py", argument)
    found = re.search(printed, output, re.M | re.S)
    assert found, output
    assert float(found[1]) > least


def test_every_example_is_run_by_a_test():
    elsewhere = {"cassi": "physics/test_cassi.py", "deepinv_denoiser": "test_registry.py"}
    for name, file in elsewhere.items():
        assert f"{name}.py" in (REPOSITORY / "tests" / file).read_text("utf-8")
    assert {path.stem for path in (REPOSITORY / "examples").glob("*.py")} == {*EXAMPLES, *elsewhere}
