"""A disk that fills up under each writer: exit code 4, what was there before whole, no litter."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from deqsci_cli.io import atomic

FILMS = "reconstruct {c} --model gap-tv --max-iter 2 --report --preview gif,png -o {o}"
TRAIN = (
    "train {d} --validation {d} -o {o} --architecture cnn --steps 4 --batch-size 2 --patch-size 16"
    " --validate-every 2 --device cpu --tensorboard --set options.channels=4"
)
TABLE = "evaluate --benchmark {c} --models gap-tv --max-iter 2 --sweep noise=0,0.1 -o {o}"
# What is run, and in turn the files that the disk is too full for.
WRITERS = {
    FILMS: ("c_1.tif", "c_0.gif", "c_1.png", "report.json", "report.html", "c_1.tif.json"),
    FILMS + " --format mat": ("c_0.mat",),
    FILMS + " --format h5": ("c_0.h5",),
    FILMS + " --preview mp4": ("c_0.mp4",),
    TABLE: ("benchmark.json", "benchmark.svg"),  # the rest goes the same way
    TRAIN: ("state.safetensors", "model.safetensors", "card.json", "log.jsonl"),
    "simulate {d}/a.gif --frames 4 -o {o}/c.mat": ("c.mat",),
    "simulate {d}/a.gif --frames 4 -o {o}/c.h5": ("c.h5",),
    "convert {c} -o {o}/c.tif": ("c.tif",),
    "convert {c} -o {o}/c.mat": ("c.mat",),
}
CASES = [(command, file) for command, files in WRITERS.items() for file in files]


@pytest.fixture
def fill(coded, save, tmp_path):
    """A command's words, with a capture, a folder of clips, and an output folder put in."""
    pytest.importorskip("jinja2")
    clips = tmp_path / "clips"
    clips.mkdir()
    rng = np.random.default_rng(0)
    iio.imwrite(clips / "a.gif", rng.integers(0, 255, (8, 24, 28), dtype=np.uint8))
    capture = save("c.mat", meas=coded.meas, mask=coded.mask, orig=coded.film)

    def words(command: str, out: Path) -> list[str]:
        if "mp4" in command:
            pytest.importorskip("av")
        if "tensorboard" in command:
            pytest.importorskip("tensorboard")
        return [word.format(c=capture, d=clips, o=out) for word in command.split()]

    return words


def contents(folder: Path) -> dict[str, bytes]:
    files = (p for p in folder.rglob("*") if p.is_file() and p.parent.name != "tensorboard")
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


@pytest.mark.parametrize(("command", "file"), CASES, ids=[f"{c[:9]} {f}" for c, f in CASES])
def test_the_old_file_is_kept(deqsci, fill, tmp_path, monkeypatch, command, file):
    out = tmp_path / "o"
    words = fill(command, out)
    assert deqsci(*words).code == 0
    before, sync, refused = contents(out), atomic._sync, []
    name = next(n for n in before if n.endswith(file))

    def full(path: Path) -> None:
        if path.name.startswith(f".{Path(file).stem}.") and path.suffix == Path(file).suffix:
            refused.append(path)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(path)

    monkeypatch.setattr(atomic, "_sync", full)
    result = deqsci(*words, "--overwrite")
    assert refused
    assert result.code == 4 and "No space left" in result.told and Path(name).name in result.told
    after = contents(out)
    assert after.keys() <= before.keys() and after[name] == before[name]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a disk that is always full")
def test_results_onto_a_full_disk(fill, tmp_path, environment):
    words = fill("inspect {c} --json", tmp_path)
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "deqsci_cli", *words], stdout=full, stderr=subprocess.PIPE,
            env=environment, text=True, timeout=120,
        )  # fmt: skip
    assert done.returncode == 4 and "No space left" in done.stderr
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MB, and a way to leave so many kilobytes of it free."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk")

    def leave(kilobytes: int) -> Path:
        (disk / "filler").unlink(missing_ok=True)
        free = shutil.disk_usage(disk).free
        (disk / "filler").write_bytes(bytes(free - 1024 * kilobytes))
        return disk

    yield leave
    subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize(
    ("command", "sizes"),
    [
        (FILMS.replace(" --report", ""), (0, 4, 20, 36, 44, 52, 60, 76, 96, 104)),
        (TRAIN, (0, 4, 8, 12, 20, 28, 32, 36)),
        (TRAIN.replace("--tensorboard ", ""), (4, 8, 12, 16, 20, 24, 28)),
        ("simulate {d}/a.gif --frames 4 -o {o}/c.mat", (0, 4, 8)),
    ],
    ids=["films", "training with tensorboard", "training", "simulate"],
)
def test_a_disk_of_any_size(deqsci, fill, tmp_path, small_disk, left, command, sizes):
    """However much is free: nothing in part, and the run goes on to the same bytes."""
    whole = tmp_path / "whole"
    assert deqsci(*fill(command, whole)).code == 0
    kept = [
        p.name for p in whole.rglob("*") if p.suffix in (".tif", ".gif", ".png", ".safetensors")
    ]
    codes = []
    for size in sizes:
        shutil.rmtree(tmp_path / "disk" / "o", ignore_errors=True)
        out = small_disk(size) / "o"
        result = deqsci(*fill(command, out))
        codes.append(result.code)
        if result.code:
            assert result.code == 4 and "written: " in result.told  # by all libraries in own words
        names = left(out) if out.exists() else []
        assert not [n for n in names if n.count(".") > 1 and Path(n).name[0] == "."]
        for name in set(kept) & set(names) - {"state.safetensors"}:
            if "model" not in name or not result.code:  # an earlier model is a good one, too
                assert (out / name).read_bytes() == (whole / name).read_bytes(), name
        small_disk(1000)
        if "simulate" not in command:
            again = [*fill(command, out), "--resume"]
            if not (out / "state.safetensors").exists() and "train" in command:
                again[-1] = "--overwrite"
            assert deqsci(*again).code == 0
            for name in set(kept) - {"state.safetensors"}:
                assert (out / name).read_bytes() == (whole / name).read_bytes(), name
    assert codes.count(4) >= len(sizes) // 3
