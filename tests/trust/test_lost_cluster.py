"""A cluster that is not there, says nothing, has no workers, or is lost in the middle of a run."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from deqsci_cli.engine.batch import executors
from deqsci_cli.engine.batch.plan import ReconstructConfig
from deqsci_cli.engine.reconstruct import reconstruct
from deqsci_cli.errors import DeviceError, UsageError
from deqsci_cli.runtime.events import Finished, Note

pytest.importorskip("distributed")

SLOW = {"solver": "picard", "tol": 1e-30, "max_iter": 800}
# A worker whose device takes batches of 2, and is there, whatever the client's.
OTHER_DEVICE = """
import torch
from deqsci_cli import reconstructor
from deqsci_cli.runtime import device
from deqsci_cli.engine.batch import work
device.suitable_batch = lambda name, shape: 2
work.choose_device = reconstructor.choose_device = lambda name: torch.device("cpu")
"""


@contextlib.contextmanager
def running(environment, *command: object):
    """A process of Dask's, ended at the end."""
    words = [sys.executable, "-m", "distributed.cli.dask_" + str(command[0])]
    words += map(str, command[1:])
    with subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def told(process: subprocess.Popen, pattern: str) -> str:
    """What a process has told on stderr, once it does; the rest is read and forgotten."""
    for line in process.stderr:
        if found := re.search(pattern, line):
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return found[1]
    raise AssertionError("it has ended")


@pytest.fixture
def scheduler(environment):
    """A Dask scheduler, with its address."""
    command = ("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--no-show")
    preload = ("--preload", "deqsci_cli.engine.batch.work")  # it unpickles what it passes on
    with running(environment, *command, *preload) as process:
        process.address = told(process, r"Scheduler at:\s+(tcp://\S+)")
        yield process


@pytest.fixture
def worker(environment, scheduler, tmp_path):
    """Start a worker of it."""
    with contextlib.ExitStack() as stack:

        def start(*more: object) -> subprocess.Popen:
            command = ("worker", scheduler.address, "--no-nanny", "--nthreads", "2")
            place = ("--no-dashboard", "--local-directory", tmp_path)
            process = stack.enter_context(running(environment, *command, *place, *more))
            told(process, r"(Registered to)")
            return process

        yield start


@pytest.fixture
def config(coded, save, tmp_path):
    """Six measurements in three files."""
    names = ("a.mat", "b.mat", "c.mat")
    inputs = tuple(save(name, meas=coded.meas, mask=coded.mask) for name in names)

    def make(**settings: object) -> ReconstructConfig:
        return ReconstructConfig(inputs, tmp_path / "o", model="gap-tv", previews=(), **settings)

    return make


@contextlib.contextmanager
def mute():
    """The address of a port that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"tcp://127.0.0.1:{listening.getsockname()[1]}"


@contextlib.contextmanager
def babbling():
    """The address of a port at which something else than Dask answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        yield f"tcp://127.0.0.1:{listening.getsockname()[1]}"


@contextlib.contextmanager
def absent():
    """The address of a port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"tcp://127.0.0.1:{listening.getsockname()[1]}"
    yield address


@pytest.mark.parametrize("port", [mute, babbling, absent])
def test_who_does_not_greet_is_no_scheduler(config, monkeypatch, port):
    monkeypatch.setattr(executors, "_CONNECT_SECONDS", 1.0)
    caught: list[BaseException] = []

    def attempt(cluster: str) -> None:
        try:
            reconstruct(config(cluster=cluster))
        except BaseException as error:
            caught.append(error)

    with port() as address:  # in a thread that may be left behind, should it wait for ever
        apart = threading.Thread(target=attempt, args=(address,), daemon=True)
        apart.start()
        apart.join(60)
    assert not apart.is_alive()
    assert isinstance(caught[0], DeviceError) and address in str(caught[0])


def test_no_workers_are_told_and_not_waited_for_without_end(config, scheduler, monkeypatch):
    monkeypatch.setattr(executors, "_WORKERS_SECONDS", 5.0)
    monkeypatch.setattr(executors, "_LOOK_SECONDS", 0.1)
    events = []
    with pytest.raises(DeviceError, match="had no worker"):
        reconstruct(config(cluster=scheduler.address), events.append)
    notes = [event.text for event in events if isinstance(event, Note)]
    assert sum("no workers" in note for note in notes) == 1
    assert not config().out.exists()


def test_workers_decide_for_their_own_device(config, scheduler, worker, tmp_path):
    preload = tmp_path / "other.py"
    preload.write_text(OTHER_DEVICE)
    worker("--preload", preload)
    events = []
    # No client of ours has such a device.
    report = reconstruct(config(cluster=scheduler.address, device="cuda:77"), events.append)
    assert len(report.measurements) == 6 and not report.failures
    assert sum(isinstance(event, Finished) for event in events) == 3
    with pytest.raises(UsageError, match="no device 'gpu'"):
        reconstruct(config(cluster=scheduler.address, device="gpu"))


def lose(environment, config, scheduler, number: int) -> None:
    """Send the scheduler a signal amid a run: the run ends, and keeps what is done.

    A worker writes a film before the run hears of it. Two are written at a time: when there is a
    third, the run has heard of the first.
    """
    run = config()
    command = [sys.executable, "-m", "deqsci_cli", "reconstruct", *map(str, run.inputs)]
    command += ["-o", str(run.out), "--model", "gap-tv", "--preview", "none", "--batch-size", "1"]
    command += [f"--{name.replace('_', '-')}={value}" for name, value in SLOW.items()]
    command += ["--cluster", scheduler.address]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            end = time.monotonic() + 120
            while len(list(run.out.glob("*.tif"))) < 3 and process.poll() is None:
                assert time.monotonic() < end
                time.sleep(0.02)
            os.kill(scheduler.pid, number)
            _, text = process.communicate(timeout=200)
        finally:
            process.kill()
    assert process.returncode == DeviceError.exit_code, text
    assert "Traceback" not in text
    assert "is lost" in text and "--resume" in text, text
    report = json.loads((run.out / "report.json").read_text())
    films = {Path(m["output"]).name for m in report["measurements"]}
    assert films and films < {f"{stem}_{n}.tif" for stem in "abc" for n in (0, 1)}
    assert all((run.out / name).is_file() for name in films)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_scheduler_that_dies_leaves_what_was_done(environment, config, scheduler, worker):
    worker()
    lose(environment, config, scheduler, signal.SIGKILL)
    resumed = reconstruct(config(resume=True, equilibrium=SLOW))
    assert len(resumed.measurements) == 6 and 0 < resumed.skipped < 6


@pytest.mark.soak
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGSTOP")
def test_a_scheduler_that_falls_silent_is_given_up(environment, config, scheduler, worker):
    worker()
    lose(environment, config, scheduler, signal.SIGSTOP)
