"""Many captures at once: what is done, what fails, what is left, and by whom."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from deqsci_cli import reconstructor
from deqsci_cli.engine.batch.manifest import read_entry
from deqsci_cli.errors import InputError, OutputExistsError, UsageError

GAP_TV = ("--model", "gap-tv", "--preview", "none")


@pytest.fixture
def captures(tmp_path, moving_scene):
    """A folder of six captures of 4 frames, 16x20 pixels, and the mask among them."""
    folder = tmp_path / "captures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    mask = (rng.random((4, 16, 20)) < 0.5).astype(np.uint8)
    scipy.io.savemat(folder / "mask.mat", {"mask": mask.transpose(1, 2, 0)})
    for n in range(6):
        video = np.rint(255 * moving_scene[n % 4 : n % 4 + 4, n : n + 16, 2 * n : 2 * n + 20])
        scipy.io.savemat(folder / f"c{n}.mat", {"meas": (video * mask).sum(0).astype(np.uint16)})
    return folder


def reconstruct(folder: Path, out: Path, *more: object) -> tuple[object, ...]:
    mask = ("--mask", folder / "mask.mat", "--scale", "255")
    return ("reconstruct", folder, *mask, "-o", out, *GAP_TV, *more)


def films(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.suffix in (".tif", ".gif")}


def report(folder: Path) -> dict:
    return json.loads((folder / "report.json").read_text())


def break_seven(folder: Path) -> list[str]:
    """Seven files that are no captures, each in its own way."""
    good = (folder / "c0.mat").read_bytes()
    (folder / "x0.mat").write_bytes(good[: len(good) // 2])
    (folder / "x1.mat").write_bytes(b"")
    (folder / "x2.mat").write_text("not a capture")
    scipy.io.savemat(folder / "x3.mat", {"meas": np.zeros((9, 9))})
    scipy.io.savemat(folder / "x4.mat", {"meas": np.full((16, 20), np.nan)})
    scipy.io.savemat(folder / "x5.mat", {"name": "nothing"})
    scipy.io.savemat(folder / "x6.mat", {"meas": np.zeros((16, 20)) + 1j})
    return [f"x{n}.mat" for n in range(7)]


def test_what_fails_is_named_and_the_rest_is_done(run, captures, tmp_path):
    broken = break_seven(captures)
    result = run(*reconstruct(captures, tmp_path / "o"))
    assert result.exit_code == 1
    assert sorted(films(tmp_path / "o")) == [f"c{n}.tif" for n in range(6)]
    failures = report(tmp_path / "o")["failures"]
    assert [Path(f["input"]).name for f in failures] == broken
    assert all(f["input"] in f["error"] for f in failures)
    assert all(name in result.stderr.replace("\n", "") for name in broken)
    assert "6 done, 0 skipped, 7 failed" in result.stderr


def test_a_rerun_touches_only_what_failed(run, captures, tmp_path):
    broken = break_seven(captures)
    run(*reconstruct(captures, tmp_path / "o"))
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "o").glob("*.tif")}
    again = run(*reconstruct(captures, tmp_path / "o", "--resume"))
    assert again.exit_code == 1 and "0 done, 6 skipped, 7 failed" in again.stderr
    for name in broken:
        (captures / name).write_bytes((captures / "c1.mat").read_bytes())
    mended = run(*reconstruct(captures, tmp_path / "o", "--resume"))
    assert mended.exit_code == 0 and "7 done, 6 skipped, 0 failed" in mended.stderr
    assert before == {p: p.stat().st_mtime_ns for p in before}
    assert len(films(tmp_path / "o")) == len(report(tmp_path / "o")["measurements"]) == 13


def test_what_has_changed_is_made_anew(run, captures, tmp_path):
    out = tmp_path / "o"
    run(*reconstruct(captures, out))
    first = films(out)
    scipy.io.savemat(captures / "c2.mat", {"meas": np.full((16, 20), 300, np.uint16)})
    (out / "c3.tif").write_bytes(first["c3.tif"][:99])
    (out / "c4.tif").unlink()
    result = run(*reconstruct(captures, out, "--resume"))
    assert "3 done, 3 skipped, 0 failed" in result.stderr
    second = films(out)
    assert {n for n in first if second[n] != first[n]} == {"c2.tif"}
    for change in (("--tol", "1e-2"), ("--preview", "gif"), ("--dtype", "float64")):
        result = run(*reconstruct(captures, out, "--resume", *change))
        assert "6 done, 0 skipped" in result.stderr


def test_a_film_that_is_not_its_own_is_left(run, captures, tmp_path):
    out = tmp_path / "o"
    out.mkdir()
    (out / "c5.tif").write_text("somebody's own")
    with pytest.raises(OutputExistsError, match=r"c5\.tif"):
        run(*reconstruct(captures, out, "--resume"))
    assert (out / "c5.tif").read_text() == "somebody's own" and len(list(out.iterdir())) == 1
    with pytest.raises(UsageError, match="--resume"):
        run(*reconstruct(captures, out, "--resume", "--overwrite"))


def test_the_batch_does_not_show_in_the_films(run, captures, tmp_path):
    for size in ("1", "4", "auto"):
        run(*reconstruct(captures, tmp_path / size, "--batch-size", size))
    assert films(tmp_path / "1") == films(tmp_path / "4") == films(tmp_path / "auto")
    for wrong in ("0", "-1", "many"):
        with pytest.raises(UsageError, match="batch"):
            run(*reconstruct(captures, tmp_path / "w", "--batch-size", wrong))


def test_too_little_memory_halves_the_batch(run, captures, tmp_path, monkeypatch):
    solve, sizes = reconstructor.solve, []

    def small_memory(network, operator, measurement, settings, **more):
        sizes.append(len(measurement))
        if len(measurement) > 2:
            raise MemoryError
        return solve(network, operator, measurement, settings, **more)

    run(*reconstruct(captures, tmp_path / "o"))
    monkeypatch.setattr(reconstructor, "solve", small_memory)
    run(*reconstruct(captures, tmp_path / "p", "--batch-size", "6"))
    assert sizes == [6, 3, 1, 2, 3, 1, 2]
    assert films(tmp_path / "o") == films(tmp_path / "p")


def test_no_memory_at_all(run, captures, tmp_path, monkeypatch):
    def no_memory(*_, **__):
        raise MemoryError

    monkeypatch.setattr(reconstructor, "solve", no_memory)
    result = run(*reconstruct(captures, tmp_path / "o"))
    assert result.exit_code == 4 and "memory" in result.stderr
    assert not (tmp_path / "o").exists()


def test_the_first_failure_ends_the_run_where_that_is_asked_for(run, captures, tmp_path):
    (captures / "c3.mat").write_text("broken")
    with pytest.raises(InputError, match=r"c3\.mat"):
        run(*reconstruct(captures, tmp_path / "o", "--fail-fast"))
    assert not (tmp_path / "o").exists()


def test_an_empty_folder_among_the_inputs_stops_nothing(run, captures, tmp_path):
    (tmp_path / "empty").mkdir()
    common = ("--mask", captures / "mask.mat", "--scale", "255", *GAP_TV, "-o", tmp_path / "o")
    done = run("reconstruct", captures / "c0.mat", tmp_path / "empty", *common)
    assert done.exit_code == 1 and "empty" in done.stderr
    assert [Path(r["input"]).name for r in report(tmp_path / "o")["measurements"]] == ["c0.mat"]
    with pytest.raises(InputError, match="stands for no file"):
        run("reconstruct", tmp_path / "empty", *common)


def test_what_fails_is_told_with_its_file(run, captures, tmp_path):
    done = run(*reconstruct(captures, tmp_path / "o", "--measurements", "3"))
    assert done.exit_code and "c0.mat: there is no measurement 3" in done.stderr


def test_the_log_may_lie_in_the_folder_to_come(run, captures, tmp_path):
    run(*reconstruct(captures, tmp_path / "o", "--log", tmp_path / "o" / "run.log"))
    assert "6 done" in (tmp_path / "o" / "run.log").read_text()


def test_lists_and_folders(run, captures, tmp_path):
    listed = [captures / f"c{n}.mat" for n in (4, 1)]
    (tmp_path / "list.txt").write_text("".join(f"{p}\n\n" for p in listed))
    mask = ("--mask", captures / "mask.mat", "--scale", "255")

    def inputs(*arguments):
        out = tmp_path / f"o{len(list(tmp_path.iterdir()))}"
        run("reconstruct", *arguments, *mask, "-o", out, *GAP_TV, "--max-iter", "1")
        return [Path(r["input"]) for r in report(out)["measurements"]]

    assert inputs(f"@{tmp_path / 'list.txt'}") == listed
    everything = sorted(captures.glob("c*.mat"))
    assert inputs(captures) == inputs(captures / "*.mat") == everything
    assert inputs(captures / "c4.mat", f"@{tmp_path / 'list.txt'}") == listed
    with pytest.raises(InputError, match=r"no\.txt"):
        inputs(f"@{tmp_path / 'no.txt'}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty"):
        inputs(tmp_path / "empty")


def test_paths_on_stdin(captures, tmp_path, environment):
    result = subprocess.run(
        [sys.executable, "-m", "deqsci_cli", "reconstruct", "-", "--mask", captures / "mask.mat",
         "-o", tmp_path / "o", *GAP_TV, "--max-iter", "1"],
        input=f"{captures / 'c1.mat'}\n{captures / 'c0.mat'}\n",
        env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert sorted(films(tmp_path / "o")) == ["c0.tif", "c1.tif"]


def test_two_inputs_of_one_film_are_refused_before_anything_is_done(run, capture, tmp_path):
    twin = tmp_path / "scene_0.mat"
    content = scipy.io.loadmat(capture)
    scipy.io.savemat(twin, {"meas": content["meas"][..., 0], "mask": content["mask"]})
    with pytest.raises(UsageError, match=r"scene_0\.tif"):
        run("reconstruct", capture, twin, "-o", tmp_path / "o", *GAP_TV)
    assert not (tmp_path / "o").exists()


def start(environment, *arguments) -> subprocess.Popen:
    command = [sys.executable, "-m", "deqsci_cli", *map(str, arguments)]
    return subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True,
        # A shell's background jobs ignore Ctrl-C, and so would what they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def wait_for(condition) -> None:
    deadline = time.monotonic() + 90
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9")
def test_killed_and_resumed(run, captures, tmp_path, environment):
    slow = ("--solver", "picard", "--tol", "1e-30", "--max-iter", "400", "--batch-size", "1")
    run(*reconstruct(captures, tmp_path / "whole", *slow))
    out = tmp_path / "o"
    with start(environment, *reconstruct(captures, out, *slow)) as process:
        wait_for(lambda: len(list(out.glob("*.tif"))) > 1)
        process.kill()
    left = {name: content for name, content in films(out).items() if name[0] != "."}
    assert 0 < len(left) < 6
    assert left.items() <= films(tmp_path / "whole").items()
    (out / ".c5.0123456789ab.tif").write_bytes(b"what a kill in the middle of a write leaves")
    assert run(*reconstruct(captures, out, *slow, "--resume")).exit_code == 0
    assert films(out) == films(tmp_path / "whole")
    assert len(report(out)["measurements"]) == 6


class TestCluster:
    """Two processes that Dask leads."""

    slow = ("--solver", "picard", "--tol", "1e-30", "--max-iter", "300", "--batch-size", "1")

    @pytest.fixture(autouse=True)
    def dask(self):
        pytest.importorskip("distributed")

    @pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the workers in /proc")
    def test_a_worker_that_dies_loses_nothing(self, run, captures, tmp_path, environment):
        run(*reconstruct(captures, tmp_path / "alone", *self.slow))
        out = tmp_path / "o"
        command = reconstruct(captures, out, *self.slow, "--cluster", "local:2")
        with start(environment, *command) as process:
            wait_for(lambda: list(out.glob("*.tif")))
            os.kill(workers(process.pid)[0], signal.SIGKILL)
            _, told = process.communicate(timeout=120)
        assert process.returncode == 0, told
        assert films(out) == films(tmp_path / "alone")
        assert len(report(out)["measurements"]) == 6

    @pytest.mark.skipif(sys.platform == "win32", reason="there are no process groups")
    def test_an_interrupt_ends_its_workers_quietly(self, captures, tmp_path, environment):
        out = tmp_path / "o"
        long = (*self.slow[:-3], "2000", *self.slow[-2:])
        command = reconstruct(captures, out, *long, "--cluster", "local:2")
        with start(environment, *command) as process:
            entries = (read_entry(out / f"c{n}.tif") for _ in count() for n in range(6))
            wait_for(lambda: (entry := next(entries)) is not None and entry.record is not None)
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does
            _, told = process.communicate(timeout=120)
        assert process.returncode == 130, told
        assert "Traceback" not in told and "interrupted" in told
        # Whatever was done by then, though no worker had told of it.
        assert 0 < len(report(out)["measurements"]) < 6

    @pytest.mark.parametrize("wrong", ["local:0", "local:", "local:x", "nowhere"])
    def test_an_address_that_cannot_be_meant(self, run, captures, tmp_path, wrong):
        with pytest.raises(UsageError, match="local:4"):
            run(*reconstruct(captures, tmp_path / "o", "--cluster", wrong))


def workers(pid: int) -> list[int]:
    """The processes that a Dask cluster of `pid` computes in."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_text().split("\0")
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
        if parent == pid and any("spawn_main" in word for word in words):
            found.append(int(folder.name))
    return found


def test_failures_are_lines_of_json_too(run, captures, tmp_path):
    broken = break_seven(captures)
    result = run(*reconstruct(captures, tmp_path / "o", "--json"))
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(lines) == 13 and sum("status" in line for line in lines) == 6
    failed = [line for line in lines if "error" in line]
    assert [Path(line["input"]).name for line in failed] == broken
    assert all(line["exit_code"] == 3 for line in failed)
