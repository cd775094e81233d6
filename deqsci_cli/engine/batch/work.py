"""One worker's share: read measurements of one camera, solve them together, write their films.

It runs in a thread of this process or in a process on another machine; what it is given and what
it gives back can be sent there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from deqsci_cli import zoo
from deqsci_cli.engine.batch.manifest import Entry, place_of, read_entry, record_of, write_entry
from deqsci_cli.engine.batch.plan import Job, ReconstructConfig
from deqsci_cli.engine.device import (
    choose_device,
    keep_freed_memory,
    memory_errors,
    suitable_batch,
)
from deqsci_cli.engine.isolation import isolated
from deqsci_cli.engine.reading import mask_sha256
from deqsci_cli.engine.solving import Reconstruction, Reconstructor
from deqsci_cli.equilibrium.model import EquilibriumSettings
from deqsci_cli.equilibrium.solvers import OnIteration
from deqsci_cli.errors import DeqsciError, DeviceError, InputError, StorageError, UsageError
from deqsci_cli.io import (
    Capture,
    check_absent,
    identify,
    remove_leftovers,
    write_film,
    write_preview,
)
from deqsci_cli.io.boundary import enough_memory
from deqsci_cli.report.metrics import judge
from deqsci_cli.report.report import Failure, Record

# Solving takes the whole device; reading and writing go on beside it in other threads. It is one
# thread for all, since OpenMP keeps a team for each and lets none of them wait for work actively
# once they are more than the cores: small pictures then take twice as long.
_SOLVER = ThreadPoolExecutor(1, "deqsci-solver")


@dataclass(frozen=True)
class Task:
    """Measurements of one camera, to be solved together.

    Attributes:
        run: the run's own name, by which it knows its films should a worker have died over them.
        jobs: which.
        config: of the run.
        settings: of the solver.
        stamp: what every film is told of its origin.
        threads: PyTorch's, in a process that this run has made; None to leave them as they are.
    """

    run: str
    jobs: tuple[Job, ...]
    config: ReconstructConfig
    settings: EquilibriumSettings
    stamp: dict[str, Any]
    threads: int | None = None


def work(task: Task, on_iteration: OnIteration | None = None) -> list[Record | Failure]:
    """Do a task; what fails for one measurement does not stop the others.

    Returns:
        A record or a failure for each job.

    Raises:
        StorageError: nothing more can be written.
    """
    if task.threads is not None:
        keep_freed_memory()
    done: dict[int, Record | Failure] = {}
    captures: dict[int, Capture] = {}
    for place, found in enumerate(_read(task)):
        # Another worker may have come so far before it died.
        if record := record_of(task.jobs[place].output, task.run):
            done[place] = record
        elif isinstance(found, Capture):
            captures[place] = found
        else:
            done[place] = _failure(task.jobs[place], found)
    if captures:
        measurements = [c.measurements[task.jobs[p].index] for p, c in captures.items()]
        mask = next(iter(captures.values())).mask
        try:
            truths = [c.truth_of(task.jobs[p].index) for p, c in captures.items()]
            solution, seconds = _SOLVER.submit(
                _timed, task, measurements, mask, truths, on_iteration
            ).result()
            seconds /= len(captures)
        except DeviceError as error:
            return [done.get(p, _failure(job, error)) for p, job in enumerate(task.jobs)]
        for number, (place, capture) in enumerate(captures.items()):
            done[place] = _write(task, task.jobs[place], capture, solution, number, seconds)
    return [done[place] for place in range(len(task.jobs))]


def _read(task: Task) -> Iterator[Capture | DeqsciError]:
    """The capture of each job, or why there is none; each file is read once."""
    path, found = None, None
    for job in task.jobs:
        if job.input != path:
            path, found = job.input, _load(task, job)
        assert found is not None
        yield found


def _load(task: Task, job: Job) -> Capture | DeqsciError:
    try:
        load = task.config.reading.load
        capture = isolated(load, job.input) if task.config.several else load(job.input)
        same = identify(job.input)["sha256"] == job.made_from["input"]
        if same and mask_sha256(capture) == job.camera:
            return capture
        return InputError(
            "the file has changed since this run began, or reads differently each time",
            path=job.input,
            hint="start again when nothing writes to it, or copy it again",
        )
    except (InputError, UsageError, DeviceError) as error:
        return error


def _timed(task: Task, *arguments: Any) -> tuple[Reconstruction, float]:
    """The solution, and the seconds that it took."""
    if task.threads is not None:
        torch.set_num_threads(task.threads)
    began = time.perf_counter()
    with memory_errors(choose_device(task.config.device), task.jobs[0].shape):
        return _solve(task, *arguments), time.perf_counter() - began


def _solve(
    task: Task,
    measurements: Sequence[np.ndarray],
    mask: np.ndarray,
    truths: Sequence[np.ndarray | None],
    on_iteration: OnIteration | None,
) -> Reconstruction:
    """All at once, or, where the memory is too small for that, in halves of halves."""
    config = task.config
    run = _reconstructor(config.model, task.settings, config.device, config.dtype)
    try:
        torch.manual_seed(config.seed)
        return run(np.stack(measurements), mask, on_iteration, truths=truths)
    except DeviceError:
        if len(measurements) == 1:
            raise
    half = len(measurements) // 2
    parts = [
        _solve(task, measurements[part], mask, truths[part], on_iteration)
        for part in (slice(half), slice(half, None))
    ]
    lists = ("residual", "residuals", "evaluations", "status", "psnrs")
    joined = {name: [v for part in parts for v in getattr(part, name)] for name in lists}
    return Reconstruction(torch.cat([part.x for part in parts]), **joined)


@lru_cache(maxsize=1)
def _reconstructor(
    model: str, settings: EquilibriumSettings, device: str, dtype: str
) -> Reconstructor:
    return Reconstructor(zoo.load(model), settings, device=device, dtype=dtype)


def _write(
    task: Task, job: Job, capture: Capture, solution: Reconstruction, place: int, seconds: float
) -> Record | Failure:
    """Write one film and what belongs to it, judge it where there is truth."""
    try:
        with enough_memory("write", job.output):
            return _written(task, job, capture, solution, place, seconds)
    except StorageError:
        raise
    except DeqsciError as error:
        return _failure(job, error)


def _written(
    task: Task, job: Job, capture: Capture, solution: Reconstruction, place: int, seconds: float
) -> Record:
    entry = read_entry(job.output)
    own = entry is not None and entry.run == task.run
    overwrite = own or task.config.overwrite or task.config.resume
    video = solution.x[place].float().numpy()
    stamp = task.stamp | {
        "input": job.input.name,
        "measurement": job.index,
        "made_from": {name: job.made_from[name] for name in ("input", "mask")},
    }
    check_absent(job.files, overwrite=overwrite)
    for file in (*job.files, place_of(job.output)):
        remove_leftovers(file)
    write_entry(job.output, Entry(task.run, job.made_from))
    write_film(job.output, video, scale=capture.scale, provenance=stamp, overwrite=overwrite)
    for preview in job.previews:
        write_preview(preview, video, provenance=stamp, overwrite=overwrite)
    record = Record(
        input=str(job.input),
        index=job.index,
        output=str(job.output),
        previews=tuple(map(str, job.previews)),
        model=task.stamp["model"]["name"],
        seconds=seconds,
        scale=capture.scale,
        scale_rule=capture.scale_rule,
        replaced=capture.replaced,
        **solution.facts(place),
        **judge(video, capture.truth_of(job.index)),
    )
    hashes = {file.name: identify(file)["sha256"] for file in job.files}
    write_entry(job.output, Entry(task.run, job.made_from, hashes, record))
    return record


def _failure(job: Job, error: DeqsciError) -> Failure:
    return Failure(str(job.input), str(error), error.hint, error.exit_code)


def split(
    config: ReconstructConfig,
    jobs: Sequence[Job],
    suits: Callable[[str, tuple[int, int, int]], int] = suitable_batch,
) -> list[tuple[Job, ...]]:
    """Jobs of one camera together, in batches of the size asked for, or of one that suits.

    Args:
        config: of the run.
        jobs: to be done.
        suits: `suitable_batch`, by whoever is to do them.
    """
    cameras: dict[str, list[Job]] = {}
    for job in jobs:
        cameras.setdefault(job.camera, []).append(job)
    batches = []
    for alike in cameras.values():
        size = config.batch_size or suits(config.device, alike[0].shape)
        batches += [tuple(alike[i : i + size]) for i in range(0, len(alike), size)]
    return batches
