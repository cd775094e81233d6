"""Files and folders out to reach somewhere else; a canary tells whether they did."""

from __future__ import annotations

import json
import os
import pickle
import struct
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import tifffile
import torch

from deqsci_cli import zoo
from deqsci_cli.errors import DeqsciError, InputError
from deqsci_cli.io import describe, load_capture
from deqsci_cli.networks.registry import build
from deqsci_cli.runtime import isolation
from deqsci_cli.runtime.isolation import isolated

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links and names are others there")

CLEAR = "\x1b[2J\x1b]0;owned\x07"
MARKUP = "[red]x[bold] :bomb:"


class Bomb:
    """Unpickled, it makes a folder."""

    def __init__(self, target: Path):
        self.target = str(target)

    def __reduce__(self):
        return os.mkdir, (self.target,)


def capture(path: Path, key: str = "meas") -> Path:
    rng = np.random.default_rng(0)
    mask, video = rng.integers(0, 2, (9, 12, 3)), rng.integers(0, 255, (9, 12, 3))
    arrays = {key: (mask * video).sum(2).astype(np.uint16), "mask": mask.astype(np.uint8)}
    scipy.io.savemat(path, arrays)
    return path


def model(folder: Path, **changes: object) -> Path:
    card = zoo.Card(
        "small", "", "cnn", {"channels": 2, "depth": 2}, {"consistency_relaxation": 1.0}
    )
    zoo.save_model(folder, build("cnn", card.options), card, overwrite=False)
    written = json.loads((folder / zoo.CARD).read_text()) | changes
    (folder / zoo.CARD).write_text(json.dumps(written))
    return folder


USE = ("--model", "gap-tv", "--max-iter", "3", "-q")


# Code in pickles


@pytest.mark.parametrize("form", ["pickle", "torch", "legacy", "npy"])
def test_code_in_what_passes_for_weights_or_arrays_never_runs(commands, tmp_path, untouched, form):
    bomb = {"state_dict": {"layers.0.weight": Bomb(untouched / "owned")}}
    armed = tmp_path / "armed"
    if form == "npy":
        np.save(armed, np.array([bomb], object), allow_pickle=True)
        armed = tmp_path / "armed.npy"
    elif form == "pickle":
        armed.write_bytes(pickle.dumps(bomb))
    else:
        torch.save(bomb, armed, _use_new_zipfile_serialization=form == "torch")
    content = armed.read_bytes()
    lines, named = [], []
    for suffix in (".ckpt", ".pt", ".pth"):
        named.append(tmp_path / f"a{suffix}")
        lines.append(("convert", named[-1], "-o", tmp_path / "m", "--architecture", "cnn"))
    for suffix in (".mat", ".h5", ".tif", ".npy"):
        named.append(tmp_path / f"b{suffix}")
        lines.append(("reconstruct", named[-1], "-o", tmp_path / "o", *USE, "--overwrite"))
        lines.append(("inspect", named[-1]))
        lines.append(("simulate", named[-1], "-o", tmp_path / "c.mat"))
    folder = model(tmp_path / "dressed")
    named.append(folder / zoo.WEIGHTS)
    lines.append(("models", "show", folder))
    for file in named:
        file.write_bytes(content)
    for line, result in zip(lines, commands(lines), strict=True):
        assert result.code == 3 and "Traceback" not in result.err, (line, result)
    # The canary can be killed: opened carelessly, the same bytes do run.
    if form == "pickle":
        pickle.loads(content)
        (untouched / "owned").rmdir()
    assert not (untouched / "owned").exists() and not (tmp_path / "m").exists()


def test_cells_and_objects_of_matlab_are_not_opened(tmp_path, untouched):
    payload = np.frombuffer(pickle.dumps(Bomb(untouched / "owned")), np.uint8)
    scipy.io.savemat(
        tmp_path / "a.mat",
        {"meas": np.array([[payload, "os.mkdir"]], object), "mask": np.ones((3, 3, 2))},
    )
    with pytest.raises(InputError, match="cell"):
        load_capture(tmp_path / "a.mat")
    assert not (untouched / "owned").exists()


# Names


@pytest.mark.parametrize(
    "name", [f"a{CLEAR}", f"b{MARKUP}", "c\nerror: all is lost\r", "d\u202egnp"]
)
def test_names_steer_no_terminal(commands, tmp_path, name):
    """In names of files and of arrays: nothing but printable characters comes out."""
    good = capture(tmp_path / f"{name}.mat")
    bad = tmp_path / f"{name}.h5"
    bad.write_bytes(b"no capture")
    key = f"k{name}"[:25].encode("ascii", "replace").decode()
    keyed = capture(tmp_path / "keyed.mat", key=key)
    tifffile.imwrite(tmp_path / "t.tif", np.ones((9, 12), np.uint8), metadata={"name": "m"})
    content = (
        (tmp_path / "t.tif").read_bytes().replace(b'"name": "m"', b'"name":"\\\\u001b[J"'[:11])
    )
    (tmp_path / "t.tif").write_bytes(content)
    odd = model(tmp_path / "model", summary=name, licence=name, training={name: name})
    lines = [
        ("reconstruct", good, bad, "-o", tmp_path / "o", *USE[:-1]),
        ("reconstruct", good, "-o", tmp_path / "o", *USE, "--dry-run", "--overwrite"),
        ("reconstruct", good, "-o", tmp_path / "o", *USE),
        ("inspect", good), ("inspect", bad), ("inspect", keyed), ("inspect", tmp_path / "t.tif"),
        ("reconstruct", keyed, "-o", tmp_path / "p", *USE, "--measurement-key", "no"),
        ("models", "show", odd), ("models", "show", tmp_path / name),
        ("reconstruct", good, "--model", tmp_path / name),
        ("reconstruct", good, "--model", name), ("reconstruct", f"@{tmp_path / name}"),
        ("train", "--config", tmp_path / name), ("train", "--set", f"{name}=1"),
        ("view", tmp_path / name), ("convert", bad, tmp_path / "c.h5"),
        ("evaluate", good, "--truth", bad), ("simulate", bad, "-o", tmp_path / "s.mat"),
    ]  # fmt: skip
    for line, result in zip(lines, commands(lines), strict=True):
        assert result.code in (0, 1, 2, 3) and "Traceback" not in result.err, (line, result)
        told = (result.out + result.err).replace("\n", "")
        assert all(c.isprintable() for c in told), (line, told)
        assert not any(text.startswith("error: all is") for text in result.err.splitlines()), line
    assert [p.name for p in (tmp_path / "o").glob("*.tif")] == [f"{name}-mat.tif"]


@pytest.mark.parametrize(
    "name", ["..mat", "...mat", ".mat.mat", " .mat", "~.mat", "-.mat", "%2e.mat"]
)
def test_no_name_leads_out_of_the_output_folder(commands, tmp_path, untouched, name):
    (tmp_path / "in").mkdir()
    path = capture(tmp_path / "in" / name)
    before = set(tmp_path.iterdir())
    (result,) = commands([("reconstruct", path, "-o", tmp_path / "o", *USE)])
    assert result.code == 0, result
    assert set(tmp_path.iterdir()) - before == {tmp_path / "o"}
    assert len(list((tmp_path / "o").glob("*.tif"))) == 1


def test_a_report_that_names_films_elsewhere(commands, tmp_path, untouched):
    """`view` shows what lies beside the report, and writes beside it."""
    pytest.importorskip("jinja2")
    path = capture(tmp_path / "a.mat")
    commands([("reconstruct", path, "-o", tmp_path / "o", *USE)])
    report = json.loads((tmp_path / "o" / "report.json").read_text())
    report["measurements"][0]["output"] = "../theirs/canary.tif"
    (tmp_path / "o" / "report.json").write_text(json.dumps(report))
    (result,) = commands([("view", tmp_path / "o")])
    assert result.code == 3 and "canary.tif" in result.err and "Traceback" not in result.err


# Links in the output folder


@pytest.mark.parametrize("link", ["a.tif", "a.gif", "report.json", "report.html"])
@pytest.mark.parametrize("overwrite", [True, False])
def test_a_link_in_place_of_an_output(commands, tmp_path, untouched, link, overwrite):
    """Without --overwrite it is an output that exists; with it the link goes, its target stays."""
    if link == "report.html":
        pytest.importorskip("jinja2")
        pytest.importorskip("matplotlib")
    path, out = capture(tmp_path / "a.mat"), tmp_path / "o"
    out.mkdir()
    (out / link).symlink_to(untouched / "canary.tif")
    more = (["--overwrite"] if overwrite else []) + ["--report"] * (link == "report.html")
    (result,) = commands([("reconstruct", path, "-o", out, *USE, *more)])
    assert result.code == (0 if overwrite else 2), result
    assert (out / link).is_symlink() == (not overwrite)
    if not overwrite:
        assert link in result.err and [p.name for p in out.iterdir()] == [link]


def test_a_link_to_nowhere_is_not_written_through(commands, tmp_path, untouched):
    path, out = capture(tmp_path / "a.mat"), tmp_path / "o"
    out.mkdir()
    (out / "a.tif").symlink_to(untouched / "new.tif")
    codes = [r.code for r in commands([("reconstruct", path, "-o", out, *USE)])]
    codes += [r.code for r in commands([("reconstruct", path, "-o", out, *USE, "--overwrite")])]
    assert codes == [2, 0] and not (untouched / "new.tif").exists()


@pytest.mark.parametrize("resume", ["--overwrite", "--resume"])
def test_a_linked_folder_of_records(commands, tmp_path, untouched, resume):
    """The records of a run are written into a folder of its own, not where a link leads."""
    path, out = capture(tmp_path / "a.mat"), tmp_path / "o"
    out.mkdir()
    (untouched / "a.tif.json").write_text("somebody's record")
    before = {p.name: p.read_bytes() for p in untouched.iterdir()}
    (out / ".manifest").symlink_to(untouched)
    (result,) = commands([("reconstruct", path, "-o", out, *USE, resume)])
    assert {p.name: p.read_bytes() for p in untouched.iterdir()} == before
    assert result.code == 2 and ".manifest" in result.err, result
    (untouched / "a.tif.json").unlink()


def test_links_in_a_model_and_a_training_folder(commands, tmp_path, untouched):
    out = tmp_path / "m"
    out.mkdir()
    for name in (zoo.WEIGHTS, zoo.CARD):
        (out / name).symlink_to(untouched / "canary.tif")
    checkpoint = tmp_path / "a.ckpt"
    torch.save(build("cnn", {"channels": 2, "depth": 2}).state_dict(), checkpoint)
    line = ("convert", checkpoint, "-o", out, "--architecture", "cnn")
    results = commands([line, (*line, "--overwrite")])
    assert [r.code for r in results] == [2, 0]
    assert not (out / zoo.WEIGHTS).is_symlink() and not (out / zoo.CARD).is_symlink()


# Structures without an end


def test_a_million_pages(tmp_path):
    """Empty pages, one after another: refused, or counted, within seconds and little memory."""
    count = 10**6
    body = b"".join(
        struct.pack("<HI", 0, 8 + 6 * (n + 1) if n < count - 1 else 0) for n in range(count)
    )
    path = tmp_path / "a.tif"
    path.write_bytes(b"II*\0" + struct.pack("<I", 8) + body)
    _ends(path)


def test_pages_in_a_ring_of_many(tmp_path):
    """Each page points on, the last one back to the first."""
    tifffile.imwrite(tmp_path / "a.tif", np.ones((3, 9, 12), np.uint8), metadata=None)
    data = bytearray((tmp_path / "a.tif").read_bytes())
    (first,) = struct.unpack_from("<I", data, 4)
    offset = first
    while True:
        (count,) = struct.unpack_from("<H", data, offset)
        place = offset + 2 + 12 * count
        (following,) = struct.unpack_from("<I", data, place)
        if not following:
            break
        offset = following
    struct.pack_into("<I", data, place, first)
    (tmp_path / "a.tif").write_bytes(data)
    _ends(tmp_path / "a.tif")


def test_a_page_that_is_its_own_child(tmp_path):
    """A sub-directory tag that points to the page that it stands in."""
    tags = [(256, 3, 9), (257, 3, 9), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8),
            (277, 3, 1), (278, 3, 9), (279, 4, 81), (330, 4, 100)]  # fmt: skip
    body = struct.pack("<H", len(tags))
    body += b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    path = tmp_path / "a.tif"
    path.write_bytes(b"II*\0" + struct.pack("<I", 100) + bytes(92) + body + struct.pack("<I", 100))
    _ends(path)


def _ends(path: Path) -> None:
    """A file is refused within seconds and 300 MB; read apart, so that neither can hurt."""
    isolated(describe, capture(path.with_suffix(".mat")))
    process = isolation._READER.process
    status, began = Path(f"/proc/{process.pid}/status"), time.monotonic()

    def peak() -> int:
        lines = status.read_text().splitlines() if status.exists() else ["VmHWM: 0"]
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

    before = peak()
    for read in (describe, load_capture):
        with pytest.raises(DeqsciError) as caught:
            isolated(read, path)
        assert caught.value.exit_code == 3 and "crashed" not in caught.value.message
    assert process.poll() is None and time.monotonic() - began < 30
    assert peak() - before < 300 * 1024


# Models and settings that reach for more


def test_a_model_that_is_a_pipe_or_a_link_to_one(commands, tmp_path):
    folder = model(tmp_path / "m")
    (folder / zoo.WEIGHTS).unlink()
    os.mkfifo(folder / zoo.WEIGHTS)
    other = tmp_path / "n"
    other.mkdir()
    os.mkfifo(other / zoo.CARD)
    lines = [("models", "show", folder), ("models", "show", other)]
    for result in commands(lines):
        assert result.code == 3 and "Traceback" not in result.err, result


def test_a_pipe_in_place_of_an_input(commands, tmp_path):
    os.mkfifo(tmp_path / "a.mat")
    good = capture(tmp_path / "b.mat")
    lines = [("reconstruct", tmp_path / "a.mat", good, "-o", tmp_path / "o", *USE)]
    lines += [("inspect", tmp_path / "a.mat"), ("train", "--config", tmp_path / "a.mat")]
    first, second, third = commands(lines)
    assert (first.code, second.code, third.code) == (1, 3, 2), (first, second, third)
    assert (tmp_path / "o" / "b.tif").is_file()
