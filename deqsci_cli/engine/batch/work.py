"""One worker's share: read measurements of one camera, solve them together, write their films.

It runs in a thread of this process or in a process on another machine; what it is given and what
it gives back can be sent there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deqsci_cli import zoo
from deqsci_cli.engine.batch.films import add_previews, write_outputs
from deqsci_cli.engine.batch.job import Job, Order, Task
from deqsci_cli.engine.batch.manifest import record_of
from deqsci_cli.engine.batch.progress import READING, STARTING, WRITING, OnPhase, ignore_phase
from deqsci_cli.engine.noise import Suited, suited
from deqsci_cli.engine.roi import reconstruct_regions
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.equilibrium.solvers import OnIteration
from deqsci_cli.errors import (
    DeqsciError,
    DeviceError,
    InputError,
    ModelError,
    StorageError,
    UsageError,
)
from deqsci_cli.io import Capture, check_seen, load_capture
from deqsci_cli.io.file_version import FileStamp, changed
from deqsci_cli.io.read_errors import enough_memory
from deqsci_cli.reconstructor import Reconstruction, Reconstructor
from deqsci_cli.report.report import Failure, Record
from deqsci_cli.runtime.device import (
    choose_device,
    keep_freed_memory,
    memory_errors,
    suitable_batch,
)
from deqsci_cli.runtime.isolation import isolated

# Solving takes the whole device; reading and writing go on beside it in other threads. It is one
# thread for all, since OpenMP keeps a team for each and lets none of them wait for work actively
# once they are more than the cores: small pictures then take twice as long.
SOLVER = ThreadPoolExecutor(1, "deqsci-solver")


@dataclass(frozen=True, eq=False)
class _Batch:
    """Measurements solved together: their mask, truths, seen pixels and settings."""

    measurements: np.ndarray
    mask: np.ndarray
    truths: list[np.ndarray | None]
    seen: np.ndarray | None
    settings: EquilibriumSettings

    def part(self, part: slice) -> _Batch:
        seen = None if self.seen is None else self.seen[part]
        return _Batch(self.measurements[part], self.mask, self.truths[part], seen, self.settings)


def work(
    task: Task, on_iteration: OnIteration | None = None, on_phase: OnPhase = ignore_phase
) -> list[Record | Failure]:
    """Do a task; what fails for one measurement does not stop the others.

    Args:
        task: measurements of one size.
        on_iteration: see `equilibrium.model.solve`.
        on_phase: told what is being done.

    Returns:
        A record or a failure for each job.

    Raises:
        StorageError: nothing more can be written.
    """
    order = task.order
    if order.threads is not None:
        keep_freed_memory()
    done: dict[int, Record | Failure] = {}
    captures: dict[int, Capture] = {}
    suiting: dict[int, Suited] = {}
    for place, job in enumerate(task.jobs):
        # Another worker may have come so far before it died.
        if record := record_of(job.output, order.run):
            done[place] = record
        elif job.keep_film:
            done[place] = written(job, add_previews, order, job)
    on_phase(READING)
    left = {place: job for place, job in enumerate(task.jobs) if place not in done}
    for place, found in zip(left, _read(order, left.values()), strict=True):
        job = left[place]
        try:
            if not isinstance(found, Capture):
                raise found
            suiting[place] = suited_for(order, job, found)
        except DeqsciError as error:
            done[place] = Failure.of(job.input, error)
        else:
            captures[place] = found
    for alike in _alike(captures, suiting):
        parts = [(task.jobs[place], captures[place], suiting[place]) for place in alike]
        results = _reconstruct(order, parts, on_iteration, on_phase)
        done |= zip(alike, results, strict=True)
    return [done[place] for place in range(len(task.jobs))]


def suited_for(order: Order, job: Job, capture: Capture) -> Suited:
    """How a measurement is to be solved.

    Raises:
        InputError: none of its pixels tells anything.
        ModelError: the model has changed since the run began.
    """
    if (seen := capture.seen(job.index)) is not None:
        check_seen(seen[None], capture.measurements[job.index][None], path=capture.path)
    if capture.noise is None and capture.photons is None:
        return Suited(capture.measurements[job.index], order.settings)
    return suited(capture, job.index, reconstructor_of(order).network, order.settings)


def _alike(captures: dict[int, Capture], suiting: dict[int, Suited]) -> list[list[int]]:
    """The places of captures whose masks and settings are equal, together."""
    groups: list[list[int]] = []
    for place, capture in captures.items():
        for group in groups:
            same = suiting[group[0]].settings == suiting[place].settings
            if same and np.array_equal(captures[group[0]].mask, capture.mask):
                group.append(place)
                break
        else:
            groups.append([place])
    return groups


def _reconstruct(
    order: Order,
    parts: Sequence[tuple[Job, Capture, Suited]],
    on_iteration: OnIteration | None,
    on_phase: OnPhase,
) -> list[Record | Failure]:
    """Solve measurements of one mask with the same settings together, and write their films."""
    batch = _Batch(
        np.stack([suiting.measurement for _, _, suiting in parts]),
        parts[0][1].mask,
        [capture.truth_of(job.index) for job, capture, _ in parts],
        _seen([(job, capture) for job, capture, _ in parts]),
        parts[0][2].settings,
    )
    on_phase(STARTING)
    try:
        solution, seconds = SOLVER.submit(_timed, order, batch, on_iteration).result()
    except (DeviceError, ModelError) as error:
        return [Failure.of(job.input, error) for job, _, _ in parts]
    on_phase(WRITING)
    return [
        written(job, write_outputs, order, job, capture, solution, number, seconds, suiting.notes)
        for number, (job, capture, suiting) in enumerate(parts)
    ]


def written(job: Job, write: Callable[..., Record], *arguments: Any) -> Record | Failure:
    """What `write` made for a job; a full disk ends the run, anything else this job alone."""
    try:
        with enough_memory("write", job.output):
            return write(*arguments)
    except StorageError:
        raise
    except DeqsciError as error:
        return Failure.of(job.input, error)


def _read(order: Order, jobs: Iterable[Job]) -> Iterator[Capture | DeqsciError]:
    """The capture of each job, or why there is none; each file is read once."""
    path, found = None, None
    for job in jobs:
        if job.input != path:
            path, found = job.input, _load(order, job)
        assert found is not None
        yield found


def _load(order: Order, job: Job) -> Capture | DeqsciError:
    """The capture of a measurement, or why there is none."""
    try:
        return load_planned(order, job.input, job.stamp)
    except (InputError, UsageError, DeviceError) as error:
        return error


def load_planned(order: Order, path: Path, stamp: FileStamp, **changes: Any) -> Capture:
    """A capture, if its files are still those that the run was planned for.

    Args:
        order: of the run.
        path, stamp: the file with the measurements, and its stamp by then.
        changes: fields of `ReadOptions` to have other than the run's.

    Raises:
        InputError, UsageError, DeviceError: it cannot be read, or has changed.
    """
    options = replace(order.read_options, **changes)
    load = partial(load_capture, options=options)
    capture = isolated(load, path) if order.isolate else load(path)
    planned = {"": stamp} | order.beside
    for version, expected in zip(capture.versions, planned.values(), strict=True):
        if version.stamp != expected:
            raise changed(expected.path)
    return capture


def _seen(pairs: Sequence[tuple[Job, Capture]]) -> np.ndarray | None:
    """The pixels that tell something, as the measurements; None for all of all measurements."""
    maps = [capture.seen(job.index) for job, capture in pairs]
    if all(each is None for each in maps):
        return None
    whole = np.ones(pairs[0][1].measurements.shape[1:], bool)
    return np.stack([whole if each is None else each for each in maps])


def _timed(
    order: Order, batch: _Batch, on_iteration: OnIteration | None
) -> tuple[Reconstruction, float]:
    """The solution, and the seconds that it took."""
    if order.threads is not None:
        torch.set_num_threads(order.threads)
    began = time.perf_counter()
    with memory_errors(choose_device(order.device), batch.mask.shape[-3:]):
        found = _solve(order, batch, on_iteration)
        return found, time.perf_counter() - began


def _solve(order: Order, batch: _Batch, on_iteration: OnIteration | None) -> Reconstruction:
    """All at once, or, where the memory is too small for that, in halves of halves."""
    run = reconstructor_of(order)
    count = len(batch.measurements)
    if order.roi is not None:
        torch.manual_seed(order.seed)
        return reconstruct_regions(
            run,
            order.roi,
            batch.measurements,
            batch.mask,
            on_iteration,
            seen=batch.seen,
            settings=batch.settings,
        )
    try:
        torch.manual_seed(order.seed)
        return run(
            batch.measurements,
            batch.mask,
            on_iteration,
            truths=batch.truths,
            seen=batch.seen,
            settings=batch.settings,
        )
    except DeviceError:
        if count == 1:
            raise
    parts = [
        _solve(order, batch.part(part), on_iteration)
        for part in (slice(count // 2), slice(count // 2, None))
    ]
    lists = ("residual", "residual_trace", "evaluations", "status", "psnr_trace")
    joined = {name: [v for part in parts for v in getattr(part, name)] for name in lists}
    return Reconstruction(torch.cat([part.x for part in parts]), **joined)


def reconstructor_of(order: Order) -> Reconstructor:
    return _reconstructor(order.model, order.fingerprint, order.settings, order.device, order.dtype)


@lru_cache(maxsize=1)
def _reconstructor(
    model: str, fingerprint: str, settings: EquilibriumSettings, device: str, dtype: str
) -> Reconstructor:
    """The model, kept for the next task. It is known by its content, not by where it lies.

    Raises:
        ModelError: what lies there is not what the run was planned with.
    """
    found = zoo.load(model)
    if found.fingerprint != fingerprint:
        raise ModelError(
            "the model has changed since this run began",
            path=found.path,
            hint="start again with --resume when nothing writes to it",
        )
    return Reconstructor(found, settings, device=device, dtype=dtype)


def split(
    order: Order,
    jobs: Sequence[Job],
    batch_size: int | None,
    suits: Callable[[str, tuple[int, int, int]], int] = suitable_batch,
) -> list[Task]:
    """Jobs that can be solved together, in batches of the size asked for, or of one that suits.

    A recording is a task of its own.

    Args:
        order: of the run.
        jobs: to be done.
        batch_size: that was asked for.
        suits: `suitable_batch`, by whoever is to do them.
    """
    alike: dict[tuple[int, int, int], list[Job]] = {}
    tasks = [Task(order, (job,)) for job in jobs if job.recording]
    for job in jobs:
        if not job.recording:
            alike.setdefault(job.shape, []).append(job)
    for shape, group in alike.items():
        size = batch_size or suits(order.device, shape)
        tasks += [Task(order, tuple(group[i : i + size])) for i in range(0, len(group), size)]
    return tasks
