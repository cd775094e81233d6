"""An installed wheel, in an empty environment outside the checkout, finds its models and works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A fresh environment with our wheel, and this one's other packages behind it."""
    folder = tmp_path_factory.mktemp("installed")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, check=True, cwd=REPOSITORY, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "env", with_pip=False)
    python = folder / "env" / ("Scripts" if os.name == "nt" else "bin") / "python"
    purelib = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", purelib]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True)
    # Only the path itself is taken over: an editable install of the checkout stays behind.
    Path(purelib, "behind.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def test_an_installed_wheel_reconstructs(installed, tmp_path):
    sample = REPOSITORY / "sample_data" / "wheel.mat"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    where = subprocess.run(
        [installed, "-c", "import deqsci_cli; print(deqsci_cli.__file__)"],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
    ).stdout
    assert str(REPOSITORY) not in where
    done = subprocess.run(
        [
            *(installed, "-m", "deqsci_cli", "reconstruct", sample, "--model", "pnp"),
            *("--measurements", "0", "--max-iter", "3", "-o", "out", "--report"),
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "out" / "report.json").read_text())["measurements"][0]
    assert record["model"] == "pnp-video" and record["psnr"] > 20
    assert "<script>" in (tmp_path / "out" / "report.html").read_text()
