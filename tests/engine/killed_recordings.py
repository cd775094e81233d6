"""Kill runs over a recording; a program of its own, since it forks: nothing else may run in it.

Called with a folder that holds `rec.mat`, and as JSON the moments at which runs over it are killed:
a module, one of its functions, at which call, before or after it. Leaves there what each run had by
then. Prints the most memory, in kilobytes, that runs of 50 and of 400 measurements held.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import torch

from deqsci_cli.engine.batch.config import ReconstructConfig
from deqsci_cli.engine.reconstruct import reconstruct
from deqsci_cli.io.read_options import ReadOptions


def config(path: Path, out: Path, **more: object) -> ReconstructConfig:
    """A recording in windows, by total variation."""
    return ReconstructConfig(
        inputs=(path,), out=out, model="gap-tv", read_options=ReadOptions(scale=255.0),
        equilibrium={"max_iter": 4}, previews=("png",), device="cpu", sequence=True,
        **{"batch_size": 6} | more,
    )  # fmt: skip


def die_at(where: str, name: str, number: int, when: str) -> None:
    """Have this process killed at a call of a function."""
    module = importlib.import_module(where)
    original: Callable[..., object] = getattr(module, name)
    calls: list[None] = []

    def deadly(*arguments: object, **more: object) -> object:
        calls.append(None)
        if len(calls) == number and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*arguments, **more)
        if len(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(module, name, deadly)


def apart(do: Callable[[], object]) -> tuple[int, int]:
    """Do something in a process of its own: how that ended, and the most memory it held."""
    if (pid := os.fork()) == 0:
        try:
            do()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(9)
    _, status, usage = os.wait4(pid, 0)
    return os.waitstatus_to_exitcode(status), usage.ru_maxrss


def kill(folder: Path, moment: str, how: tuple[str, str, int, str]) -> None:
    def run() -> None:
        die_at(*how)
        reconstruct(config(folder / "rec.mat", folder / moment))

    assert apart(run)[0] == -signal.SIGKILL, moment


def measure(folder: Path, count: int) -> int:
    """The most memory that a recording of so many measurements of 32x32x4 takes, in windows."""
    mask = (np.random.default_rng(0).random((4, 32, 32)) < 0.5).astype(np.uint8)
    with h5py.File(folder / "long.h5", "w") as file:
        file["meas"] = (np.sin(np.arange(count) / 9)[:, None, None] + 1) * mask.sum(0) * 100
        file["mask"] = mask
    out = folder / f"long{count}"
    code, memory = apart(lambda: reconstruct(config(folder / "long.h5", out, batch_size=None)))
    assert code == 0
    return memory


if __name__ == "__main__":
    torch.set_num_threads(1)
    place = Path(sys.argv[1])
    for name, how in json.loads(sys.argv[2]).items():
        kill(place, name, how)
    sys.stdout.write(json.dumps([measure(place, count) for count in (50, 400)]))
