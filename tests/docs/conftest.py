"""A folder as a clone of the repository has it, and a shell in which commands start at once."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SHIPPED = ("README.md", "docs", "models", "examples", "deqsci_cli", "benchmarks", "pyproject.toml")

# What stands in for the program: it hands all to the server.
_CLIENT = """
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect(sys.argv[1])
    asked = {"command": sys.argv[2:], "folder": os.getcwd(), "environment": dict(os.environ)}
    socket.send_fds(server, [json.dumps(asked).encode()], [0, 1, 2])
    sys.exit((server.recv(1) or b"\\1")[0])
"""
# Installing is not tried here, but what is named must be there to be installed, or to be made.
_PIP = """
import re, sys, tomllib
with open("pyproject.toml", "rb") as file:
    extras = tomllib.load(file)["project"]["optional-dependencies"]
found = re.fullmatch(r"(?:deqsci|[.])(?:[[](.*)[]])?", sys.argv[-1])
assert sys.argv[1] == "install" and found, sys.argv
missing = set((found[1] or "video").split(",")) - set(extras)
sys.exit(f"there is no extra {missing}" if missing else 0)
"""


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with `deqsci`, `python`, `pip` and `make` as the pages name them."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "client.py").write_text(_CLIENT)
    (folder / "pip.py").write_text(_PIP)
    lines = {
        "deqsci": f"{sys.executable} -I -S {folder}/client.py {folder}/socket deqsci",
        "python": f"{sys.executable} -I -S {folder}/client.py {folder}/socket python",
        "pip": f"{sys.executable} -I -S {folder}/pip.py",
        "make": f"{shutil.which('make')} -n -C {REPOSITORY}",
    }
    for name, line in lines.items():
        (folder / name).write_text(f'#!/bin/sh\nexec {line} "$@"\n')
        (folder / name).chmod(stat.S_IRWXU)
    server = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("command_server.py"), folder / "socket"],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
    )
    assert server.stdout is not None and server.stdout.readline() == b"ready\n"
    yield folder
    server.kill()
    server.wait()


@pytest.fixture
def shell(
    programs: Path, tmp_path: Path
) -> Callable[[list[str]], subprocess.CompletedProcess[str]]:
    """Runs a command where the repository's files lie; all commands of a test in one folder."""
    shutil.copytree(REPOSITORY / "sample_data", tmp_path / "sample_data")
    for name in SHIPPED:
        (tmp_path / name).symlink_to(REPOSITORY / name)
    environment = os.environ | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "100",
        "SLURM_ARRAY_TASK_ID": "1",
        "SLURM_ARRAY_TASK_COUNT": "2",
    }

    def run(command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=tmp_path, env=environment, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
        )  # fmt: skip

    return run
