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
from safetensors.torch import load_file, save

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

CODES = (0, 2, 3)
TV = ("--model", "gap-tv", "--max-iter", 4, "--preview", "none", "--device", "cpu", "-q")
TRAIN = (
    *("train", "films/train", "--validation", "films/held", "-o", "model", "--stage"),
    *("equilibrium", "--architecture", "cnn", "--steps", 4, "--batch-size", 2, "--patch-size", 16),
    *("--validate-every", 2, "--device", "cpu"),
    *("--set", "options.channels=4", "--set", "options.depth=2", "--set", "validation_side=16"),
    *("--set", "captures.frames=[4]", "--set", "ema_decay=0.5", "--set", "solve.map=gap"),
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
    """The path of everything in a JSON value; of a list its first item stands for all."""
    inner = value.items() if isinstance(value, dict) else enumerate(value[:1])
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
    "report beside": ("o/report.json", "o",
                      ("view", "o/scene_1.tif", "-o", "page.html", "--overwrite")),
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
    codes, faults = {}, []
    for name, data in cases.items():
        (runs / file).write_bytes(data)
        (result,) = commands([command])
        in_words = result.code in CODES and (result.code == 0) == ("error:" not in result.err)
        if not (in_words and result.seconds < 20 and result.mib < 500):
            faults.append((name, result.code, result.seconds, result.mib, result.err[-600:]))
        codes[name] = result.code
        again(runs, folder)
    assert not faults, "\n".join(map(str, faults))
    return codes


@pytest.mark.parametrize("who", ["report", "report beside", "manifest", "card"])
def test_damaged_json(runs, commands, who):
    sound = json.loads((runs / READERS[who][0]).read_text())
    codes = attack(runs, commands, who, sample(spoilt(sound), 25))
    expected = {"report": 3, "report beside": 0, "manifest": 0, "card": 3}[who]
    assert {codes[name] for name in TEXTS} == {expected}


@pytest.mark.soak
@pytest.mark.parametrize("who", ["report", "report beside", "manifest", "card"])
def test_all_damaged_json(runs, commands, who):
    attack(runs, commands, who, spoilt(json.loads((runs / READERS[who][0]).read_text())))


def spoilt_tensors(file: Path) -> dict[str, bytes]:
    """Each tensor missing, of another shape, type or name, or not finite; the facts spoilt."""
    tensors = load_file(file)
    with safe_open(file, framework="pt") as opened:
        facts = json.loads(opened.metadata()["facts"])

    def made(changed: dict[str, torch.Tensor], told: str | None = json.dumps(facts)) -> bytes:
        return save(
            {k: v.contiguous() for k, v in changed.items()},
            {"facts": told} if told is not None else None,
        )

    told = sample(spoilt(facts), 300)
    found = {f"facts {k}": made(tensors, v.decode("latin-1")) for k, v in told.items()}
    found |= {"no facts": made(tensors, None), "no tensors": made({})}
    found["one more"] = made(tensors | {"network.more": torch.zeros(1)})
    for name, tensor in tensors.items():
        rest = {k: v for k, v in tensors.items() if k != name}
        found |= {
            f"{name} missing": made(rest),
            f"{name} renamed": made(rest | {name + "0": tensor}),
            f"{name} larger": made(rest | {name: torch.zeros(2, *tensor.shape)}),
            f"{name} empty": made(rest | {name: torch.zeros(0)}),
            f"{name} of halves": made(rest | {name: tensor.half()}),
            f"{name} of bits": made(rest | {name: tensor.bool()}),
            f"{name} of bytes": made(rest | {name: tensor.to(torch.float8_e4m3fn)}),
        }
        if tensor.is_floating_point():
            found[f"{name} NaN"] = made(rest | {name: torch.full_like(tensor, torch.nan)})
            found[f"{name} infinite"] = made(rest | {name: torch.full_like(tensor, -torch.inf)})
        if name.endswith((".exp_avg_sq", ".step", ".n_averaged")):
            found[f"{name} below 0"] = made(rest | {name: tensor - 1e6})
    return found


def spoilt_bytes(whole: bytes, count: int) -> dict[str, bytes]:
    """A file cut off anywhere, and with bytes changed, half of them where its header is."""
    rng = random.Random(0)
    found = {f"cut at {n}": whole[:n] for n in (0, 7, 8, 40, len(whole) // 2, len(whole) - 1)}
    for number in range(count):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            reach = len(data) if rng.random() < 0.5 else min(len(data), 900)
            data[rng.randrange(reach)] = rng.choice(
                (0, 1, 34, 45, 57, 127, 255, rng.randrange(256))
            )
        found[f"changed {number}"] = bytes(data)
    return found


def groups(cases: dict[str, bytes]) -> dict[str, bytes]:
    """One case of each kind for each kind of tensor, and some spoilt facts."""
    facts = {k.removeprefix("facts "): v for k, v in cases.items() if k.startswith("facts ")}
    found = {f"facts {k}": v for k, v in sample(facts, 15).items()}
    kinds: dict[str, str] = {}
    for name in cases:
        owner, _, rest = name.partition(".")
        if not name.startswith("facts "):
            kinds.setdefault(f"{owner} {rest.rpartition('.')[2]}", name)
    return found | {name: cases[name] for name in kinds.values()}


def harmful(cases: dict[str, bytes]) -> set[str]:
    """Those that must be told; a fixed point that is missing is sought anew, as after torchrun."""
    missing = {name for name in cases if name.startswith("state.") and name.endswith("missing")}
    return {name for name in cases if not name.startswith("facts ")} - missing


def test_a_damaged_state(runs, commands):
    state = runs / "model/state.safetensors"
    cases = groups(spoilt_tensors(state))
    codes = attack(runs, commands, "state", cases | spoilt_bytes(state.read_bytes(), 15))
    assert {name for name in harmful(cases) if codes[name] != 3} == set()
    assert {codes[f"facts {name}"] for name in TEXTS} == {3}


@pytest.mark.soak
def test_all_damaged_states(runs, commands):
    state = runs / "model/state.safetensors"
    cases = spoilt_tensors(state)
    codes = attack(runs, commands, "state", cases | spoilt_bytes(state.read_bytes(), 300))
    assert {name for name in harmful(cases) if codes[name] != 3} == set()


def test_a_damaged_log(runs, commands):
    """What is damaged is taken out and told; the lines of the run stay as they were."""
    log = runs / "model/log.jsonl"
    sound = log.read_bytes()
    wrong = [b"{}", b'{"step": 1.5}', b'{"step": -1}', b'{"step": true}', b'{"step": "2"}']
    wrong += [text for name, text in TEXTS.items() if name not in ("empty", "UTF-16")]
    log.write_bytes(b"\n".join([*wrong, sound + b'{"step": 4, "psn']))
    (result,) = commands([LONGER])
    assert result.code == 0 and f"{len(wrong) + 1} damaged lines" in result.err, result
    assert log.read_bytes().startswith(sound)
    assert [json.loads(line)["step"] for line in log.read_text().splitlines()] == [2, 4, 5]


@pytest.mark.soak
def test_many_damaged_logs(runs, commands):
    sound = (runs / "model/log.jsonl").read_bytes()
    codes = attack(runs, commands, "log", spoilt_bytes(sound, 300))
    assert set(codes.values()) == {0}


def put(path: Path, kind: str) -> None:
    """Put something that is no file in its place, or one that is far too large."""
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(os.path.relpath(path))  # the system's limit is 107 bytes
    elif kind == "terabyte":
        with path.open("wb") as file:
            file.truncate(10**12)
    else:
        path.symlink_to({"device": "/dev/zero", "link to nowhere": "nowhere"}[kind])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
@pytest.mark.parametrize("who", READERS)
def test_what_is_no_file_is_not_waited_for(runs, commands, monkeypatch, who):
    monkeypatch.chdir(runs)
    file, folder, command = READERS[who]
    expected = {"report beside": (0,), "manifest": (0,), "log": (2, 3)}.get(who, (3,))
    for kind in ("pipe", "folder", "socket", "terabyte", "device", "link to nowhere"):
        if (who, kind) == ("log", "link to nowhere"):
            continue  # tests of writing look after it
        put(runs / file, kind)
        (result,) = commands([command])
        assert result.code in expected, (kind, result)
        assert result.seconds < 20 and result.mib < 300, (kind, result)
        (runs / file).rmdir() if kind == "folder" else (runs / file).unlink()
        again(runs, folder)
