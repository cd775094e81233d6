"""`reconstruct`: captures in, films and a report out."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from torch import Tensor

from deqsci_cli import zoo
from deqsci_cli.engine.batch.config import ReconstructConfig
from deqsci_cli.engine.batch.executors import (
    Pool,
    lost,
    open_executor,
    threads_of_each,
    worker_died,
)
from deqsci_cli.engine.batch.job import Order, Task
from deqsci_cli.engine.batch.manifest import record_of
from deqsci_cli.engine.batch.plan import Plan, plan
from deqsci_cli.engine.batch.progress import READING, STARTING, WRITING, RunProgress
from deqsci_cli.engine.batch.recording import work_on_recording
from deqsci_cli.engine.batch.stale import films_of_other_content, remove_old_page
from deqsci_cli.engine.batch.work import split, work
from deqsci_cli.engine.roi import ELSEWHERE
from deqsci_cli.errors import DeviceError
from deqsci_cli.io import Capture, load_capture, make_provenance, only_run, remove_leftovers
from deqsci_cli.io.paths import is_file
from deqsci_cli.io.provenance import now
from deqsci_cli.io.read_options import ReadOptions
from deqsci_cli.report.pages import PAGE, page_of_run, write_page
from deqsci_cli.report.report import REPORT, Failure, Record, Report, Source
from deqsci_cli.runtime.device import choose_device, describe_device
from deqsci_cli.runtime.events import Finished, Iterated, Note, OnEvent, Phase, ignore
from deqsci_cli.runtime.interrupt import deferred_interrupt
from deqsci_cli.runtime.isolation import isolated

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
        folder = Path(config.model)
        if zoo.find(config.model) == folder:
            config = replace(config, model=str(folder.absolute()))
        config = replace(
            config,
            inputs=tuple(path.absolute() for path in config.inputs),
            out=config.out.absolute(),
            read_options=config.read_options.absolute(),
            found=tuple(path.absolute() for path in config.found),
            folders=tuple(path.absolute() for path in config.folders),
        )
    on_event(Phase(STARTING, 0, 0))
    model = zoo.load(config.model)
    on_event(Phase(READING, 0, 0))
    planned = plan(config, model)
    run = _Reconstruction(config, planned, began, on_event)
    if not planned.jobs:
        return run.report()
    with only_run(config.out):
        planned.check_fresh(config)  # another run may have ended here
        for name in (REPORT, PAGE):
            remove_leftovers(config.out / name)
        run.tell()
        run.clear_page()
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
        run.tell_of_stale()
        if config.page and report.measurements:
            run.enter(WRITING)
            read = _read_apart if config.several else load_capture
            page = page_of_run(report, config.out, read_capture=read)
            write_page(page, config.out / PAGE, overwrite=True)
        return report


def _read_apart(path: Path, options: ReadOptions) -> Capture:
    """A capture, from the process that has read it for the run and still knows its mask."""
    return isolated(partial(load_capture, options=options), path)


class _Reconstruction:
    """A run while it goes on."""

    def __init__(self, config: ReconstructConfig, planned: Plan, began: float, on_event: OnEvent):
        self.config = config
        self.plan = planned
        self.began = began
        self.on_event = on_event
        self.name = secrets.token_hex(8)
        self.done: dict[Path, Record] = {}
        self.sources: dict[str, Source] = {}
        for output, record in planned.done.items():
            self.take(output, record)
        self.failures: list[Failure] = list(planned.failures)
        self.to_do = [job for job in planned.jobs if job.output not in planned.done]
        self.progress = RunProgress(self.to_do, planned.settings)
        self.phase = ""
        self.told: set[str] = set()
        self.stopped = threading.Event()
        self.report_due = began + _REPORT_SECONDS
        card, settings = planned.model.card, planned.settings
        self.device = (
            describe_device(choose_device(config.device))
            if config.cluster is None
            else f"workers of {config.cluster}"
        )
        self.facts = asdict(config) | {"equilibrium": asdict(settings)}
        self.provenance = make_provenance(
            "reconstruct",
            self.facts,
            seed=config.seed,
            model={
                "name": card.name,
                "sha256": planned.model.sha256,
                "fingerprint": planned.model.fingerprint,
            },
            inputs=[],  # their hashes are known once they have been read
            device=self.device,
        ) | {"created": now()}

    def tell(self) -> None:
        """What the user should know before it begins."""
        card = self.plan.model.card
        self.on_event(Note(f"model {card.name} ({card.architecture}) on {self.device}"))
        self.on_event(Note(f"settings: {self.plan.settings}", detail=True))
        for path in self.plan.passed_over:
            self.on_event(Note(f"{path.name}: passed over, a film that deqsci made"))

    def enter(self, phase: str) -> None:
        """Tell what the run is doing, where that is another thing than before."""
        if phase != self.phase:
            self.phase = phase
            self.on_event(Phase(phase, len(self.done), len(self.plan.jobs)))

    def take(self, output: Path, record: Record) -> None:
        """Take a film into the report."""
        self.done[output] = record
        self.sources |= {source.path: source for source in record.sources}

    def tell_of(self, record: Record) -> None:
        """How an input was understood: each scale once, and what is particular to this input."""
        name = Path(record.input).name
        if record.scale_rule not in self.told:
            self.on_event(Note(f"{name}: scale {record.scale_rule}"))
        sentences = [f"{name}: {sentence}" for sentence in record.notes]
        film = Path(record.output).name
        sentences += [f"{film}: warning: {sentence}" for sentence in record.warnings]
        if record.roi == ():
            film = Path(record.output).name
            sentences.append(f"{film}: nothing moves, the film is {ELSEWHERE}'s alone")
        for sentence in sentences:
            if sentence not in self.told:
                self.on_event(Note(sentence))
        self.told.update((record.scale_rule, *sentences))

    def clear_page(self) -> None:
        """Remove the page of films that are made again; before that, for a run may be killed.

        With `--report` it stays until the new one takes its place.
        """
        again = any(not job.keep_film and is_file(job.output) for job in self.to_do)
        if again and not self.config.page and remove_old_page(self.config.out / PAGE):
            text = "its films are made again: --report writes it anew"
            self.on_event(Note(f"{PAGE} is removed, {text}"))

    def tell_of_stale(self) -> None:
        """Name films that lie beside those of this run, and are of what its inputs held before."""
        hashes = {path: source.sha256 for path, source in self.sources.items()}
        for film in films_of_other_content(self.config.out, self.plan.jobs, hashes):
            text = "is of what its input held before, and is no film of this run"
            self.on_event(Note(f"{film.name} {text}"))

    def submit_to(self, pool: Pool) -> None:
        """Have everything done that is not done yet.

        Raises:
            DeqsciError: what ends a run.
        """
        config = self.config
        origin = ("deqsci", "python", "numpy", "platform", "command", "model")
        stamp = {name: self.provenance[name] for name in origin}
        order = Order(
            run=self.name,
            model=config.model,
            fingerprint=self.plan.model.fingerprint,
            settings=self.plan.settings,
            read_options=config.read_options,
            beside=self.plan.beside,
            device=config.device,
            dtype=config.dtype,
            seed=config.seed,
            isolate=config.several,
            replace=config.overwrite or config.resume,
            origin=self.plan.origin,
            stamp=stamp | {"config": self.plan.origin["config"]},
            threads=threads_of_each(config.cluster),
            roi=self.plan.roi,
        )
        futures: dict[Future[list[Record | Failure]], Task] = {}
        try:
            # An interrupt is looked for, not raised anywhere: in some callbacks of Dask's it would
            # be lost.
            with deferred_interrupt() as interrupted:
                suits = pool.suits(interrupted)
                for each in split(order, self.to_do, config.batch_size, suits):
                    listener: tuple[Callable[..., None], ...] = ()
                    if not self.config.cluster:
                        listener = partial(self._listen, each), partial(self._hear, each)
                    do = work_on_recording if each.jobs[0].recording else work
                    futures[pool.submit(do, each, *listener)] = each
                while futures:
                    for future in wait(futures, _POLL_SECONDS, FIRST_COMPLETED).done:
                        self._take(future, futures.pop(future))
                    interrupted()
                    pool.check()
                    if self.config.fail_fast and self.failures:
                        break
        finally:
            # What is being written is finished, and belongs into the report.
            self.stopped.set()
            left = [future for future in futures if not future.cancel()]
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
                self.take(job.output, result)
                self.tell_of(result)
            elif result not in self.failures:  # one for a file, however many measurements it has
                self.failures.append(result)
        self.progress.finish(task)
        self.on_event(Finished(len(self.done), len(self.plan.jobs), self.progress.share))
        if time.perf_counter() > self.report_due:
            self.write_report()

    def _hear(self, task: Task, phase: str) -> None:
        """Told by the thread of a task."""
        self.progress.enter(task, phase)
        self.enter(self.progress.phase)

    def _listen(self, task: Task, count: int, residual: Tensor, _: Tensor) -> None:
        """Told by the solving thread; the one place where a batch can be left."""
        if self.stopped.is_set():
            raise _Stopped
        worst, progress = float(residual.max()), self.progress
        progress.iterated(task, count, worst, len(residual))
        self.enter(progress.phase)
        done, of = len(self.done), len(self.plan.jobs)
        self.on_event(Iterated(done, of, progress.most, worst, progress.share))

    def find_unreported(self) -> None:
        """Enter what workers had made, but not told of, when the run was ended."""
        for job in self.to_do:
            if record := record_of(job.output, self.name):
                self.take(job.output, record)

    def report(self) -> Report:
        """What is done so far, and what came to nothing, in the order of the inputs."""
        order: dict[str, int] = {}
        for place, path in enumerate(self.config.inputs):  # a recording may be a folder of them
            order |= {str(path): place}
            order.setdefault(str(path.parent), place)
        return Report(
            self.facts,
            self.provenance | {"inputs": [asdict(source) for source in self.sources.values()]},
            [self.done[job.output] for job in self.plan.jobs if job.output in self.done],
            sorted(self.failures, key=lambda failure: order[failure.input]),
            skipped=len(self.plan.done),
            seconds=time.perf_counter() - self.began,
        )

    def write_report(self) -> Report:
        """Write the report into the output folder; not where there is no film to tell of."""
        report = self.report()
        if report.measurements:
            report.write(self.config.out / REPORT)
        self.report_due = time.perf_counter() + _REPORT_SECONDS
        return report
