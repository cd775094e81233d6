"""Streams that end, fill up, are closed, or know few signs: by real processes, the work is done."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes end otherwise there")

FAST = ("--model", "gap-tv", "--max-iter", "2", "-o", "o")


@contextmanager
def broken(how: str):
    """A descriptor to which nothing can be written, or that of a stream to be closed."""
    if how == "full":
        if not Path("/dev/full").exists():
            pytest.skip("Linux has a disk that is always full")
        end = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, end = os.pipe()
        os.close(reader)
    try:
        yield end
    finally:
        os.close(end)


@pytest.fixture
def started(environment, tmp_path):
    """Run the command line; its stdout or stderr is broken from the start."""

    def run(*words, how: str, stream: str, **variables: str):
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        number = 1 if stream == "stdout" else 2
        command = [sys.executable, "-m", "deqsci_cli", *map(str, words)]
        with broken(how) as end:
            return subprocess.run(
                command, **streams | {stream: end}, cwd=tmp_path, env=environment | variables,
                text=True, timeout=120,
                preexec_fn=(lambda: os.close(number)) if how == "closed" else None,
            )  # fmt: skip

    return run


@pytest.mark.parametrize(
    ("how", "variables"), [("pipe", {"FORCE_COLOR": "1"}), ("full", {}), ("closed", {})]
)  # with colours comes the live bar
def test_narration_is_never_worth_a_film(started, capture, tmp_path, how, variables):
    done = started("reconstruct", capture, *FAST, how=how, stream="stderr", **variables)
    assert done.returncode == 0
    assert done.stdout.count("max_iter") == 2
    for film in ("scene_0.tif", "scene_1.tif"):
        assert tifffile.imread(tmp_path / "o" / film).shape == (8, 32, 40)
    report = json.loads((tmp_path / "o" / "report.json").read_text())
    assert len(report["measurements"]) == 2


def test_nor_a_training(started, tmp_path):
    clips = tmp_path / "clips"
    clips.mkdir()
    rng = np.random.default_rng(0)
    iio.imwrite(clips / "a.gif", rng.integers(0, 255, (4, 24, 28), dtype=np.uint8))
    done = started(
        *("train", clips, "--validation", clips, "-o", "m", "--architecture", "cnn", "--steps", 6),
        *("--batch-size", 2, "--patch-size", 16, "--validate-every", 2),
        *("--set", "options.channels=4", "--device", "cpu"),
        how="pipe", stream="stderr",
    )  # fmt: skip
    assert done.returncode == 0 and "6 steps" in done.stdout
    lines = (tmp_path / "m" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [2, 4, 6]


def test_an_error_that_cannot_be_told_keeps_its_code(started):
    assert started("inspect", "absent.mat", how="pipe", stream="stderr").returncode == 3


@pytest.mark.parametrize(
    ("how", "words"),
    [("pipe", ["--help"]), ("pipe", ["models"]), ("closed", ["models", "--json"])],
)
def test_results_that_nobody_reads_are_no_fault(started, how, words):
    done = started(*words, how=how, stream="stdout")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_exit_code_is_the_works_and_not_the_readers(started, capture, tmp_path):
    words = ("reconstruct", capture, *FAST, "--json", "--quiet")
    done = started(*words, how="pipe", stream="stdout")
    assert (done.returncode, done.stderr) == (0, "")
    done = started(*words, "absent.mat", "--overwrite", how="pipe", stream="stdout")
    assert done.returncode == 1 and "absent.mat" in done.stderr


@pytest.mark.parametrize("words", [("reconstruct", "--help"), ("models",)])
def test_results_onto_a_full_disk_are_an_error(started, words):
    done = started(*words, how="full", stream="stdout")
    assert done.returncode == 4 and "No space left" in done.stderr
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp932"])
def test_every_sign_finds_a_form(capture, tmp_path, environment, encoding):
    """A table with dashes for what is unknown, a name in three scripts, an error, and the help."""
    name = "čas 雪 é"
    capture.rename(tmp_path / f"{name}.mat")

    def run(*words):
        done = subprocess.run(
            [sys.executable, "-m", "deqsci_cli", *words], cwd=tmp_path, capture_output=True,
            env=environment | {"PYTHONIOENCODING": encoding}, timeout=120,
        )  # fmt: skip
        # What came is in that encoding to the last byte.
        out, err = done.stdout.decode(encoding), done.stderr.decode(encoding)
        assert "Traceback" not in err
        return done.returncode, out, err

    code, out, err = run("reconstruct", f"{name}.mat", "absent – × …", *FAST)
    assert code == 1 and out.count("max_iter") == 2
    shown = name.encode(encoding, "backslashreplace").decode(encoding)
    # The second measurement has no truth.
    table = out.partition("\n* ")[0]
    assert f"{shown}_1" in " ".join(table.split()) and table.split()[-2:] == ["-", "-"]
    assert "absent" in err
    code, out, err = run("reconstruct", "--help")
    assert code == 0 and "--symmetries" in out and err == ""


def test_a_reader_that_is_slow_gets_all_the_same(environment):
    """Whoever shares a terminal or a pipe may have made it non-blocking."""
    reader, end = os.pipe()
    os.set_blocking(end, False)
    code = "from deqsci_cli.cli.streams import repair_streams as m; m(); print('x' * 10**6)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=end, env=environment) as process:
        os.close(end)
        got = 0
        while block := os.read(reader, 1 << 14):
            got += len(block)
            time.sleep(0.001)
    os.close(reader)
    assert process.returncode == 0 and got == 10**6 + 1
