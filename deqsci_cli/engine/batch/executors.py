"""Who does the work: threads of this process, processes of this machine, or a Dask cluster."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from typing import Any

import torch

from deqsci_cli.engine.batch.cluster import is_elsewhere, local_processes
from deqsci_cli.errors import DeviceError, UsageError
from deqsci_cli.runtime.device import suitable_batch
from deqsci_cli.runtime.events import Note, OnEvent, ignore

# One batch is read and one is written while another is solved.
_THREADS = 3
# A batch whose worker died is given to another this often.
_RETRIES = 2
# A scheduler answers at once, if its machine and the network are well.
_CONNECT_SECONDS = 10.0
# How long an interrupt waits at most.
_POLL_SECONDS = 0.2
# While a run goes on it is asked this often, and given up after so long a silence.
_LOOK_SECONDS = 2.0
_SILENCE_SECONDS = 60.0
# How long a run waits for a cluster's first worker, or for another one when all have gone.
_WORKERS_SECONDS = 300.0
# Ctrl-C reaches all processes of a terminal; it is for the run to end its workers.
_DEAF = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
_GO_ON = "start it anew; what is done is kept, --resume goes on with the rest"


class Pool:
    """What tasks are submitted to, and whether there is still somebody to do them.

    Args:
        executor: that takes them.
        cluster: whose it is, as `open_executor` has it.
        check: raises a DeviceError when nobody will do them any more.
    """

    def __init__(
        self, executor: Executor, cluster: str | None, check: Callable[[], None] = lambda: None
    ):
        self.executor = executor
        self.cluster = cluster
        self.check = check

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Have a function called.

        Raises:
            DeviceError: there is nobody any more who would.
        """
        self.check()
        return self.executor.submit(function, *arguments)

    def suits(self, meanwhile: Callable[[], None]) -> Callable[[str, tuple[int, int, int]], int]:
        """`suitable_batch` of the devices that compute: workers elsewhere are asked.

        Args:
            meanwhile: called again and again until one has answered.
        """
        if not is_elsewhere(self.cluster):
            return suitable_batch

        @cache
        def ask(device: str, shape: tuple[int, int, int]) -> int:
            answer = self.submit(suitable_batch, device, shape)
            while not wait([answer], _POLL_SECONDS).done:
                meanwhile()
                self.check()
            try:
                return int(answer.result())
            except CancelledError as error:
                raise lost(self.cluster) from error
            except DeviceError as error:
                message = f"a worker of {self.cluster} says: {error.message}"
                raise DeviceError(message, hint=error.hint) from error

        return ask


@contextmanager
def open_executor(cluster: str | None, on_event: OnEvent = ignore) -> Iterator[Pool]:
    """What tasks are submitted to.

    Args:
        cluster: None for this process, `local:N` for N processes of it, `tcp://HOST:PORT` (or
            any other address of a Dask scheduler).
        on_event: told when there are no workers to wait for.

    Raises:
        UsageError: an address that cannot be meant, or Dask is not installed.
        DeviceError: nobody answers at that address.
    """
    if cluster is None:
        with ThreadPoolExecutor(_THREADS, "deqsci") as threads:
            yield Pool(threads, cluster)
        return
    count = local_processes(cluster)
    try:
        import dask
        from distributed import Client, LocalCluster
        from distributed.utils import silence_logging_cmgr
    except ImportError as error:
        raise UsageError(
            "--cluster needs the package distributed", hint='pip install "deqsci[cluster]"'
        ) from error
    with ExitStack() as stack:
        address = cluster
        if count:
            stack.enter_context(
                dask.config.set({"distributed.scheduler.allowed-failures": _RETRIES})
            )
            made = LocalCluster(
                n_workers=count,
                threads_per_worker=1,
                dashboard_address=None,
                silence_logs=logging.CRITICAL,
                preload=[_DEAF],
            )
            address = stack.enter_context(made).scheduler_address
        else:
            stack.enter_context(silence_logging_cmgr(logging.CRITICAL))
        try:
            _shake_hands(address)
            client = Client(address, timeout=_CONNECT_SECONDS)
        except Exception as error:  # whatever else may listen there answers in its own way
            raise DeviceError(
                f"no Dask scheduler answers at {cluster}", hint="start one, or give local:N"
            ) from error
        stack.callback(_leave, client)
        yield Pool(client.get_executor(pure=False), cluster, _Watch(client, cluster, on_event))


def _shake_hands(address: str) -> None:
    """Connect as a Dask client does, and hang up.

    A client bounds how long it waits for a connection, but not for the greeting after it: at a
    port that accepts and says nothing it would wait for ever.
    """
    from distributed.comm.core import connect
    from distributed.security import Security

    async def greet() -> None:
        keys = Security().get_connection_args("client")
        greeting = connect(address, timeout=_CONNECT_SECONDS, **keys)
        comm = await asyncio.wait_for(greeting, _CONNECT_SECONDS)
        comm.abort()

    with ThreadPoolExecutor(1) as apart:  # a notebook's own thread has a loop already
        apart.submit(asyncio.run, greet()).result()


def _leave(client: Any) -> None:
    """Close a client, though its scheduler may be no more."""
    with suppress(Exception):
        client.close(timeout=_CONNECT_SECONDS)


class _Watch:
    """Looks, whenever it is called, whether a scheduler still answers and has workers.

    Asking goes on in the client's own thread: a call never waits for the answer.
    """

    def __init__(self, client: Any, cluster: str, on_event: OnEvent):
        self.client = client
        self.cluster = cluster
        self.on_event = on_event
        self.asked: Future[dict[str, int]] | None = None
        self.called = time.monotonic()
        self.silent = self.idle = 0.0  # seconds without an answer, and without a worker
        self.told = False

    def __call__(self) -> None:
        """Look.

        Raises:
            DeviceError: it is lost, or has had no worker for too long.
        """
        now = time.monotonic()
        passed = min(now - self.called, 1.0)  # more than that this process was stopped, not they
        self.called, self.silent, self.idle = now, self.silent + passed, self.idle + passed
        if self.asked is not None and self.asked.done():
            with suppress(Exception):  # then it has not answered
                self._take(self.asked.result())
            self.asked = None
        if self.client.status == "closed" or self.silent > _SILENCE_SECONDS:
            raise lost(self.cluster)
        if self.idle > _WORKERS_SECONDS:
            raise DeviceError(
                f"the scheduler at {self.cluster} has had no worker for {_WORKERS_SECONDS:.0f} s",
                hint="start workers (dask worker ADDRESS), then give --resume",
            )
        if self.asked is None and self.silent > _LOOK_SECONDS:
            loop = self.client.loop.asyncio_loop
            self.asked = asyncio.run_coroutine_threadsafe(self.client.scheduler.ncores(), loop)

    def _take(self, workers: dict[str, int]) -> None:
        """Note the cores of the workers, by their addresses."""
        self.silent = 0.0
        if workers:
            self.idle = 0.0
            self.told = False
        elif not self.told:
            self.told = True
            self.on_event(Note(f"the scheduler at {self.cluster} has no workers: waiting for one"))


def lost(cluster: str | None) -> DeviceError:
    """What to say of a scheduler that was there and is no more."""
    return DeviceError(f"the Dask scheduler at {cluster} is lost", hint=_GO_ON)


def threads_of_each(cluster: str | None) -> int | None:
    """How many threads PyTorch is to have in a worker; None to leave that to the worker."""
    count = local_processes(cluster)
    return max(1, torch.get_num_threads() // count) if count else None


def worker_died(error: BaseException) -> bool:
    """Whether a task came to nothing because the processes that took it ended."""
    if "distributed" not in sys.modules:  # then no cluster was asked for
        return False
    from distributed.scheduler import KilledWorker

    return isinstance(error, KilledWorker)
