"""Too little memory: less at once, or a sentence that says what would fit; at every stage."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from deqsci_cli import reconstructor
from deqsci_cli.errors import DeviceError
from deqsci_cli.reconstructor import Reconstructor
from deqsci_cli.runtime import device
from deqsci_cli.zoo import load

FAST = ("--model", "gap-tv", "--scale", "255", "--max-iter", "3")
OUT_OF_MEMORY = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    RuntimeError("std::bad_alloc"),
]


def films(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.glob("*.tif")}


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("most", [0, 1, 3])
def test_a_batch_is_halved_until_it_fits(deqsci, coded, save, tmp_path, monkeypatch, error, most):
    meas = np.concatenate([coded.meas, coded.meas[::-1] / 2, coded.meas / 3])
    path, solve, sizes = save("c.mat", meas=meas, mask=coded.mask), reconstructor.solve, []

    def small(network, operator, measurement, settings, **more):
        sizes.append(len(measurement))
        if len(measurement) > most:
            raise error
        return solve(network, operator, measurement, settings, **more)

    command = ("reconstruct", path, *FAST, "--preview", "none", "--batch-size", 6, "-o")
    assert deqsci(*command, tmp_path / "whole").code == 0
    monkeypatch.setattr(reconstructor, "solve", small)
    result = deqsci(*command, tmp_path / "o")
    if most:
        assert result.code == 0 and sizes[0] == 6 and max(sizes[2:]) <= 3
        assert films(tmp_path / "o") == films(tmp_path / "whole") != {}
    else:
        assert result.code == 4 and not films(tmp_path / "o")
        assert re.search(r"4 frames of 32x40 pixels take some \d+ MB, and \d+ MB are", result.told)


def test_an_error_of_another_kind_is_not_taken_for_it(coded, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("a shape is wrong")

    monkeypatch.setattr(reconstructor, "solve", broken)
    with pytest.raises(RuntimeError, match="a shape is wrong"):
        Reconstructor(load("gap-tv"))(coded.meas, coded.mask)


@pytest.mark.parametrize(("free", "side"), [(1e9, 976), (250e6, 488), (0, 0), (1e12, 2000)])
def test_what_would_fit_is_told(monkeypatch, free, side):
    """8 frames of 2000×2000 at 128 bytes a pixel are 4.1 GB; sides go with the root."""
    monkeypatch.setattr(device, "_free_memory", lambda _: int(free))
    with (
        pytest.raises(DeviceError, match=f"4096 MB, and {free / 1e6:.0f} MB") as told,
        device.memory_errors(torch.device("cpu"), (8, 2000, 2000)),
    ):
        raise MemoryError
    assert int(re.search(r"some (\d+)x", told.value.hint)[1]) == pytest.approx(side, abs=16)


STAGES = {
    "reading": ("io.header", "to_thw"),
    "scaling": ("io.capture", "scale_of_measurement"),
    "planning": ("io.header", "find_parts"),
    "solving": ("reconstructor", "solve"),
    "writing": ("engine.batch.films", "write_film"),
    "encoding": ("io.film", "atomic_write"),
    "previewing": ("engine.batch.films", "write_preview"),
    "measuring": ("engine.batch.films", "compute_metrics"),
    "reporting": ("engine.reconstruct", "Report"),
    "drawing the page": ("report.pages", "render"),
}


@pytest.mark.parametrize(("module", "name"), STAGES.values(), ids=STAGES)
def test_at_every_stage(deqsci, coded, save, tmp_path, monkeypatch, left, module, name):
    pytest.importorskip("jinja2")
    path = save("c.mat", meas=coded.meas, mask=coded.mask)

    def no_memory(*_, **__):
        raise MemoryError

    monkeypatch.setattr(importlib.import_module(f"deqsci_cli.{module}"), name, no_memory)
    result = deqsci("reconstruct", path, *FAST[:2], "-o", tmp_path / "o", "--report")
    assert result.code == 4 and "memory" in result.told
    names = left(tmp_path / "o") if (tmp_path / "o").exists() else []
    assert not any(re.search(r"\.[0-9a-f]{12}\.|lock", n) for n in names)
    if module == "report.pages":  # the page comes last: all else is done
        assert {"c_0.tif", "c_1.tif", "c_0.gif", "report.json"} <= set(names)


LIMITED = """
import resource, sys
from pathlib import Path
import imageio.plugins.pillow, scipy.io
from deqsci_cli.cli.app import main
from deqsci_cli import reconstructor
from deqsci_cli.engine import reconstruct
solve, room = reconstructor.solve, int(sys.argv.pop(1)) * 2**20
def counted(network, operator, measurement, *rest, **more):
    print("batch of", len(measurement), file=sys.stderr)
    return solve(network, operator, measurement, *rest, **more)
reconstructor.solve = counted
status = Path("/proc/self/status").read_text()
size = 1024 * int(status.split("VmSize:")[1].split()[0])
resource.setrlimit(resource.RLIMIT_AS, (size + room, resource.RLIM_INFINITY))
main()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="sets RLIMIT_AS")
@pytest.mark.parametrize(
    "room", [pytest.param(140, id="enough for some"), pytest.param(40, id="for none")]
)
def test_by_a_limit_of_the_system(deqsci, save, tmp_path, environment, room):
    """Six measurements of 33 MB each, by a process that may have so many MB more than it has."""
    rng = np.random.default_rng(0)
    mask = (rng.random((4, 256, 256)) < 0.5).astype(np.uint8)
    meas = rng.integers(0, 500, (6, 256, 256), dtype=np.uint16)
    path = save("c.mat", meas=meas, mask=mask)
    command = ("reconstruct", path, *FAST, "--preview", "none", "--batch-size", "6", "-o")
    limited = subprocess.run(
        [sys.executable, "-c", LIMITED, str(room), *map(str, command), tmp_path / "o"],
        env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert "Traceback" not in limited.stderr
    sizes = [int(n) for n in re.findall(r"batch of (\d+)", limited.stderr)]
    if room == 40:
        assert limited.returncode == 4, limited.stderr
        assert re.search(r"ran out of memory|not enough memory", limited.stderr)
        return
    assert limited.returncode == 0, limited.stderr
    assert sizes[0] == 6 and min(sizes) < 6
    assert deqsci(*command, tmp_path / "whole").code == 0
    assert films(tmp_path / "o") == films(tmp_path / "whole") != {}
    report = json.loads((tmp_path / "o" / "report.json").read_text())
    assert len(report["measurements"]) == 6
