"""The live line: what it says at two widths, and that it is at terminals alone."""

from __future__ import annotations

import fcntl
import io
import os
import re
import struct
import subprocess
import sys
import termios

import pytest
from rich.console import Console

from deqsci_cli.cli import live, log
from deqsci_cli.errors import UsageError

FAST = ("--model", "gap-tv", "--max-iter", "4", "--preview", "none")
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07")
# Of the spinner's frames.
SPINNER = tuple("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")
COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-9][0-9;]*m")


@pytest.mark.parametrize(
    ("passed", "done", "left", "words"),
    [
        (10, 0.25, 0.75, "about 0:30 left"),
        (10, 0.5, 0.0, ""),
        (60, 0.1, 0.9, "about 9:00 left"),
        (3600, 0.25, 0.5, "about 2:00:00 left"),
        (60, 0.001, 0.999, ""),
        (3, 0.5, 0.5, ""),
        (0, 0.0, 1.0, ""),
    ],
)
def test_the_time_that_is_left(passed, done, left, words):
    assert live.time_left(passed, done, left) == words


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0:00"), (7.4, "0:07"), (59.6, "1:00"), (3723, "1:02:03")]
)
def test_a_clock(seconds, shown):
    assert live.clock(seconds) == shown


@pytest.fixture
def shown(monkeypatch):
    """What the line says at a width, after its updates."""

    def at(width, *updates):
        console = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
        monkeypatch.setattr(live, "err", console)
        seconds = iter(range(0, 1000, 10))
        monkeypatch.setattr(live.time, "monotonic", lambda: next(seconds))
        with live.live(shown=True) as line:
            for what, more in updates:
                line.show(what, **more)
            line.bar.refresh()
            text = CONTROL.sub("", console.file.getvalue())
        return re.split(r"[\r\n]+", text.strip())[-1].rstrip()

    return at


def test_what_it_says(shown):
    updates = [("solving 0/12 films", {"share": 0.0}), ("solving 3/12 films", {"share": 0.25})]
    wide = shown(80, *[(what, more | {"detail": "residual 1.2e-03"}) for what, more in updates])
    assert re.fullmatch(r". solving 3/12 films ━+ *residual 1\.2e-03 0:\d\d, about 0:30 left", wide)
    narrow = shown(40, *updates)
    assert re.fullmatch(r". solving 3/12 films +about 0:30 left", narrow)
    assert len(wide) <= 80 and len(narrow) <= 40


def at_a_terminal(environment, folder, width, *arguments) -> str:
    """What a run writes to a terminal of a width."""
    mine, its = os.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    environment = {k: v for k, v in environment.items() if k != "COLUMNS"} | {"TERM": "xterm"}
    command = [sys.executable, "-m", "deqsci_cli", *map(str, arguments)]
    with subprocess.Popen(
        command, stdin=its, stdout=its, stderr=its, env=environment, cwd=folder
    ) as process:
        os.close(its)
        parts = []
        try:
            while part := os.read(mine, 4096):
                parts.append(part)
        except OSError:  # the other end is closed
            pass
    os.close(mine)
    assert process.returncode == 0
    return b"".join(parts).decode()


@pytest.mark.parametrize("width", [80, 40])
def test_at_a_terminal(environment, capture, tmp_path, width):
    run = ("reconstruct", capture, "-o", "o", *FAST)
    told = at_a_terminal(environment, tmp_path, width, *run)
    assert COLOUR.search(told) and "2 done" in told
    lines = [line for line in re.split(r"[\r\n]+", CONTROL.sub("", told)) if line[:1] in SPINNER]
    assert lines and "starting" in lines[0]
    assert max(map(len, lines)) <= width


def test_no_color(environment, capture, tmp_path):
    run = ("reconstruct", capture, "-o", "o", *FAST)
    told = at_a_terminal(environment | {"NO_COLOR": "1"}, tmp_path, 80, *run)
    assert "starting" in told and not COLOUR.search(told)


def test_in_a_file(deqsci, capture):
    told = deqsci("reconstruct", capture, "-o", "o", *FAST)
    assert told.returncode == 0 and "\x1b" not in told.stdout + told.stderr
    assert "starting" not in told.stderr and "2 done" in told.stderr


def test_a_log_keeps_what_is_told(run, capture, tmp_path):
    """Also what `--quiet` does not show; a run adds to it, and takes no file of another kind."""
    file = tmp_path / "run.log"
    for folder in ("a", "b"):
        shown = run("reconstruct", capture, "-o", tmp_path / folder, *FAST, "-q", "--log", file)
        assert shown.stderr == ""
    run("reconstruct", capture, "-o", tmp_path / "c", *FAST)
    lines = file.read_text().splitlines()
    assert sum(" deqsci " in line for line in lines) == 2
    assert sum(line.endswith(f"are in {tmp_path / 'a'}") for line in lines) == 1
    assert any("model gap-tv" in line for line in lines)
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d \S", line) for line in lines)
    before = capture.read_bytes()
    with pytest.raises(UsageError, match="no log of deqsci"):
        run("reconstruct", capture, "-o", tmp_path / "d", *FAST, "--log", capture)
    assert capture.read_bytes() == before
    log.use_log(None, None)


def test_shared_seconds_are_told(run, capture, tmp_path):
    together = run("reconstruct", capture, "-o", tmp_path / "a", *FAST).stdout
    assert "2 films that were solved together" in together and together.count("*") == 3
    alone = run("reconstruct", capture, "-o", tmp_path / "b", *FAST, "--batch-size", 1).stdout
    assert "*" not in alone
