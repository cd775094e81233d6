"""How often files are opened: a capture once to plan and once to solve, a shared mask twice."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import tifffile

# Python runs this at the start of every process that finds it on its path.
_RECORDER = """
import sys
def _record(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        name = arguments[0] if isinstance(arguments[0], str) else arguments[0].decode()
        if name.startswith({folder!r}):
            with open({log!r}, "a") as log:
                log.write(name + chr(10))
sys.addaudithook(_record)
"""


@pytest.fixture
def opened(tmp_path, environment):
    """Run the command line in its own processes, and count how often each input was opened."""
    inputs, log = tmp_path / "inputs", tmp_path / "opened.log"
    (tmp_path / "hook").mkdir()
    hook = _RECORDER.format(folder=str(inputs), log=str(log))
    (tmp_path / "hook" / "sitecustomize.py").write_text(hook)
    path = [str(tmp_path / "hook"), environment.get("PYTHONPATH", "")]
    surroundings = environment | {"PYTHONPATH": ":".join(filter(None, path))}

    def invoke(*arguments: object) -> Counter[str]:
        log.write_text("")
        command = [sys.executable, "-m", "deqsci_cli", *map(str, arguments)]
        done = subprocess.run(
            command, env=surroundings, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return Counter(Path(line).name for line in log.read_text().splitlines())

    return invoke


def write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Arrays (T, H, W) in the format that the name ends with, by other writers than ours."""
    if path.suffix == ".mat":
        turned = {n: a.transpose(1, 2, 0) if a.ndim == 3 else a for n, a in arrays.items()}
        scipy.io.savemat(path, turned)
    elif path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array
    else:
        tifffile.imwrite(path, next(iter(arrays.values())), photometric="minisblack")


@pytest.mark.parametrize("mask", ["mask.mat", "mask.h5", "mask.tif"])
@pytest.mark.parametrize("extra", [(), ("--report",)])
def test_each_capture_once_to_plan_and_once_to_solve(opened, tmp_path, mask, extra):
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    rng = np.random.default_rng(0)
    write(inputs / mask, {"mask": (rng.random((4, 16, 20)) < 0.5).astype(np.float32)})
    captures = ["a.mat", "b.h5", "c.tif", "d.mat", "e.h5"]
    for name in captures:
        write(inputs / name, {"meas": rng.random((16, 20)).astype(np.float32)})
    command = (
        "reconstruct", *(inputs / name for name in captures), "--mask", inputs / mask,
        "-o", tmp_path / "o", "--model", "gap-tv", "--max-iter", "1", "--preview", "none",
    )  # fmt: skip
    counts = opened(*command, *extra)
    assert {name: counts[name] for name in captures} == {
        name: 3 if extra else 2 for name in captures
    }
    assert counts[mask] <= 2
    # Nothing has changed: the hash of each is all that is wanted.
    counts = opened(*command, "--resume")
    assert max(counts.values()) <= 2 and counts[mask] <= 2
    assert len(json.loads((tmp_path / "o" / "report.json").read_text())["measurements"]) == 5
