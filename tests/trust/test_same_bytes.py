"""Same seed, same threads: the same bytes on a CPU; on a GPU the same film within a tolerance."""

from __future__ import annotations

import json
import shutil
import time

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
import torch

TRAIN = (
    "train clips --validation clips -o o/m --architecture rsn-cnn --steps 6 --batch-size 2"
    " --patch-size 16 --validate-every 3 --device cpu --seed 5 --set options.channels=4"
)
# Of a GPU's film against the CPU's, in units of white: sums in another order, iterated.
GPU_TOLERANCE = 2e-3


@pytest.fixture
def twice(deqsci, coded, save, tmp_path, monkeypatch):
    """Run commands twice, seconds apart, in folders that look alike; what they wrote."""
    capture = save("c.mat", meas=coded.meas, mask=coded.mask, orig=coded.film)
    clip = np.random.default_rng(0).integers(0, 255, (8, 24, 28), dtype=np.uint8)

    def invoke(*commands: str) -> list[dict[str, bytes]]:
        outputs = []
        for name in ("first", "second"):
            folder = tmp_path / name
            (folder / "clips").mkdir(parents=True)
            shutil.copy(capture, folder)
            iio.imwrite(folder / "clips" / "a.gif", clip)
            monkeypatch.chdir(folder)
            for command in commands:
                assert deqsci(*command.split()).code == 0
            files = [p for p in (folder / "o").rglob("*") if p.is_file()]
            outputs.append({str(p.relative_to(folder)): p.read_bytes() for p in files})
            time.sleep(1.1)  # whatever tells the time tells another one
        return outputs

    return invoke


def untimed(content: object) -> object:
    """JSON without the times in it."""
    if isinstance(content, dict):
        timed = ("seconds", "created", "hours", "run")  # a run has a name of its own
        return {k: untimed(v) for k, v in content.items() if k not in timed}
    return [untimed(v) for v in content] if isinstance(content, list) else content


def test_two_runs_are_equal(twice):
    first, second = twice(
        "reconstruct c.mat -o o --model pnp --max-iter 3 --preview gif,png",
        "simulate clips/a.gif --frames 4 --read-noise 0.1 --peak 50 --seed 3 -o o/s.mat",
        "simulate clips/a.gif --frames 4 --mask-kind grey -o o/s.tif",
        "convert c.mat o/c.h5",
        TRAIN,
    )
    assert first.keys() == second.keys() and len(first) == 16
    told = {name for name in first if name.endswith((".json", ".jsonl"))}
    differing = {name for name in first if first[name] != second[name]}
    assert differing <= told | {"o/m/state.safetensors"}  # its seconds so far
    for name in differing & told:
        pairs = zip(first[name].splitlines(), second[name].splitlines(), strict=True)
        if name.endswith(".json"):
            pairs = [(first[name], second[name])]
        for one, other in pairs:
            assert untimed(json.loads(one)) == untimed(json.loads(other)), name


def test_another_seed_gives_others(twice):
    """So that the test above could fail."""
    noisy = "simulate clips/a.gif --frames 4 --read-noise 0.1 -o o/{n}.mat --seed {n}"
    first, _ = twice(noisy.format(n=1), noisy.format(n=2))
    assert first["o/1.mat"] != first["o/2.mat"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("model", ["gap-tv", "pnp", "pnp-ffdnet", "rnn"])
def test_a_gpu_comes_near(deqsci, coded, save, tmp_path, model):
    capture = save("c.mat", meas=coded.meas, mask=coded.mask)
    films = {}
    for name, device in (("cpu", "cpu"), ("gpu", "cuda"), ("again", "cuda")):
        command = ("reconstruct", capture, "--model", model, "--scale", "255", "--max-iter", "10")
        assert deqsci(*command, "-o", tmp_path / name, "--device", device).code == 0
        films[name] = tifffile.imread(tmp_path / name / "c_0.tif") / 255
    assert np.abs(films["gpu"] - films["cpu"]).max() < GPU_TOLERANCE
    assert np.abs(films["gpu"] - films["again"]).max() < GPU_TOLERANCE
