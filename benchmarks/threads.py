"""Seconds of a reconstruction by one thread, and by default, on a machine that is shared.

    python benchmarks/threads.py CAPTURE --model gap-tv [--checkout ../other] [--only "one core"]

Conditions: `quiet`; a busy loop pinned on each core; two busy loops of the lowest priority a core;
`one core`: both threads moved onto one core after they have begun, as a scheduler may leave them;
`taskset`: begun on one core; and under a quota of 1.5 and of 0.5 cores, where the control groups of
this machine can be written. Reconstructions by one thread, by this checkout and by others take
turns. `--first` gives the reconstructions of `quiet` real-time priority, so that
what else is on the machine waits for them (root).
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
CORES = sorted(os.sched_getaffinity(0))
BUSY = [sys.executable, "-S", "-c", "while True: pass"]
CONDITIONS = (
    "quiet",
    "busy loops",
    "low priority loops",
    "one core",
    "taskset",
    "1.5 cores' quota",
    "0.5 cores' quota",
)


def serve(model: str, capture: str, max_iter: int | None) -> None:
    """Reconstruct once for each line of stdin, and tell the seconds."""
    with suppress(ImportError):  # an older checkout settles nothing
        from deqsci_cli.runtime.threads import settle_threads

        settle_threads()
    from deqsci_cli import zoo
    from deqsci_cli.equilibrium.settings import EquilibriumSettings
    from deqsci_cli.io import load_capture
    from deqsci_cli.reconstructor import Reconstructor
    from deqsci_cli.runtime.device import keep_freed_memory

    keep_freed_memory()
    seen, known = load_capture(Path(capture)), zoo.load(model)
    settings = EquilibriumSettings.from_card(known.card.equilibrium, max_iter=max_iter)
    run = Reconstructor(known, settings, device="cpu")
    for _ in sys.stdin:
        began = time.perf_counter()
        run(seen.measurements[:1], seen.mask)
        print(time.perf_counter() - began, flush=True)


class Solver:
    """A process that reconstructs when it is asked to."""

    def __init__(self, arguments: list[str], checkout: Path, **variables: str):
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
        environment |= {"PYTHONPATH": str(checkout)} | variables
        command = [sys.executable, __file__, "--serve", *arguments]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen(command, env=environment, text=True, **pipes)

    def seconds(self) -> float:
        """Of one reconstruction."""
        print(file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())

    def tasks(self) -> list[int]:
        """The threads of it."""
        return [int(p.name) for p in Path(f"/proc/{self.process.pid}/task").iterdir()]


@contextmanager
def loops(low: bool) -> Iterator[None]:
    """Keep every core busy."""
    started = []
    for core in CORES:
        how = ["nice", "-n", "19"] if low else ["taskset", "-c", str(core)]
        started += [subprocess.Popen([*how, *BUSY]) for _ in range(2 if low else 1)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


@contextmanager
def quota(cores: float) -> Iterator[None]:
    """Put this process into a control group with a quota; what it starts is in there too."""
    second = Path("/sys/fs/cgroup/cgroup.controllers").is_file()
    root = Path("/sys/fs/cgroup" if second else "/sys/fs/cgroup/cpu")
    group = root / f"deqsci-{os.getpid()}"
    group.mkdir()
    try:
        if second:
            (group / "cpu.max").write_text(f"{int(100_000 * cores)} 100000")
        else:
            (group / "cpu.cfs_quota_us").write_text(str(int(100_000 * cores)))
        (group / "cgroup.procs").write_text(str(os.getpid()))
        yield
    finally:
        (root / "cgroup.procs").write_text(str(os.getpid()))
        time.sleep(0.5)  # the ended processes leave it
        group.rmdir()


def measure(condition: str, options: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds by who reconstructed, in turns."""
    arguments = [options.model, str(options.capture.resolve())]
    arguments += [] if options.max_iter is None else [str(options.max_iter)]
    with ExitStack() as stack:
        if condition.endswith("quota"):
            stack.enter_context(quota(float(condition.split()[0])))
        if condition == "taskset":
            os.sched_setaffinity(0, CORES[:1])
            stack.callback(os.sched_setaffinity, 0, CORES)
        solvers = {"one thread": Solver(arguments, HERE, OMP_NUM_THREADS="1")}
        for checkout in (HERE, *options.checkout):
            name = "here" if checkout == HERE else checkout.name
            solvers[name] = Solver(arguments, checkout.resolve())
        for solver in solvers.values():
            stack.callback(solver.process.wait)
            stack.callback(solver.process.kill)
            solver.seconds()  # its threads are there from now on
            for task in solver.tasks():
                if condition == "one core":
                    os.sched_setaffinity(task, CORES[:1])
                if options.first and condition == "quiet":
                    os.sched_setscheduler(task, os.SCHED_RR, os.sched_param(1))
        if condition.endswith("loops"):
            stack.enter_context(loops(low=condition.startswith("low")))
        taken: dict[str, list[float]] = {name: [] for name in solvers}
        for _ in range(options.rounds):
            for name, solver in solvers.items():
                taken[name].append(solver.seconds())
        return taken


def main() -> None:
    if sys.argv[1:2] == ["--serve"]:
        model, capture, *rest = sys.argv[2:]
        serve(model, capture, int(rest[0]) if rest else None)
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the loops end too
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("capture", type=Path)
    parser.add_argument("--model", default="gap-tv")
    parser.add_argument("--max-iter", type=int)
    parser.add_argument("--checkout", type=Path, action="append", default=[])
    parser.add_argument("--only", action="append", choices=CONDITIONS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--first", action="store_true")
    options = parser.parse_args()
    print("| model | machine | who | seconds | least to most | times one thread |")
    print("|---|---|---|---|---|---|", flush=True)
    for condition in options.only or CONDITIONS:
        try:
            taken = measure(condition, options)
        except OSError as error:
            print(f"| {options.model} | {condition} | not measured: {error.strerror} | | | |")
            continue
        for name, times in taken.items():
            middle = statistics.median(times)
            print(
                f"| {options.model} | {condition} | {name} | {middle:.2f} "
                f"| {min(times):.2f} to {max(times):.2f} "
                f"| {middle / statistics.median(taken['one thread']):.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
