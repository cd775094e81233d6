"""Files made by hand, to be spoilt; and many command lines, tried in a process that may fall."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest

# The real command line, many times over, in one process: an answer for each line that comes in.
# The peak of the memory is Linux' own count, set back before each.
DRIVER = """
import contextlib, io, json, os, sys, time, traceback
import torch, typer
from deqsci_cli.cli import app as cli
cli.app = typer.main.get_command(cli.app)  # built once; that takes longer than most commands
torch.set_num_threads(1)
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

def kib(word):
    if not os.path.exists("/proc/self/clear_refs"):
        return 0
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(word))

for line in sys.stdin:
    sys.argv = ["deqsci", *json.loads(line)]
    out, err = io.StringIO(), io.StringIO()
    if os.path.exists("/proc/self/clear_refs"):
        open("/proc/self/clear_refs", "w").write("5")
    before, began = kib("VmRSS"), time.monotonic()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.main()
        except SystemExit as end:
            code = end.code or 0
        except BaseException:
            code = "traceback"
            traceback.print_exc()
    result = code, out.getvalue(), err.getvalue(), (kib("VmHWM") - before) / 1024
    print(json.dumps([*result, time.monotonic() - began]), file=answers, flush=True)
"""


@dataclass(frozen=True)
class Outcome:
    """How one command line ended: `code` is "traceback", or -signal, where it should not have."""

    code: int | str
    out: str
    err: str
    mib: float
    seconds: float


@pytest.fixture
def commands(environment, tmp_path):
    """Run command lines one after another, in one process for as long as that lives."""

    def run(lines: list[tuple[object, ...]], most_seconds: float = 300) -> list[Outcome]:
        found: list[Outcome] = []
        while len(found) < len(lines):
            left = lines[len(found) :]
            text = "".join(json.dumps([str(word) for word in line]) + "\n" for line in left)
            done = subprocess.run(
                [sys.executable, "-c", DRIVER], input=text, capture_output=True, text=True,
                env=environment | {"COLUMNS": "10000"}, cwd=tmp_path, timeout=most_seconds,
            )  # fmt: skip
            found += [Outcome(*json.loads(answer)) for answer in done.stdout.splitlines()]
            if done.returncode:
                found.append(Outcome(done.returncode, "", done.stderr, 0, 0))
        return found

    return run


@pytest.fixture
def v73():
    def write(path, variables):
        with h5py.File(path, "w", userblock_size=512) as file:
            for name, array in variables.items():
                dataset = file.create_dataset(name, data=np.asarray(array).T)
                dataset.attrs["MATLAB_class"] = np.bytes_("double")
        with path.open("r+b") as stream:
            stream.write(b"MATLAB 7.3 MAT-file, hand-made".ljust(124) + b"\x00\x02IM")

    return write


@pytest.fixture
def untouched(tmp_path):
    """A folder of somebody else's files; at the end they must be there as they were."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "canary.tif").write_bytes(b"somebody's work")
    before = _content(folder)
    yield folder
    assert _content(folder) == before


def _content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
