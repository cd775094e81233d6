"""Every documented exit code, by a real process; never a traceback, never half a file."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


def assert_told(result, code, *words):
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr


def test_0_all_done(deqsci, capture, tmp_path):
    result = deqsci("reconstruct", capture, "--model", "gap-tv", "-o", "films")
    assert_told(result, 0)
    assert (tmp_path / "films" / "report.json").is_file()


def test_1_some_inputs_failed_the_rest_is_done(deqsci, capture, tmp_path):
    (tmp_path / "text.mat").write_text("not a capture")
    result = deqsci("reconstruct", "text.mat", capture, "--model", "gap-tv", "-o", "films")
    assert_told(result, 1, "text.mat")
    assert (tmp_path / "films" / "scene_0.tif").is_file()


def test_1_diverged(deqsci, capture, exploding_model):
    result = deqsci(
        "reconstruct", capture, "--model", exploding_model, "--solver", "picard", "-o", "films"
    )
    assert_told(result, 1)
    assert "diverged" in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("--no-such-option",),
        ("--solver", "newton"),
        ("--symmetries", "3"),
        ("--tol", "0"),
        ("--tol", "nan"),
        ("--device", "tpu"),
        ("--format", "avi"),
        ("--preview", "jpg"),
        ("--contrast", "bright"),
        ("--fps", "0"),
        ("--measurements", "a"),
        ("--measurements", "::0"),
        ("--dtype", "int8"),
    ],
)
def test_2_usage_and_nothing_is_written(run_code, capture, tmp_path, arguments):
    code = run_code("reconstruct", capture, "--model", "gap-tv", "-o", tmp_path / "new", *arguments)
    assert code == 2
    assert not (tmp_path / "new").exists()


def test_2_by_a_real_process(deqsci, capture):
    assert_told(deqsci("reconstruct", capture, "--solver", "newton"), 2, "newton", "anderson")


def test_2_output_exists_and_is_kept(deqsci, capture, tmp_path):
    folder = tmp_path / "films"
    folder.mkdir()
    (folder / "scene_1.tif").write_bytes(b"somebody's work")
    result = deqsci("reconstruct", capture, "--model", "gap-tv", "-o", "films")
    assert_told(result, 2, "scene_1.tif", "--overwrite")
    assert [p.name for p in folder.iterdir()] == ["scene_1.tif"]
    assert (folder / "scene_1.tif").read_bytes() == b"somebody's work"


def test_3_input_unreadable(deqsci, tmp_path):
    assert_told(deqsci("reconstruct", "absent.mat", "--model", "gap-tv"), 3, "absent.mat")


def test_3_no_such_model(deqsci, capture):
    assert_told(deqsci("reconstruct", capture, "--model", "gap-tw"), 3, "gap-tw", "gap-tv")


def test_4_no_such_device(deqsci, capture):
    result = deqsci("reconstruct", capture, "--model", "gap-tv", "--device", "cuda:99")
    assert_told(result, 4, "--device cpu")


@pytest.mark.skipif(sys.platform != "linux", reason="needs a folder where nothing can be written")
def test_4_disk(deqsci, capture):
    result = deqsci("reconstruct", capture, "--model", "gap-tv", "-o", "/proc/nowhere")
    assert_told(result, 4, "/proc/nowhere")


@pytest.mark.skipif(sys.platform == "win32", reason="interrupts are told otherwise there")
def test_130_interrupted_keeps_what_is_done(capture, tmp_path, environment):
    """The second measurement is interrupted: the first's film and a true report remain."""
    films = tmp_path / "films"
    command = [
        *(sys.executable, "-m", "deqsci_cli", "reconstruct", str(capture), "--model", "gap-tv"),
        *("--solver", "picard", "--tol", "1e-30", "--max-iter", "3000", "-o", "films"),
        *("--batch-size", "1"),
    ]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True,
        # A shell's background jobs ignore Ctrl-C, and so would what they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:  # fmt: skip
        deadline = time.monotonic() + 90
        while not list(films.glob(".manifest/scene*")) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert told.endswith("interrupted\n")
    assert "Traceback" not in told
    (film,) = films.glob("*.tif")
    assert {p.name for p in films.iterdir()} == {
        ".manifest", "report.json", film.name, f"{film.stem}.gif",
    }  # fmt: skip
    report = json.loads((films / "report.json").read_text())
    assert [Path(r["output"]).name for r in report["measurements"]] == [film.name]
