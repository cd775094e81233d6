"""What is shown runs: the scripts of `examples/` in a short form, and the README's Python."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
BLOCKS = [
    textwrap.dedent(block)
    for block in re.findall(
        r"^ *```python\n(.*?)^ *```$", (REPOSITORY / "README.md").read_text("utf-8"), re.M | re.S
    )
]
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


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_the_python_of_the_readme_runs(number):
    block = BLOCKS[number]
    if "dask_jobqueue" in block:  # it would ask a SLURM cluster for machines
        ast.parse(block)
    else:
        run("-W", "error::DeprecationWarning:__main__", "-c", block)


def test_the_blocks_of_the_readme_are_found():
    assert len(BLOCKS) == (REPOSITORY / "README.md").read_text("utf-8").count("```python") == 3
