"""Threads that suit a shared machine: what is set before PyTorch is loaded, and what is not."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from deqsci_cli import zoo
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.reconstructor import Reconstructor
from deqsci_cli.runtime import threads

NAMES = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
SECOND = "0::{group}\n"
FIRST = "5:memory:{group}\n4:cpu,cpuacct:{group}\n0::/\n"


@pytest.fixture
def unset(monkeypatch):
    """An environment in which the user has said nothing of threads."""
    for name in NAMES:
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)


@pytest.fixture
def groups(tmp_path):
    """Control groups as Linux shows them, and the folder of a process in one of them."""
    root, process = tmp_path / "cgroup", tmp_path / "self"
    process.mkdir()

    def make(table: str, group: str, quotas: dict[str, str]):
        kind, name = ("cgroup2", "cpu.max") if table is SECOND else ("cgroup", "cpu.cfs_quota_us")
        for folder, quota in quotas.items():
            place = root / folder
            place.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(quota + "\n")
            if table is FIRST:
                (place / "cpu.cfs_period_us").write_text("100000\n")
        (process / "cgroup").write_text(table.format(group=group))
        other = f"cgroup {tmp_path}/m cgroup rw,memory 0 0\n"
        (process / "mounts").write_text(f"{other}x {root} {kind} rw,cpu,cpuacct 0 0\n")
        return process

    return make


@pytest.mark.parametrize(
    ("table", "group", "quotas", "cores"),
    [
        (SECOND, "/a/b", {"a/b": "max 100000"}, None),
        (SECOND, "/a/b", {"a/b": "150000 100000"}, 1.5),
        (SECOND, "/a/b", {"a/b": "150000 100000", "a": "50000 100000"}, 0.5),
        (SECOND, "/a/b", {"a/b": "max 100000", ".": "200000 50000"}, 4.0),
        (SECOND, "/outside", {".": "250000 100000"}, 2.5),  # a container that sees but itself
        (SECOND, "/../../x", {".": "250000 100000"}, 2.5),
        (SECOND, "/", {".": "nonsense"}, None),
        (FIRST, "/a", {"a": "-1"}, None),
        (FIRST, "/a", {"a": "50000"}, 0.5),
        (FIRST, "/docker/1f", {".": "300000"}, 3.0),
    ],
)
def test_the_quota_of_a_control_group(groups, table, group, quotas, cores):
    assert threads.cpu_quota(groups(table, group, quotas)) == cores


def test_where_there_are_no_control_groups(tmp_path):
    assert threads.cpu_quota(tmp_path) is None


@pytest.mark.parametrize(
    ("quota", "cores", "count"),
    [(None, 4, None), (1.5, 4, "2"), (0.2, 4, "1"), (4.0, 4, None), (3.5, 2, None)],
)
def test_no_more_threads_than_a_quota_feeds(unset, monkeypatch, quota, cores, count):
    monkeypatch.setattr(threads, "cpu_quota", lambda: quota)
    monkeypatch.setattr(threads, "usable_cores", lambda: cores)
    threads.settle_threads()
    assert os.environ.get("OMP_NUM_THREADS") == count


@pytest.mark.parametrize("name", NAMES)
def test_what_the_user_has_set_stays(unset, monkeypatch, name):
    monkeypatch.setattr(threads, "cpu_quota", lambda: 0.5)
    monkeypatch.setenv(name, "7")
    threads.settle_threads()
    assert os.environ[name] == "7"
    assert ("GOMP_SPINCOUNT" in os.environ) == (name in ("OMP_NUM_THREADS", "GOMP_SPINCOUNT"))


@pytest.mark.parametrize("asked", [None, "7"])
def test_openmp_takes_what_is_set(unset, tmp_path, asked):
    """GNU's OpenMP tells what it has understood, as it is loaded with PyTorch."""
    environment = os.environ | {"OMP_DISPLAY_ENV": "verbose"}
    environment |= {} if asked is None else {"GOMP_SPINCOUNT": asked}
    command = (sys.executable, "-m", "deqsci_cli", "reconstruct", "absent.mat", "-o", "o")
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    if "GOMP_SPINCOUNT" not in done.stderr:
        pytest.skip("PyTorch has another OpenMP here")
    spins = [line.split("'")[1] for line in done.stderr.splitlines() if "GOMP_SPINCOUNT" in line]
    assert set(spins) == {asked or "500"}


def test_a_library_leaves_the_process_as_it_is(unset):
    code = (
        "import os, deqsci_cli.engine.reconstruct, deqsci_cli.__main__;"
        f"assert not any(name in os.environ for name in {NAMES})"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize(
    ("model", "side", "expected"), [("gap-tv", 16, 1), ("gap-tv", 272, 3), ("pnp-cnn", 16, 3)]
)
def test_small_arithmetic_is_one_threads(model, side, expected):
    known, seen, before = zoo.load(model), [], torch.get_num_threads()
    run = Reconstructor(known, EquilibriumSettings(max_iter=1), device="cpu")
    run.network.register_forward_hook(lambda *_: seen.append(torch.get_num_threads()))
    mask = np.ones((2, side, side), np.float32)
    torch.set_num_threads(3)
    try:
        run(mask.sum(0)[None] / 2, mask)
        assert set(seen) == {expected} and torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
