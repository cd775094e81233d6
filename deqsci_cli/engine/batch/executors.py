"""Who does the work: threads of this process, processes of this machine, or a Dask cluster."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import torch

from deqsci_cli.errors import DeviceError, UsageError

# One batch is read and one is written while another is solved.
_THREADS = 3
# A batch whose worker died is given to another this often.
_RETRIES = 2
# Ctrl-C reaches all processes of a terminal; it is for the run to end its workers.
_DEAF = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"


@contextmanager
def open_executor(cluster: str | None) -> Iterator[Executor]:
    """What tasks are submitted to.

    Args:
        cluster: None for this process, `local:N` for N processes of it, `tcp://HOST:PORT` (or
            any other address of a Dask scheduler).

    Raises:
        UsageError: an address that cannot be meant, or Dask is not installed.
        DeviceError: nobody answers at that address.
    """
    if cluster is None:
        with ThreadPoolExecutor(_THREADS, "deqsci") as threads:
            yield threads
        return
    count = local_processes(cluster)
    try:
        import dask
        from distributed import Client, LocalCluster
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
        try:
            client = stack.enter_context(Client(address, timeout=10))
        except (OSError, ValueError) as error:
            raise DeviceError(
                f"no Dask scheduler answers at {cluster}", hint="start one, or give local:N"
            ) from error
        yield client.get_executor(pure=False)


def local_processes(cluster: str | None) -> int:
    """The N of `local:N`; 0 for anything else.

    Raises:
        UsageError: no number above 0, or neither `local:N` nor an address.
    """
    if cluster is None:
        return 0
    kind, _, rest = cluster.partition(":")
    if kind != "local" and "://" in cluster:
        return 0
    if kind != "local" or not rest.isdecimal() or int(rest) < 1:
        raise UsageError(
            f"there is no cluster '{cluster}'", hint="local:4, or tcp://scheduler:8786"
        )
    return int(rest)


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
