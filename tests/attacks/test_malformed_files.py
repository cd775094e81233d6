"""A corpus of spoilt files, each given to the real command: one clear error, and nothing written.

Of every format a sound file is cut off at twenty places, has a byte flipped at twenty, and is
written with whatever else can be wrong about its content.
"""

from __future__ import annotations

import json
import re
import struct
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import imageio.v3 as iio
import numpy as np
import pytest
import safetensors.numpy
import scipy.io
import tifffile
import torch

from deqsci_cli import zoo
from deqsci_cli.networks.registry import build

SEED = 20260
T, H, W = 3, 10, 14
FORMATS = ("mat", "v73", "h5", "tif")


def sound() -> dict[str, np.ndarray]:
    """A capture of two measurements with truth, (·, H, W), 8 bits."""
    rng = np.random.default_rng(SEED)
    mask = rng.integers(0, 2, (T, H, W), dtype=np.uint8)
    orig = rng.integers(0, 256, (2 * T, H, W), dtype=np.uint8)
    meas = (orig.reshape(2, T, H, W).astype(np.uint16) * mask).sum(1).astype(np.uint16)
    return {"meas": meas, "mask": mask, "orig": orig}


def write(path: Path, kind: str, arrays: dict[str, object]) -> Path:
    """A capture file of a format, by that format's own library alone."""

    def matlab(value):
        turned = isinstance(value, np.ndarray) and value.ndim == 3
        return value.transpose(1, 2, 0) if turned else value

    if kind == "mat":
        values = {name: matlab(value) for name, value in arrays.items()}
        scipy.io.savemat(path, values, do_compression=True)
    elif kind == "tif":
        with tifffile.TiffWriter(path) as file:
            for name, value in arrays.items():
                file.write(
                    value, photometric="minisblack", compression="zlib", metadata={"name": name}
                )
    else:
        with h5py.File(path, "w", userblock_size=512 if kind == "v73" else 0) as file:
            for name, value in arrays.items():
                _store(
                    file,
                    name,
                    matlab(value).T if kind == "v73" and isinstance(value, np.ndarray) else value,
                )
        if kind == "v73":
            with path.open("r+b") as stream:
                stream.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    return path


def _store(group: h5py.Group, name: str, value: object) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            _store(group.require_group(name), key, inner)
    elif isinstance(value, np.ndarray) and value.dtype.kind in "fiubc" and value.size:
        group.create_dataset(name, data=value, compression="gzip", fletcher32=True)
    else:
        group[name] = value


def read(path: Path, kind: str) -> dict[str, np.ndarray] | None:
    """What the format's own library makes of a file, None where it cannot read it."""
    try:
        if kind == "mat":
            found = scipy.io.loadmat(path)
            return {n: np.asarray(v) for n, v in found.items() if n[0] != "_"}
        if kind == "tif":
            with tifffile.TiffFile(path) as file:
                return {s.name: s.asarray() for s in file.series}
        with h5py.File(path) as file:
            return {name: value[()] for name, value in file.items()}
    except Exception:
        return None


def damages(whole: bytes) -> Iterator[tuple[str, bytes]]:
    """A file cut off at twenty places, and with a bit of damage at twenty."""
    rng = np.random.default_rng(SEED)
    for part in np.linspace(0, 0.98, 20):
        yield f"cut at {part:.2f}", whole[: int(part * len(whole))]
    for number in range(20):
        # Half of the damage goes where the headers are.
        place = int(rng.integers(len(whole) if number % 2 else min(len(whole), 400)))
        changed = bytearray(whole)
        changed[place] ^= int(rng.integers(1, 256))
        yield f"byte {place} flipped", bytes(changed)


# What can be wrong with a capture whatever its format: (change, words of the message). An array
# that becomes None is left out. All of these are inputs that cannot be read: exit code 3.
Change = Callable[[dict[str, np.ndarray]], dict[str, object]]
CAPTURES: dict[str, tuple[Change, str]] = {
    "no mask": (lambda a: {"mask": None, "orig": None}, "mask"),
    "no measurement": (lambda a: {"meas": None}, "measurement"),
    "settings": (lambda a: {"meas": None, "mask": None, "orig": np.ones((1, 4))}, "measurement"),
    "one turned": (lambda a: {"meas": a["meas"].swapaxes(1, 2).copy()}, "sizes do not agree"),
    "mask of another camera": (lambda a: {"mask": a["mask"][:, 1:]}, "sizes do not agree"),
    "truth of another size": (lambda a: {"orig": a["orig"][:, :, 1:]}, "sizes do not agree"),
    "four axes": (lambda a: {"meas": np.ones((2, 2, H, W), np.uint16)}, "measurement"),
    "one number": (lambda a: {"meas": np.ones((1, 1), np.uint16)}, "do not agree"),
    "NaN": (lambda a: {"meas": np.where(a["meas"] == a["meas"].max(), np.nan, a["meas"])}, "NaN"),
    "all NaN": (lambda a: {"meas": np.full((2, H, W), np.nan)}, "NaN"),
    "infinite mask": (lambda a: {"mask": np.full((T, H, W), np.inf)}, "mask"),
    "NaN in the truth": (lambda a: {"orig": np.full((6, H, W), np.nan, np.float32)}, "truth"),
    "past float32": (lambda a: {"meas": np.full((2, H, W), 1e300)}, "measurement"),
    "complex": (lambda a: {"meas": a["meas"] * 1j}, "meas"),
    "complex mask": (lambda a: {"mask": a["mask"] * 1j}, "mask"),
    "negative mask": (lambda a: {"mask": -a["mask"].astype(np.int16)}, "negative"),
    "mask below its noise": (lambda a: {"mask": a["mask"] - 0.05}, "negative"),
    "closed mask": (lambda a: {"mask": 0 * a["mask"]}, "closed"),
    "truth past 16 bits": (lambda a: {"orig": a["orig"].astype(np.float64) * 1e6}, "16 bits"),
}  # fmt: skip
# What not every format can hold.
SOME = ("mat", "v73", "h5")
OTHERS: dict[str, tuple[tuple[str, ...], Change, str]] = {
    "T = 0": (SOME, lambda a: {"mask": np.zeros((0, H, W), np.uint8)}, "empty"),
    "empty": (SOME, lambda a: {"meas": np.zeros((0, 0))}, "empty"),
    "text": (SOME, lambda a: {"meas": "text"}, "measurement"),
    "structs": (("mat",), lambda a: {"meas": {"a": {"b": a["meas"]}}}, "struct"),
    "groups": (("h5",), lambda a: {"meas": {"a": {"b": {"c": np.ones(3)}}}}, "measurement"),
    "records": (("h5",), lambda a: {"mask": np.zeros((T, H, W), [("x", "f4")])}, "mask"),
    "cell": (("mat",), lambda a: {"mask": np.array([[1, "a"]], object)}, "cell"),
}


def captures(kind: str) -> dict[str, str]:
    """The names of the defects that a format can have, with words of the message."""
    found = {name: words for name, (_, words) in CAPTURES.items()}
    return found | {name: words for name, (kinds, _, words) in OTHERS.items() if kind in kinds}


@pytest.mark.parametrize("kind", FORMATS)
def test_captures(commands, tmp_path, kind):
    suffix = {"mat": ".mat", "v73": ".mat", "h5": ".h5", "tif": ".tif"}[kind]
    whole = write(tmp_path / f"whole{suffix}", kind, sound())
    meant = {"whole": None}
    for name, content in damages(whole.read_bytes()):
        (tmp_path / f"{name}{suffix}").write_bytes(content)
        meant[name] = None
    for name, words in captures(kind).items():
        change = CAPTURES[name][0] if name in CAPTURES else OTHERS[name][1]
        arrays = sound() | change(sound())
        write(
            tmp_path / f"{name}{suffix}", kind, {k: v for k, v in arrays.items() if v is not None}
        )
        meant[name] = words
    assert len(meant) >= 56
    files = {name: tmp_path / f"{name}{suffix}" for name in meant}
    options = ("--model", "gap-tv", "--max-iter", "8", "--preview", "none", "-q", "--format", "h5")
    lines = [("reconstruct", f, "-o", f.with_suffix(""), *options) for f in files.values()]
    lines += [("inspect", file) for file in files.values()]
    results = commands(lines)
    true, film = read(whole, kind), None
    faults = []
    for (name, file), result in zip(files.items(), results[: len(files)], strict=True):
        out = file.with_suffix("")
        if result.code == 0 and meant[name] is None and not name.startswith("cut"):
            made = films(out)
            film = made if name == "whole" else film
            # A flip that does no harm: the same film, unless the file soundly says something else.
            right = not same(read(file, kind), true) or np.array_equal(made, film)
            faults += [] if right and np.isfinite(made).all() else [(name, "a wrong film")]
        else:
            faults += refusal(result, file.name, name, 3, meant[name])
            faults += [(name, p) for p in out.rglob("*") if p.name != "report.json"]
    for (name, file), result in zip(files.items(), results[len(files) :], strict=True):
        if result.code or "not read as a capture" in result.err:
            faults += refusal(result, file.name, f"inspect {name}", 3 if result.code else 0, None)
    assert results[0].code == 0 and film is not None and not faults, "\n".join(map(str, faults))


def films(folder: Path) -> np.ndarray:
    films = []
    for path in sorted(folder.glob("*.h5")):
        with h5py.File(path) as file:
            films.append(file["video"][()])
    return np.stack(films)


def same(one: dict[str, np.ndarray] | None, other: dict[str, np.ndarray]) -> bool:
    return (
        one is not None
        and one.keys() == other.keys()
        and all(one[n].dtype == other[n].dtype and np.array_equal(one[n], other[n]) for n in one)
    )


def refusal(result, file: str, name: str, code: int, words: str | None) -> list[tuple[str, ...]]:
    """What is amiss: one short sentence names the file and the mend; little memory is taken."""
    lines = result.err.splitlines()
    sound = {
        "the code": result.code == code,
        "a traceback": "Traceback" not in result.err,
        "the lines": 0 < len(lines) <= 3,
        "the file": file in result.err,
        "the mend": bool(re.search(r"\(.{8,}\)\s*$| must (be|hold|not) ", result.err)),
        "the words": words is None or words in result.err,
        "the memory": result.mib < 300,
    }
    return [
        (name, what, result.code, result.err[-900:]) for what, good in sound.items() if not good
    ]


OPTIONS = {"channels": 2, "depth": 2}
KERNEL = "layers.0.weight"


def model_folder(folder: Path) -> Path:
    """A sound model of two small convolutions."""
    torch.manual_seed(SEED)
    card = zoo.Card(
        "small", "", "cnn", OPTIONS, {"consistency_relaxation": 1.0, "sigma": 0.05}, licence="MIT"
    )
    zoo.save_model(folder, build("cnn", OPTIONS), card, overwrite=False)
    return folder


def raw_safetensors(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor_defects() -> dict[str, tuple[bytes, str]]:
    """Weights that are wrong, each with words of the message."""
    torch.manual_seed(SEED)
    state = {k: v.detach().numpy() for k, v in build("cnn", OPTIONS).state_dict().items()}
    kernel = state[KERNEL]
    changes: dict[str, tuple[dict[str, object], str]] = {
        "missing": ({KERNEL: None}, "is missing"),
        "unknown": ({"layers.7.weight": kernel}, "layers.7.weight"),
        "none at all": (dict.fromkeys(state), "is missing"),
        "transposed": ({KERNEL: kernel.transpose(1, 0, 2, 3).copy()}, "not [2, 1, 3, 3]"),
        "wider": ({KERNEL: np.ones((2, 1, 5, 5), np.float32)}, "not [2, 1, 3, 3]"),
        "flat": ({KERNEL: kernel.ravel()}, "not [2, 1, 3, 3]"),
        "empty": ({KERNEL: np.zeros((0, 1, 3, 3), np.float32)}, "not [2, 1, 3, 3]"),
        "integers": ({KERNEL: np.ones(kernel.shape, np.int64)}, "of type int64"),
        "logical": ({KERNEL: np.ones(kernel.shape, bool)}, "of type bool"),
        "NaN": ({KERNEL: np.full_like(kernel, np.nan)}, "NaN"),
        "infinite": ({KERNEL: np.full_like(kernel, np.inf)}, "NaN or infinite"),
        "renamed": ({KERNEL: None, "\x1b[2Jweight": kernel}, "is missing"),
    }
    made = {}
    for name, (change, words) in changes.items():
        arrays = {k: v for k, v in (state | change).items() if v is not None}
        made[name] = safetensors.numpy.save(arrays), words
    entry = {"dtype": "F32", "shape": [2, 1, 3, 3], "data_offsets": [0, 72]}
    return made | {
        "a header of 2^63 bytes": (struct.pack("<Q", 2**63) + b"{}", "cannot be read"),
        "a header of 10 GB": (struct.pack("<Q", 10**10) + b"{}", "cannot be read"),
        "a header that is no JSON": (raw_safetensors(b"not JSON"), "cannot be read"),
        "offsets out of the file": (raw_safetensors({KERNEL: entry}), "cannot be read"),
        "a shape of 2^63": (
            raw_safetensors({KERNEL: entry | {"shape": [2**63] * 2}}, bytes(72)), "cannot be read"
        ),
        "a type nobody knows": (
            raw_safetensors({KERNEL: entry | {"dtype": "F7"}}, bytes(72)), "cannot be read"
        ),
        "nested deep": (raw_safetensors(b'{"a":' * 10**4, b""), "cannot be read"),
    }  # fmt: skip


CARD = {"name": "small", "summary": "", "architecture": "cnn", "options": OPTIONS}
# Cards that are wrong: what is put into a sound one (None: left out), and words of the message.
CARDS: dict[str, tuple[dict[str, object] | bytes, str]] = {
    "unknown field": ({"colour": "red"}, "colour"),
    "a hash of others": ({"sha256": "0" * 64}, "do not match the card"),
    "a path": ({"weights": "../../theirs/model.safetensors"}, "weights"),
    "no name": ({"name": None}, "name"),
    "no architecture": ({"architecture": None}, "architecture"),
    "misspelt": ({"architecture": "cnm"}, "did you mean cnn"),
    "a path as architecture": ({"architecture": "../../cnn"}, "no architecture"),
    "a number as architecture": ({"architecture": 7}, "must be text"),
    "options as a list": ({"options": [1]}, "must be a table"),
    "an option nobody knows": ({"options": {"width": 3}}, "width"),
    "an option that is code": ({"options": {"convolution": "os.system"}}, "architecture cnn"),
    "terabytes": ({"options": {"channels": 10**9}}, "beyond"),
    "terabytes, within bounds": ({"options": {"channels": 1000, "depth": 100}}, "parameters"),
    "a billion layers": ({"options": {"depth": 10**9}}, "beyond"),
    "endless": ({"architecture": "tv", "options": {"iterations": 10**12}}, "beyond"),
    "negative": ({"options": {"channels": -3}}, "architecture cnn"),
    "infinite": ({"options": {"channels": float("inf")}}, "options.channels"),
    "half a channel": ({"options": {"channels": 2.5}}, "architecture cnn"),
    "text for a number": ({"options": {"channels": "many"}}, "architecture cnn"),
    "no widths": ({"architecture": "video", "options": {"widths": []}}, "architecture video"),
    "no tolerance": ({"equilibrium": {"tol": -1}}, "tolerance"),
    "NaN": ({"equilibrium": {"sigma": float("nan")}}, "sigma"),
    "a setting nobody knows": ({"equilibrium": {"tolerance": 1}}, "tolerance"),
    "a list as map": ({"equilibrium": {"map": []}}, "map"),
    "half an iteration": ({"equilibrium": {"max_iter": 1.5}}, "max_iter"),
    "a warm-up of text": ({"equilibrium": {"warmup": [["a", "b"]]}}, "warmup"),
    "not an object": (b"[]", "not a JSON object"),
    "not UTF-8": (b"\xff\xfe{}", "cannot be read"),
    "nested deep": (b'{"name":' * 10**5, "cannot be read"),
    "larger than any card": (b" " * 2 * 10**6 + b"{}", "larger than 1 MB"),
}


def test_models(commands, tmp_path):
    """Weights and cards; a flip may pass in words of the card, in weights none does."""
    capture = write(tmp_path / "a.mat", "mat", sound())
    sound_model = model_folder(tmp_path / "sound")
    cases: dict[str, tuple[str, bytes, str | None]] = {}
    for file in (zoo.WEIGHTS, zoo.CARD):
        for name, content in damages((sound_model / file).read_bytes()):
            cases[f"{file} {name}"] = file, content, None
    for name, (content, words) in tensor_defects().items():
        cases[f"{zoo.WEIGHTS} {name}"] = zoo.WEIGHTS, content, words
    for name, (change, words) in CARDS.items():
        if isinstance(change, dict):
            card = {k: v for k, v in (CARD | change).items() if v is not None}
            change = json.dumps(card).encode()
        cases[f"{zoo.CARD} {name}"] = zoo.CARD, change, words
    lines: list[tuple[object, ...]] = []
    for number, (file, content, _) in enumerate(cases.values()):
        folder = tmp_path / f"m{number}"
        folder.mkdir()
        for whole in sound_model.iterdir():
            (folder / whole.name).write_bytes(whole.read_bytes())
        (folder / file).write_bytes(content)
        lines.append(("models", "show", folder))
        use = ("reconstruct", capture, "--model", folder, "-o", folder / "o", "--max-iter", "4")
        lines.append((*use, "--preview", "none", "-q"))
    results = commands([*lines, ("models", "show", sound_model)])
    assert results[-1].code == 0
    faults = []
    for number, (name, (file, _, words)) in enumerate(cases.items()):
        folder = tmp_path / f"m{number}"
        for result in results[2 * number : 2 * number + 2]:
            flipped = file == zoo.CARD and words is None and " cut " not in name
            if flipped and result.code in (0, 1):
                zoo.read_card(folder)
                faults += [] if result.code == 0 or "diverged" in result.out else [(name, "why 1?")]
            else:
                faults += refusal(result, file, name, 3, words)
                faults += [(name, "output")] if (folder / "o").exists() else []
    assert not faults, "\n".join(map(str, faults))


TRAIN = """
data = ["clips"]
validation = "clips"
out = "{out}"
architecture = "cnn"
options = {{ channels = 2, depth = 2 }}
steps = 1
batch_size = 1
patch_size = 8
validation_side = 8
seed = 3
"""
# Settings that are wrong, and words of the message. Usage: exit code 2.
SETTINGS = {
    "colour = 1": "unknown key 'colour'",
    "stepz = 1": "did you mean 'steps'",
    "learning_rate = nan": "learning_rate",
    "learning_rate = inf": "learning_rate",
    "weight_interpolation = 'a'": "weight_interpolation",
    "validate_every = 0": "validate_every",
    "validate_every = -1": "validate_every",
    "validate_every = 1e30": "validate_every",
    "validate_every = 99999999999999999999": "validate_every",
    "ema_decay = [1]": "ema_decay",
    "tensorboard = 1": "tensorboard",
    "frozen = 1979-05-27": "frozen",
    "[solve]\nmax_iter = 'x'": "solve.max_iter",
    "[solve]\ntol = 0": "tolerance",
    "[solve]\nmap = '../gap'": "map",
    "[captures]\nframes = [0]": "frames",
    "[captures]\nframes = []": "frames",
    "[captures]\nframe_strides = 'fast'": "captures.frame_strides",
    "[gradient]\nform = 'neumann:x'": "gradient",
    "[options]\na = 1": "cannot be read",
    "steps = 2": "cannot be read",
    "stage = 'equilibrium'\n[captures]\nframes = [8000000000]": "does not fit into memory",
    "x = [[[[": "cannot be read",
}


def test_configs(commands, tmp_path):
    (tmp_path / "clips").mkdir()
    frame = (np.indices((16, 16)).sum(0) % 8 * 30).astype(np.uint8)
    iio.imwrite(tmp_path / "clips" / "a.gif", np.stack([np.roll(frame, t, 1) for t in range(3)]))
    cases: dict[str, tuple[bytes, str | None]] = {}
    for number, (name, content) in enumerate(damages(TRAIN.format(out="o").encode())):
        content = content.replace(b'out = "o"', b'out = "o%d"' % number)
        cases[name] = content, None
    for settings, words in SETTINGS.items():
        cases[settings] = (TRAIN.format(out=f"o{len(cases)}") + settings).encode(), words
    for key in ("steps", "batch_size", "patch_size", "channels", "seed"):
        for value in ("-1", "'x'", "1.5", "10000000000000000000000"):
            text = TRAIN.format(out=f"o{len(cases)}")
            text = re.sub(rf"{key} = \d+", f"{key} = {value}", text)
            cases[f"{key} = {value}"] = text.encode(), key if key != "channels" else None
    for key, value in (("batch_size", 10**12), ("patch_size", 10**9)):
        text = TRAIN.format(out=f"o{len(cases)}")
        text = re.sub(rf"{key} = \d+", f"{key} = {value}", text)
        cases[f"{key} = {value}"] = text.encode(), "does not fit into memory"
    cases["sound"] = TRAIN.format(out="sound").encode(), None
    for number, (content, _) in enumerate(cases.values()):
        (tmp_path / f"{number}.toml").write_bytes(content)
    results = commands([("train", "--config", f"{n}.toml", "-q") for n in range(len(cases))])
    faults = []
    for number, (result, (name, (_, words))) in enumerate(zip(results, cases.items(), strict=True)):
        if words is None and result.code in (0, 3):  # what it names may not be there any more
            faults += [] if result.code == 0 else refusal(result, "", name, 3, None)
        else:
            faults += refusal(result, f"{number}.toml", name, 2, words)
    assert not faults, "\n".join(map(str, faults))
    # The damage may be to a name or a number; only such a config trains, into the folder it names.
    contents = [content for content, _ in cases.values()]
    trained = {
        tomllib.loads(content.decode())["out"]
        for content, result in zip(contents, results, strict=True)
        if result.code == 0
    }
    folders = {path.name for path in tmp_path.iterdir() if path.is_dir()}
    assert "sound" in trained and folders == trained | {"clips"}
