"""Files that the program wrote itself, spoilt: told as such, or of no consequence."""

from __future__ import annotations

import copy
import json
import os
import random
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
import scipy.io
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

CODES = (0, 2, 3)
TV = ("--model", "gap-tv", "--max-iter", 4, "--preview", "none", "--device", "cpu", "-q")
TRAIN = (
    *("train", "films/train", "--validation", "films/held", "-o", "model", "--stage"),
    *("equilibrium", "--architecture", "cnn", "--steps", 4, "--batch", 2, "--patch", 16),
    *("--validate-every", 2, "--device", "cpu"),
    *("--set", "options.channels=4", "--set", "options.depth=2", "--set", "validation_side=16"),
    *("--set", "captures.frames=[4]", "--set", "average=0.5", "--set", "solve.map=gap"),
)
LONGER = (*TRAIN, "--steps", 5, "--resume")
# What stands in place of a value.
VALUES = (
    *(None, True, False, "", "x", "\0", "..", "/dev/zero", "x" * 300, "\udcff", [], {}, [[]]),
    *(0, -1, 1, 7, 2**31, 2**63, 2**64, 10**400, 0.5, -1e308, 1e308, 1e-320, [1] * 40, {"a": 1}),
)
# What stands in place of a whole file.
TEXTS = {
    "empty": b"", "half": b'{"a": ', "list": b"[]", "number": b"3", "null": b"null",
    "deep": b"[" * 10**5, "deep objects": b'{"a":' * 10**5, "deep, closed": b"[" * 500 + b"]" * 500,
    "NaN": b'{"schema": NaN}', "Infinity": b'{"name": Infinity}', "zeros": bytes(1000),
    "UTF-16": '{"name": "a"}'.encode("utf-16"), "no UTF-8": b'{"name": "\xff"}',
    "many digits": b'{"seconds": ' + b"9" * 5000 + b"}", "one key twice": b'{"a": 1, "a": 1}',
}  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything in a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in inner:
        yield (*path, key)
        if isinstance(item, dict | list):
            yield from places(item, (*path, key))


def spoilt(sound: dict[str, Any]) -> dict[str, bytes]:
    """Every value of a JSON file replaced by each of `VALUES`, or missing, or beside another."""
    found = dict(TEXTS)
    for path in places(sound):
        *parents, last = path
        for value in (*VALUES, ...):
            content = copy.deepcopy(sound)
            inside = content
            for key in parents:
                inside = inside[key]
            if value is ...:
                del inside[last]
            else:
                inside[last] = value
            name = ".".join(map(str, path))
            found[f"{name}={value!r:.20}"] = json.dumps(content).encode()
    found["more"] = json.dumps(sound | {"more": 1}).encode()
    return found


def sample(cases: dict[str, bytes], count: int) -> dict[str, bytes]:
    """The texts, and some others, always the same ones."""
    names = [name for name in cases if name not in TEXTS]
    return {n: cases[n] for n in (*TEXTS, *random.Random(0).sample(names, min(count, len(names))))}


@pytest.fixture
def runs(tmp_path, commands, moving_scene) -> Path:
    """A folder with a capture's films in `o`, clips in `films`, and a model trained on them."""
    rng = np.random.default_rng(1)
    mask = (rng.random((4, 16, 20)) < 0.5).astype(np.uint8)
    film = np.rint(moving_scene[:, :16, :20] * 255)
    meas = (film.reshape(2, 4, 16, 20) * mask).sum(1)
    arrays = {"meas": meas, "mask": mask, "orig": film}
    content = {name: array.transpose(1, 2, 0) for name, array in arrays.items()}
    scipy.io.savemat(tmp_path / "scene.mat", content)
    for name in ("train", "held"):
        (tmp_path / "films" / name).mkdir(parents=True)
        clip = np.rint(255 * moving_scene).astype(np.uint8)
        iio.imwrite(tmp_path / "films" / name / "a.gif", clip)
    done = commands([("reconstruct", "scene.mat", "-o", "o", *TV), TRAIN])
    assert [result.code for result in done] == [0, 0], done
    shutil.copytree(tmp_path / "o", tmp_path / "sound o")
    shutil.copytree(tmp_path / "model", tmp_path / "sound model")
    return tmp_path


def again(runs: Path, name: str) -> None:
    shutil.rmtree(runs / name)
    shutil.copytree(runs / f"sound {name}", runs / name)


#: file, folder that it is of, what reads it
READERS = {
    "report": ("o/report.json", "o", ("view", "o", "-o", "page.html", "--overwrite")),
    "report beside": ("o/report.json", "o", ("view", "o/scene_1.tif", "-o", "p.html", "--overwrite")),
    "manifest": ("o/.manifest/scene_0.tif.json", "o",
                 ("reconstruct", "scene.mat", "-o", "o", *TV, "--resume")),
    "card": ("model/card.json", "model", ("models", "show", "./model")),
    "weights": ("model/model.safetensors", "model", ("models", "show", "./model")),
    "state": ("model/state.safetensors", "model", LONGER),
    "log": ("model/log.jsonl", "model", LONGER),
}  # fmt: skip


def attack(runs: Path, commands: Callable, who: str, cases: dict[str, bytes]) -> dict[str, int]:
    """How a command ends for each content of a file: always in words and in time."""
    file, folder, command = READERS[who]
    codes = {}
    for name, data in cases.items():
        (runs / file).write_bytes(data)
        (result,) = commands([command])
        assert result.code in CODES, (name, result.err[-2000:])
        assert result.seconds < 20 and result.mib < 500, (name, result)
        assert (result.code == 0) == (result.err.count("error:") == 0), (name, result.err)
        codes[name] = result.code
        again(runs, folder)
    return codes


@pytest.mark.parametrize("who", ["report", "report beside", "manifest", "card"])
def test_damaged_json(runs, commands, who):
    sound = json.loads((runs / READERS[who][0]).read_text())
    codes = attack(runs, commands, who, sample(spoilt(sound), 25))
    expected = {"report": 3, "report beside": 0, "manifest": 2, "card": 3}[who]
    assert {codes[name] for name in TEXTS} == {expected}


@pytest.mark.soak
@pytest.mark.parametrize("who", ["report", "report beside", "manifest", "card"])
def test_all_damaged_json(runs, commands, who):
    attack(runs, commands, who, spoilt(json.loads((runs / READERS[who][0]).read_text())))
