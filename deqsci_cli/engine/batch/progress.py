"""How far a run has come: the phase that it is in, and what share of its work is done.

Work is measured in pixels of films. A solve that is under way is as far as its evaluations are on
the way to those that the finished ones have taken. The first one is as far as the logarithm of its
residual is on the way to the tolerance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from threading import Lock

from deqsci_cli.engine.batch.job import Job, Task
from deqsci_cli.engine.batch.windows import windows
from deqsci_cli.equilibrium.settings import EquilibriumSettings

READING, STARTING, SOLVING, WRITING = "reading", "starting", "solving", "writing"
#: of tasks side by side the first of these is what the run waits for
_FIRST = (SOLVING, STARTING, WRITING, READING)

# Of a solve that has not ended, whatever its evaluations say.
_MOST_PART = 0.95

#: told what a task is doing, one of the four words
OnPhase = Callable[[str], None]


def ignore_phase(phase: str) -> None:
    """The listener of somebody who does not listen."""


@dataclass
class _Running:
    """A task under way: its phase, and its solves, of one measurement or several each."""

    phase: str = READING
    solved: int = 0
    count: int = 0
    evaluations: int = 0
    first: float = 0.0
    part: float = 0.0


class RunProgress:
    """What the tasks of a run tell, from whatever threads, added up.

    Args:
        jobs: all that is to be done.
        settings: of the solver.
    """

    def __init__(self, jobs: Sequence[Job], settings: EquilibriumSettings):
        self.total = sum(map(_work, jobs))
        self.tol = settings.tol
        self.most = settings.max_iter + sum(n for _, n in settings.warmup)
        self.done = 0
        self.evaluations: list[int] = []  # of the finished solves
        self.running: dict[Path, tuple[Task, _Running]] = {}
        self.lock = Lock()

    def enter(self, task: Task, phase: str) -> None:
        """A task has come to a phase."""
        with self.lock:
            self._of(task).phase = phase

    def iterated(self, task: Task, evaluation: int, residual: float, count: int) -> None:
        """A solve of a task has had an evaluation.

        Args:
            task: that it belongs to.
            evaluation: the number of it.
            residual: the largest of its best residuals.
            count: how many measurements it is of.
        """
        with self.lock:
            running = self._of(task)
            if evaluation <= running.evaluations:  # another solve has begun
                self._end(running)
            running.phase, running.evaluations = SOLVING, evaluation
            running.count = 1 if task.jobs[0].recording else count
            running.first = running.first or residual
            if self.evaluations:
                part = evaluation / mean(self.evaluations)
            else:
                way = _way(running.first, residual, self.tol)
                part = max(evaluation / self.most, way)
            running.part = min(_MOST_PART, max(running.part, part))

    def finish(self, task: Task) -> None:
        """A task is done, or has come to nothing."""
        with self.lock:
            _, running = self.running.pop(task.jobs[0].output, (task, _Running()))
            self._end(running)
            self.done += sum(map(_work, task.jobs))

    @property
    def phase(self) -> str:
        """What the run waits for."""
        with self.lock:
            phases = {running.phase for _, running in self.running.values()}
        return next((phase for phase in _FIRST if phase in phases), STARTING)

    @property
    def share(self) -> float:
        """How much of the work is done, in [0, 1]."""
        with self.lock:
            under_way = sum(
                sum(map(_work, task.jobs))
                * min(1.0, (running.solved + running.count * running.part) / _solves(task))
                for task, running in self.running.values()
            )
        return min(1.0, (self.done + under_way) / self.total) if self.total else 1.0

    def _end(self, running: _Running) -> None:
        if running.evaluations:
            self.evaluations.append(running.evaluations)
        running.solved += running.count
        running.evaluations, running.first, running.part = 0, 0.0, 0.0

    def _of(self, task: Task) -> _Running:
        return self.running.setdefault(task.jobs[0].output, (task, _Running()))[1]


def _work(job: Job) -> int:
    return math.prod(job.shape) * (_measurements(job) or 1)


def _measurements(job: Job) -> int:
    return sum(len(stretch.indices) for stretch in job.recording)


def _solves(task: Task) -> int:
    """The measurements, or the windows of a recording, that a task solves."""
    first = task.jobs[0]
    return len(windows(_measurements(first), first.window)) if first.recording else len(task.jobs)


def _way(first: float, residual: float, tol: float) -> float:
    """How far a residual has come from the first one to the tolerance, by its logarithm."""
    if residual <= tol:
        return 1.0
    return math.log(first / residual, first / tol) if residual < first < math.inf else 0.0
