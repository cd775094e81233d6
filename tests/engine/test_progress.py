"""How far a run is: phases of tasks side by side, and shares that only grow."""

from __future__ import annotations

from pathlib import Path

import pytest

from deqsci_cli.engine.batch.config import ReconstructConfig
from deqsci_cli.engine.batch.job import Job, Stretch, Task
from deqsci_cli.engine.batch.progress import RunProgress
from deqsci_cli.engine.reconstruct import reconstruct
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.runtime.events import Finished, Iterated, Phase

SETTINGS = EquilibriumSettings(tol=1e-4, max_iter=50, warmup=((0.1, 10),))


def job(name, shape=(8, 10, 10), **more):
    return Job(Path(name), None, 0, Path(f"{name}.tif"), (), shape, **more)


def task(*jobs):
    return Task(None, jobs)


def test_phases_of_tasks_side_by_side():
    """What the others wait for is told: there is one solver."""
    first, second = task(job("a")), task(job("b"))
    progress = RunProgress([*first.jobs, *second.jobs], SETTINGS)
    assert progress.phase == "starting"
    progress.enter(first, "reading")
    assert progress.phase == "reading"
    progress.iterated(first, 1, 0.1, 1)
    progress.enter(second, "reading")
    assert progress.phase == "solving"
    progress.enter(first, "writing")
    assert progress.phase == "writing"
    progress.enter(second, "starting")
    assert progress.phase == "starting"


def test_the_share_of_a_first_solve():
    """Half-way to the tolerance by the logarithm, half of the solve; of half of the run."""
    first, second = task(job("a")), task(job("b"))
    progress = RunProgress([*first.jobs, *second.jobs], SETTINGS)
    assert progress.share == 0
    progress.iterated(first, 1, 1.0, 1)
    assert progress.share == pytest.approx(1 / 60 / 2)
    progress.iterated(first, 2, 1e-2, 1)
    assert progress.share == pytest.approx(0.5 / 2)
    progress.iterated(first, 3, float("nan"), 1)
    progress.iterated(first, 4, float("inf"), 1)
    assert progress.share == pytest.approx(0.5 / 2)
    progress.iterated(first, 20, 1e-4, 1)
    assert 0.45 < progress.share < 0.5
    progress.finish(first)
    assert progress.share == 0.5


def test_later_solves_by_the_evaluations_of_the_first():
    first, second = task(job("a")), task(job("b", (8, 10, 30)))
    progress = RunProgress([*first.jobs, *second.jobs], SETTINGS)
    progress.iterated(first, 20, 1e-4, 1)
    progress.finish(first)
    assert progress.share == pytest.approx(1 / 4)  # by pixels
    progress.iterated(second, 5, 1e-3, 1)
    assert progress.share == pytest.approx(1 / 4 + 3 / 4 * 5 / 20)
    progress.iterated(second, 40, 1e-3, 1)
    assert progress.share < 1
    progress.finish(second)
    assert progress.share == 1


def test_a_batch_in_two_solves_and_a_recording_in_windows():
    batch = task(*(job(str(n)) for n in range(4)))
    progress = RunProgress(batch.jobs, SETTINGS)
    progress.iterated(batch, 10, 1e-4, 1)
    progress.iterated(batch, 1, 1.0, 3)  # those of another mask
    assert progress.share == pytest.approx((1 + 3 / 10) / 4)
    film = job("r", recording=(Stretch(Path("r"), None, tuple(range(12))),), window=6)
    recording = task(film)
    progress = RunProgress([film], SETTINGS)
    progress.iterated(recording, 10, 1e-4, 1)  # six windows of two measurements are kept
    progress.iterated(recording, 5, 1.0, 1)
    assert progress.share == pytest.approx((1 + 5 / 10) / 6)


def test_a_run_tells_its_phases_in_order(tmp_path):
    capture = Path(__file__).resolve().parents[2] / "sample_data" / "wheel.mat"
    events = []
    config = ReconstructConfig(
        (capture,), tmp_path / "o", "gap-tv", equilibrium={"max_iter": 4}, batch_size=2
    )
    reconstruct(config, events.append)
    phases = [event.name for event in events if isinstance(event, Phase)]
    assert phases == ["starting", "reading", "reading", "starting", "solving", "writing"]
    shares = [event.share for event in events if isinstance(event, Iterated | Finished)]
    assert shares == sorted(shares) and shares[0] > 0 and shares[-1] == 1
