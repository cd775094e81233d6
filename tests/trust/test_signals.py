"""Ctrl-C and SIGTERM at any moment: the exit code, nothing in part, and a run that goes on."""

from __future__ import annotations

import json
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="looks into /proc")

SLOW = "--solver picard --tol 1e-30 --max-iter 60 --batch-size 1 --preview gif"
FILMS = f"reconstruct c.mat --model gap-tv {SLOW} -o o"
TRAIN = (
    "train clips --validation clips -o o --architecture cnn --steps 40 --batch-size 2"
    " --patch-size 16 --validate-every 4 --device cpu --set options.channels=8"
)
CODES = {signal.SIGINT: (130, "interrupted\n"), signal.SIGTERM: (143, "terminated\n")}


def begin(command: str, folder: Path, environment) -> subprocess.Popen:
    """A process that answers signals by now."""
    process = subprocess.Popen(
        [sys.executable, "-m", "deqsci_cli", *command.split()],
        cwd=folder, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        # A shell's background jobs ignore Ctrl-C, and so would what they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    until_handled(process, signal.SIGINT, signal.SIGTERM)
    return process


def until_handled(process: subprocess.Popen, *numbers: signal.Signals) -> None:
    """Wait until it has handlers of its own for these signals, or has ended."""
    wanted = sum(1 << (number - 1) for number in numbers)
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        caught = re.search(r"SigCgt:\s*(\w+)", status.read_text())
        if caught and int(caught[1], 16) & wanted == wanted:
            break
        time.sleep(0.005)


def stopped(process: subprocess.Popen, number: signal.Signals, delay: float) -> bool:
    """Send it a signal; whether it was still at work. Its end is that of the signal, or well."""
    time.sleep(delay)
    process.send_signal(number)
    _, told = process.communicate(timeout=120)
    assert "Traceback" not in told and "Exception" not in told, told
    code, word = CODES[number]
    # At the very end, when all is done, the signal ends Python itself.
    assert process.returncode in (code, 0, -number), told
    assert process.returncode != code or told.endswith(word), told
    return process.returncode == code


def names(folder: Path) -> list[str]:
    return [p.name for p in folder.rglob("*") if p.is_file()] if folder.exists() else []


@pytest.fixture
def place(coded, save, tmp_path):
    meas = np.concatenate([coded.meas, coded.meas[::-1] / 2, coded.meas / 3])
    save("c.mat", meas=np.rint(meas), mask=coded.mask)
    (tmp_path / "clips").mkdir()
    clip = np.random.default_rng(0).integers(0, 255, (1, 40, 48), dtype=np.uint8)
    iio.imwrite(tmp_path / "clips" / "a.png", clip[0])
    return tmp_path


def finish(command: str, folder: Path, environment) -> float:
    """Have it go on to its end; the seconds that it took."""
    began = time.monotonic()
    with begin(command, folder, environment) as process:
        _, told = process.communicate(timeout=120)
    assert process.returncode == 0, told
    return time.monotonic() - began


@pytest.mark.parametrize(
    "moments", [1, pytest.param(8, marks=pytest.mark.soak)], ids=["once", "often"]
)
@pytest.mark.parametrize("command", [FILMS, TRAIN], ids=["reconstruct", "train"])
def test_at_any_moment(place, environment, command, moments):
    rng, out, stops = random.Random(3), place / "o", 0
    seconds = finish(command, place, environment)
    kept = [n for n in names(out) if n.endswith((".tif", ".gif", "model.safetensors", ".jsonl"))]
    whole = {name: (out / name).read_bytes() for name in kept}
    assert len(whole) == (12 if command == FILMS else 2)
    for moment in range(moments):
        out.rename(place / f"before{moment}")
        number = list(CODES)[moment % 2]
        delay = seconds * (0.6 if moments == 1 else (moment + rng.random()) / moments)
        with begin(command, place, environment) as process:
            stops += stopped(process, number, delay)
        left = names(out)
        assert not [n for n in left if n == ".lock" or re.search(r"\.[0-9a-f]{12}\.", n)]
        if command == FILMS:
            for name in whole.keys() & set(left):
                assert (out / name).read_bytes() == whole[name]
            films = {n for n in left if n.endswith(".tif")}
            if out.exists():
                records = json.loads((out / "report.json").read_text())["measurements"]
                assert {Path(r["output"]).name for r in records} == films
        resumable = (out / "report.json").exists() or (out / "state.safetensors").exists()
        finish(command + (" --resume" if resumable else " --overwrite"), place, environment)
        assert {name: (out / name).read_bytes() for name in kept} == whole
    assert stops >= moments // 2


@pytest.mark.parametrize("number", CODES, ids=lambda n: n.name)
def test_while_it_starts(place, environment, number):
    """In the midst of the long imports, where an exception would do harm: it waits for them."""
    with begin(FILMS, place, environment) as process:
        assert stopped(process, number, 0.3)
    # What a quick machine has made by then is whole, told, and not all.
    films = {path.name for path in place.glob("o/*.tif")}
    assert len(films) < 6
    if films:
        records = json.loads((place / "o" / "report.json").read_text())["measurements"]
        assert {Path(r["output"]).name for r in records} == films


def test_twice_does_not_wait(place, environment):
    with begin(FILMS, place, environment) as process:
        process.send_signal(signal.SIGTERM)
        until_handled(process, signal.SIGALRM)  # the first is waited with; two at once count as one
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        process.communicate(timeout=60)
    assert process.returncode in (-signal.SIGTERM, 143)
    assert not (place / "o").exists() and time.monotonic() - began < 30


def test_what_is_ignored_stays_ignored(place, environment):
    """As of a job in the background, or under nohup."""
    quick = "reconstruct c.mat --model gap-tv --max-iter 2 --preview none -o o"
    process = subprocess.Popen(
        [sys.executable, "-m", "deqsci_cli", *quick.split()], cwd=place, env=environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )  # fmt: skip
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
    assert process.returncode == 0
