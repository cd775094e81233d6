"""Files made by hand, to be spoilt; and many command lines, tried in a process that may fall."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
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
    folder, words = json.loads(line)
    os.chdir(folder)
    sys.argv = ["deqsci", *words]
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


class Driver:
    """A process that takes command lines for as long as it lives; another follows it."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None

    def ask(self, folder: Path, words: list[str], most_seconds: float = 100) -> Outcome:
        if self.process is None or self.process.poll() is not None:
            self.process = subprocess.Popen(
                [sys.executable, "-c", DRIVER], text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                env=os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "10000"},
            )  # fmt: skip
        process = self.process
        guard = threading.Timer(most_seconds, process.kill)
        guard.start()
        print(json.dumps([str(folder), words]), file=process.stdin, flush=True)
        answer = process.stdout.readline()
        guard.cancel()
        if answer:
            return Outcome(*json.loads(answer))
        return Outcome(process.wait(), "", "", 0, 0)


@pytest.fixture
def ends():
    """A reader that a file keeps busy for ever is stopped: the test fails."""

    def late(*_: object) -> None:
        raise TimeoutError("still at work after 100 seconds")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(100)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def driver():
    """The one process that all command lines of these tests go to."""
    made = Driver()
    yield made
    if made.process is not None:
        made.process.communicate()


@pytest.fixture
def commands(driver, tmp_path):
    """Run command lines one after another, in the test's folder."""

    def run(lines: list[tuple[object, ...]]) -> list[Outcome]:
        return [driver.ask(tmp_path, [str(word) for word in line]) for line in lines]

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
