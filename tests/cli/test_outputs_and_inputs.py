"""No command writes over a file that it reads, whatever the flags and however the file is named."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import tifffile

from deqsci_cli import zoo
from deqsci_cli.errors import UsageError
from deqsci_cli.networks.registry import build

FAST = ("--model", "gap-tv", "--max-iter", "1", "--preview", "gif", "--scale", "255")


@pytest.fixture
def files(tmp_path, moving_scene):
    """A folder `own` with a capture and a clip as TIFF, a capture as .mat, and a mask beside it."""
    rng = np.random.default_rng(0)
    mask = (rng.random(moving_scene.shape) < 0.5).astype(np.float32)
    own = tmp_path / "own"
    own.mkdir()
    measurement = (255 * moving_scene * mask).sum(0)
    tifffile.imwrite(own / "a.tif", measurement.astype(np.float32))
    for name in ("whole.mat", "mask.mat"):
        content = {"mask": mask.transpose(1, 2, 0)}
        if name == "whole.mat":
            content["meas"] = measurement
        scipy.io.savemat(tmp_path / name, content)
    tifffile.imwrite(tmp_path / "clip.tif", moving_scene, metadata={"axes": "TYX"})
    return tmp_path


def commands(at: Path) -> dict[str, tuple[Path, tuple[object, ...]]]:
    """By a name, a file that must stay as it is, and a command that would replace it."""
    mask, own = at / "mask.mat", at / "own"
    link = at / "linked"
    link.symlink_to(own, target_is_directory=True)
    (at / "other").mkdir()
    shutil.copy(at / "whole.mat", at / "other" / "mask.mat")
    as_tiff = scipy.io.loadmat(mask)["mask"].transpose(2, 0, 1)
    tifffile.imwrite(at / "other" / "WHOLE.tif", as_tiff, metadata={"axes": "TYX"})
    (at / "again").mkdir()
    os.link(own / "a.tif", at / "again" / "a.tif")
    (at / "list.gif").write_text(f"{at / 'whole.mat'}\n")
    shutil.copy(at / "whole.mat", at / "list.mat")
    to = ("--format", "mat")
    network = build("cnn", {"channels": 2, "depth": 2})
    card = zoo.Card("m", "", "cnn", {"channels": 2, "depth": 2})
    zoo.save_model(at / "m", network, card, overwrite=False)
    (at / "n").mkdir()
    (at / "n" / "log.jsonl").write_text("steps = 1\n")
    shutil.copy(at / "whole.mat", at / "benchmark.csv")
    return {
        "its capture": (own / "a.tif", ("reconstruct", own, "--mask", mask, "-o", own)),
        "through a link": (own / "a.tif", ("reconstruct", link, "--mask", mask, "-o", own)),
        "a second name": (
            own / "a.tif", ("reconstruct", own / "a.tif", "--mask", mask, "-o", at / "again"),
        ),
        "another case": (
            at / "other" / "WHOLE.tif",
            ("reconstruct", at / "whole.mat", "--mask", at / "other" / "WHOLE.tif", "-o",
             at / "other"),
        ),
        "its mask": (
            mask, ("reconstruct", at / "other" / "mask.mat", "--mask", mask, "-o", at, *to),
        ),
        "its list": (
            at / "list.gif",
            ("reconstruct", at / "list.mat", f"@{at / 'list.gif'}", "-o", at, *to),
        ),
        "a video": (at / "clip.tif", ("simulate", at / "clip.tif", "-o", at / "clip.tif")),
        "a mask of simulate": (
            mask, ("simulate", at / "clip.tif", "--mask", mask, "-o", mask),
        ),
        "a film of view": (own / "a.tif", ("view", own / "a.tif", "-o", own / "a.tif")),
        "a converted file": (
            at / "whole.mat", ("convert", at / "whole.mat", at / "own" / ".." / "whole.mat"),
        ),
        "a mask of convert": (mask, ("convert", own / "a.tif", mask, "--mask", mask)),
        "a model to train from": (
            at / "m" / zoo.WEIGHTS,
            ("train", at / "clips", "--validation", at / "clips", "-o", at / "m", "--init-from",
             at / "m"),
        ),
        "a recipe": (
            at / "n" / "log.jsonl",
            ("train", at / "clips", "--validation", at / "clips", "-o", at / "n", "--config",
             at / "n" / "log.jsonl", "--architecture", "cnn"),
        ),
        "a benchmark's capture": (
            at / "benchmark.csv",
            ("evaluate", "--benchmark", at / "benchmark.csv", "--models", "gap-tv", "-o", at),
        ),
    }  # fmt: skip


NAMES = (
    "its capture", "through a link", "a second name", "another case", "its mask", "its list",
    "a video", "a mask of simulate", "a film of view", "a converted file", "a mask of convert",
    "a model to train from", "a recipe", "a benchmark's capture",
)  # fmt: skip


@pytest.mark.parametrize("flags", [(), ("--overwrite",), ("--resume",)])
@pytest.mark.parametrize("name", NAMES)
def test_an_output_never_takes_the_place_of_an_input(run, files, name, flags):
    file, command = commands(files)[name]
    if command[0] == "reconstruct":
        command = (*command, *FAST)
    elif "--resume" in flags and command[0] != "train":
        pytest.skip("this command has no --resume")
    before = {path: path.read_bytes() for path in files.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match="input") as caught:
        run(*command, *flags)
    assert "--overwrite" not in str(caught.value)
    assert {path: path.read_bytes() for path in files.rglob("*") if path.is_file()} == before
    assert file in before


def test_films_of_our_own_among_the_captures_are_passed_over(run, files):
    own, mask = files / "own", files / "mask.mat"
    (own / "a.tif").rename(own / "raw.tif")
    command = ("reconstruct", own, "--mask", mask, "-o", own, *FAST, "--format", "h5")
    assert run(*command).exit_code == 0
    first = (own / "raw.h5").read_bytes()
    again = run(*command, "--resume")
    assert again.exit_code == 0 and "raw.h5: passed over" in again.stderr
    assert "0 done, 1 skipped, 0 failed" in again.stderr
    assert (own / "raw.h5").read_bytes() == first
    assert sorted(path.suffix for path in own.glob("raw*")) == [".gif", ".h5", ".tif"]


def test_a_film_that_is_named_is_no_capture(run, files):
    own, mask = files / "own", files / "mask.mat"
    run("reconstruct", own, "--mask", mask, "-o", files / "o", *FAST)
    result = run("reconstruct", files / "o" / "a.tif", "--mask", mask, "-o", files / "p", *FAST)
    assert result.exit_code == 3 and "a film that deqsci made" in result.stderr
    with pytest.raises(UsageError, match="nothing to reconstruct"):
        run("reconstruct", files / "o", "--mask", mask, "-o", files / "p", *FAST)
    assert not (files / "p").exists()
