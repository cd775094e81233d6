"""Kill writers at random moments; a program of its own, since it forks: nothing else may run in it.

Called with a folder, how often each is killed, and how often a training is; prints what it found.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import torch

from deqsci_cli import zoo
from deqsci_cli.engine import pages
from deqsci_cli.engine.batch.manifest import Entry, place_of, write_entry
from deqsci_cli.engine.train import train
from deqsci_cli.engine.training.checkpoint import STATE, save_state
from deqsci_cli.engine.training.log import LOG
from deqsci_cli.engine.training.settings import TrainConfig
from deqsci_cli.io import remove_leftovers, write_capture, write_film, write_preview
from deqsci_cli.networks.registry import build
from deqsci_cli.report.report import Report

rng = random.Random(7)
noise = np.random.default_rng(7)


def writers(folder: Path) -> dict[Path, Callable[[int], object]]:
    """For each file something that writes it, in two versions."""
    videos = [noise.random((16, 64, 64)) for _ in range(2)]
    masks = [noise.random((8, 64, 64)) for _ in range(2)]
    texts = ["x" * 900_000, "y" * 800_000]
    pages.render = lambda page: texts[page]  # the page is made before its file is begun
    network = build("ffdnet", {})
    cards = [zoo.Card("m", summary, "ffdnet") for summary in ("a", "b" * 200_000)]
    adam = torch.optim.Adam(network.parameters())
    out: dict[Path, Callable[[int], object]] = {}
    for suffix in ("tif", "mat", "h5"):
        out[folder / f"film.{suffix}"] = lambda v, p=folder / f"film.{suffix}": write_film(
            p, videos[v], scale=255, provenance={}, overwrite=True
        )
        out[folder / f"capture.{suffix}"] = lambda v, p=folder / f"capture.{suffix}": write_capture(
            p, measurements=videos[v], mask=masks[v], scale=1, provenance={}, overwrite=True
        )
    for suffix in ("gif", "png"):
        out[folder / f"preview.{suffix}"] = lambda v, p=folder / f"preview.{suffix}": write_preview(
            p, videos[v], overwrite=True
        )
    facts = [{"rows": [[v, n] for n in range(5_000)]} for v in range(2)]
    out[folder / "report.json"] = lambda v: Report(facts[v], {}).write(folder / "report.json")
    page = folder / "page.html"
    out[page] = lambda v: pages.write_page(v, page, overwrite=True)
    out[place_of(folder / "film.tif")] = lambda v: write_entry(
        folder / "film.tif", Entry("run", "c.mat", facts[v])
    )
    out[folder / STATE] = lambda v: save_state(folder, network, adam, None, facts[v], {})
    out[folder / zoo.CARD] = lambda v: zoo.write_card(folder, cards[v], overwrite=True)
    weights = folder / "model" / zoo.WEIGHTS
    nets = [network, build("ffdnet", {})]
    out[weights] = lambda v: zoo.save_model(weights.parent, nets[v], cards[v], overwrite=True)
    return out


def start(write: Callable[[], object]) -> int:
    """A process that does it."""
    if (pid := os.fork()) == 0:
        try:
            write()
            os._exit(0)
        finally:
            os._exit(9)
    return pid


def slow_disk() -> None:
    """Have the disk take its time, as one under load does, so that kills fall into the writing."""
    sync = os.fsync

    def slow(descriptor: int) -> None:
        time.sleep(0.04)
        sync(descriptor)

    os.fsync = slow


def ended(pid: int) -> bool:
    return os.waitpid(pid, os.WNOHANG)[0] == pid


def leftovers(target: Path) -> list[Path]:
    return [p for p in target.parent.glob(f".{target.stem[:40]}.*{target.suffix}") if p != target]


def run_and_watch(write: Callable[[], object], target: Path) -> tuple[float, float]:
    """Seconds that it takes until its file is begun, and in all."""
    began, seen = time.perf_counter(), 0.0
    pid = start(write)
    while not ended(pid):
        if not seen and leftovers(target):
            seen = time.perf_counter() - began
        time.sleep(0.001)
    whole = time.perf_counter() - began
    return seen or whole, whole


def kill(write: Callable[[], object], target: Path, first: float, then: float | None) -> None:
    """Start it, and kill it: after so many seconds, or so many after a file is begun by then."""
    pid = start(write)
    time.sleep(first)
    while then is not None and not leftovers(target):
        if ended(pid):
            return
        time.sleep(0.001)
    time.sleep(then or 0)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def kill_writer(target: Path, write: Callable[[int], object], kills: int) -> Counter[str]:
    """Absent, old or new is what may lie there; `inside` counts the kills that left a part."""
    contents = []
    for version in (0, 1):
        times = run_and_watch(lambda version=version: write(version), target)
        contents.append(target.read_bytes())
    assert contents[0] != contents[1]
    found: Counter[str] = Counter()
    for number in range(kills):
        before = None if number % 3 == 0 else contents[0]
        target.unlink(missing_ok=True) if before is None else target.write_bytes(before)
        if number % 2:
            kill(lambda: write(1), target, rng.uniform(0, times[1]), None)
        else:
            kill(lambda: write(1), target, 0, rng.uniform(0, times[1] - times[0]))
        after = target.read_bytes() if target.exists() else None
        kinds = {before: "before", contents[1]: "after"}
        found["inside" if leftovers(target) and after == before else kinds.get(after, "wrong")] += 1
        remove_leftovers(target)
        found["litter"] += len(leftovers(target))
    return found


def kill_training(folder: Path, kills: int) -> Counter[str]:
    """Killed anywhere, resumed: the same model and log as without."""
    clips = folder / "clips"
    clips.mkdir(parents=True)
    iio.imwrite(clips / "a.png", noise.integers(0, 255, (40, 48), dtype=np.uint8))

    def job(out: Path, **more: bool) -> Callable[[], object]:
        config = TrainConfig(
            data=(clips,), validation=clips, out=out, architecture="cnn", steps=5, batch=2,
            options={"channels": 24, "depth": 4}, patch=16, validate_every=1, device="cpu", **more,
        )  # fmt: skip
        return lambda: train(config)

    def results(out: Path) -> list[object]:
        return [(out / zoo.WEIGHTS).read_bytes(), (out / LOG).read_text()]

    times = run_and_watch(job(folder / "whole"), folder / "whole" / STATE)
    expected, found = results(folder / "whole"), Counter()
    for number in range(kills):
        out = folder / f"run{number}"
        watched = out / (STATE if number % 4 else zoo.WEIGHTS)
        kill(job(out), watched, rng.uniform(0, times[1]), rng.uniform(0, 0.03))
        found["inside" if any(leftovers(out / n) for n in (STATE, zoo.WEIGHTS)) else "between"] += 1
        try:
            if (out / zoo.CARD).exists():
                zoo.load(str(out))
        except Exception:
            found["wrong"] += 1
        again = {"resume": True} if (out / STATE).exists() else {"overwrite": True}
        found["resumed" if "resume" in again else "begun anew"] += 1
        _, status = os.waitpid(start(job(out, **again)), 0)
        found["failed"] += status != 0
        found["different"] += results(out) != expected
        found["litter"] += sum(p.name[0] == "." for p in out.iterdir())
        shutil.rmtree(out)
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    slow_disk()
    place, times_each, times_training = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    (place / ".manifest").mkdir()
    (place / "model").mkdir()
    told = {p.name: kill_writer(p, write, times_each) for p, write in writers(place).items()}
    told["training"] = kill_training(place / "training", times_training)
    sys.stdout.write(json.dumps(told))
