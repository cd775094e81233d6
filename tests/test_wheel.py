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


USER = """
import numpy as np
import deqsci_cli as d

y, mask = np.ones((8, 8)), np.ones((4, 8, 8))
result = d.reconstruct(y, mask, model="pnp", device="cpu")
reveal_type(result.video)
reveal_type(result.status)
reveal_type(d.load_model("pnp").card.name)
reveal_type(d.psnr(result.video, mask))
reveal_type(d.load_capture("a.mat").frames)
reveal_type(d.simulate(mask, mask))
reveal_type(d.__version__)
d.reconstruct(y, mask, model=3)
d.reconstuct(y, mask)
"""


def test_a_users_mypy_sees_types(installed, tmp_path):
    """Those of the wheel: without its `py.typed` mypy would see nothing."""
    pytest.importorskip("mypy")
    (tmp_path / "user.py").write_text(USER)
    # PyTorch is large, and its types are not what is asked about.
    settings = "[mypy]\nstrict = True\n[mypy-torch.*]\nfollow_imports = skip\n"
    (tmp_path / "mypy.ini").write_text(settings)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--python-executable", str(installed), "user.py"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MYPYPATH")},
    )
    told = [line.split(": ", 1)[1] for line in done.stdout.splitlines() if ": " in line]
    types = [line.split('"')[1] for line in told if line.startswith("note: Revealed type")]
    words = ("ndarray", "list[", "str", "list[", "int", "ndarray", "str")
    assert len(types) == len(words), done.stdout + done.stderr
    assert all(word in found for word, found in zip(words, types, strict=True)), types
    errors = [line for line in told if line.startswith("error")]
    assert len(errors) == 2, errors
    assert "[arg-type]" in errors[0] and "[attr-defined]" in errors[1]


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
