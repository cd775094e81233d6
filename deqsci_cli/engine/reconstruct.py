"""`reconstruct`: captures in, films and a report out."""

from __future__ import annotations

import secrets
import threading
import time
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from dataclasses import asdict, replace
from pathlib import Path

from torch import Tensor

from deqsci_cli import zoo
from deqsci_cli.engine.batch.executors import (
    Pool,
    lost,
    open_executor,
    threads_of_each,
    worker_died,
)
from deqsci_cli.engine.batch.manifest import record_of
from deqsci_cli.engine.batch.plan import Plan, ReconstructConfig, plan
from deqsci_cli.engine.batch.work import Task, split, work
from deqsci_cli.engine.device import choose_device, describe_device
from deqsci_cli.engine.events import Finished, Iterated, Note, OnEvent, ignore
from deqsci_cli.engine.interrupt import deferred_interrupt
from deqsci_cli.engine.pages import PAGE, page_of_run, write_page
from deqsci_cli.errors import DeviceError
from deqsci_cli.io import collect, only_run, remove_leftovers
from deqsci_cli.io.provenance import now
from deqsci_cli.report.report import REPORT, Failure, Record, Report

# The report of a long run is renewed this often.
_REPORT_SECONDS = 5.0
# How long Ctrl-C waits at most.
_POLL_SECONDS = 0.2


class _Stopped(Exception):  # noqa: N818
    """A batch was left because the run ends."""


def reconstruct(config: ReconstructConfig, on_event: OnEvent = ignore) -> Report:
    """Reconstruct every chosen measurement of every input; what fails does not stop the rest.

    Returns:
        The report, as it lies in `out/report.json`. An interrupted run leaves one as well.

    Raises:
        DeqsciError: nothing could be done, or the disk gave out.
    """
    began = time.perf_counter()
    if config.cluster is not None:  # its workers may stand in another folder
        reading, folder = config.reading, Path(config.model)
        if zoo.find(config.model) == folder:
            config = replace(config, model=str(folder.absolute()))
        config = replace(
            config,
            inputs=tuple(path.absolute() for path in config.inputs),
            out=config.out.absolute(),
            reading=replace(reading, mask=reading.mask and reading.mask.absolute()),
        )
    planned = plan(config)
    run = _Run(config, planned, began, on_event)
    with only_run(config.out):
        planned.check_fresh(config)  # another run may have ended here
        for name in (REPORT, PAGE):
            remove_leftovers(config.out / name)
        run.tell()
        try:
            if run.to_do:
                with open_executor(config.cluster, on_event) as pool:
                    run.submit_to(pool)
        except BaseException:
            run.find_unreported()
            raise
        finally:
            with deferred_interrupt():
                report = run.write_report()
        if config.page:
            write_page(page_of_run(report, config.out), config.out / PAGE, overwrite=True)
        return report


class _Run:
    """A run while it goes on."""

    def __init__(self, config: ReconstructConfig, planned: Plan, began: float, on_event: OnEvent):
        self.config = config
        self.plan = planned
        self.began = began
        self.on_event = on_event
        self.name = secrets.token_hex(8)
        self.done: dict[Path, Record] = dict(planned.done)
        self.failures: list[Failure] = list(planned.failures)
        self.to_do = [job for job in planned.jobs if job.output not in planned.done]
        self.stopped = threading.Event()
        self.report_due = began + _REPORT_SECONDS
        card, settings = planned.model.card, planned.settings
        self.device = (
            describe_device(choose_device(config.device))
            if config.cluster is None
            else f"workers of {config.cluster}"
        )
        self.facts = asdict(config) | {"equilibrium": asdict(settings)}
        self.provenance = collect(
            "reconstruct",
            self.facts,
            seed=config.seed,
            model={"name": card.name, "sha256": planned.model.sha256},
            inputs=planned.sources.values(),
            device=self.device,
        ) | {"created": now()}

    def tell(self) -> None:
        """What the user should know before it begins."""
        card = self.plan.model.card
        self.on_event(Note(f"model {card.name} ({card.architecture}) on {self.device}"))
        self.on_event(Note(f"settings: {self.plan.settings}", detail=True))
        rules = self.plan.scales
        for rule in dict.fromkeys(rules.values()):
            alike = [path.name for path, other in rules.items() if other == rule]
            who = alike[0] if len(alike) == 1 else f"{len(alike)} inputs"
            self.on_event(Note(f"{who}: scale {rule}"))
        for path, sentences in self.plan.replaced.items():
            for sentence in sentences:
                self.on_event(Note(f"{path.name}: {sentence}"))

    def submit_to(self, pool: Pool) -> None:
        """Have everything done that is not done yet.

        Raises:
            DeqsciError: what ends a run.
        """
        origin = ("deqsci", "python", "numpy", "platform", "command", "model")
        stamp = {name: self.provenance[name] for name in origin}
        deciding = self.to_do[0].made_from["config"]
        task = Task(
            self.name, (), self.config, self.plan.settings, stamp | {"config": deciding},
            threads_of_each(self.config.cluster),
        )  # fmt: skip
        futures: dict[Future[list[Record | Failure]], Task] = {}
        taken: set[Future[list[Record | Failure]]] = set()
        try:
            # An interrupt is looked for, not raised anywhere: in some callbacks of Dask's it would
            # be lost.
            with deferred_interrupt() as interrupted:
                for jobs in split(self.config, self.to_do, pool.suits(interrupted)):
                    each = replace(task, jobs=jobs)
                    listener = () if self.config.cluster else (self._listen,)
                    futures[pool.submit(work, each, *listener)] = each
                while len(taken) < len(futures):
                    waiting = futures.keys() - taken
                    for future in wait(waiting, _POLL_SECONDS, FIRST_COMPLETED).done:
                        taken.add(future)
                        self._take(future, futures[future])
                    interrupted()
                    pool.check()
                    if self.config.fail_fast and self.failures:
                        break
        finally:
            # What is being written is finished, and belongs into the report.
            self.stopped.set()
            left = [future for future in futures if not future.cancel() and future not in taken]
            for future in wait(left).done:
                if not isinstance(future.exception(), Exception):
                    self._take(future, futures[future])

    def _take(self, future: Future[list[Record | Failure]], task: Task) -> None:
        """Enter what a task came to."""
        try:
            results = future.result()
        except CancelledError as error:  # not by this run, which awaits it
            raise lost(self.config.cluster) from error
        except Exception as error:
            if not worker_died(error):
                raise
            reason = "every worker that took it died"
            results = [
                record_of(job.output, self.name)
                or Failure(str(job.input), f"{job.input}: {reason}", None, DeviceError.exit_code)
                for job in task.jobs
            ]
        for job, result in zip(task.jobs, results, strict=True):
            if isinstance(result, Record):
                self.done[job.output] = result
            else:
                self.failures.append(result)
        self.on_event(Finished(len(self.done), len(self.plan.jobs)))
        if time.perf_counter() > self.report_due:
            self.write_report()

    def _listen(self, count: int, residual: Tensor, _: Tensor) -> None:
        """Told by the solving thread; the one place where a batch can be left."""
        if self.stopped.is_set():
            raise _Stopped
        settings = self.plan.settings
        total = settings.max_iter + sum(n for _, n in settings.warmup)
        worst = float(residual.max())
        self.on_event(Iterated(len(self.done), len(self.plan.jobs), count, total, worst))

    def find_unreported(self) -> None:
        """Enter what workers had made, but not told of, when the run was ended."""
        for job in self.to_do:
            if record := record_of(job.output, self.name):
                self.done[job.output] = record

    def write_report(self) -> Report:
        """What is done so far, written into the output folder."""
        report = Report(
            self.facts,
            self.provenance,
            [self.done[job.output] for job in self.plan.jobs if job.output in self.done],
            self.failures,
            skipped=len(self.plan.done),
            seconds=time.perf_counter() - self.began,
        )
        report.write(self.config.out / REPORT)
        self.report_due = time.perf_counter() + _REPORT_SECONDS
        return report
