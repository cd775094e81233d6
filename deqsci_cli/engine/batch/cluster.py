"""What `--cluster` may say."""

from __future__ import annotations

from deqsci_cli.errors import UsageError


def is_elsewhere(cluster: str | None) -> bool:
    """Whether others than this machine compute, whose devices are not this one's."""
    return cluster is not None and not local_processes(cluster)


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
