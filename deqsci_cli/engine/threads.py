"""How many threads compute, and how long they wait actively: settled before PyTorch is loaded."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

# How often a thread looks whether the others have come before it sleeps. GNU's OpenMP has 300,000
# (some 5 ms), which a thread that shares its core with another spins away at every operation; with
# so few a quiet machine loses nothing (benchmarks/README.md).
_SPINS = "500"
# The same for LLVM's and Intel's, in ms; they have 200, and 1 is still too long.
_BLOCK_TIME = "0"
#: what says how threads wait, by the OpenMP standard, GNU, and LLVM and Intel
_WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def settle_threads() -> None:
    """Have OpenMP's threads suit a machine that is shared; what the user has set stays.

    It sets environment variables, which OpenMP reads when it is loaded: for a program, which calls
    it before PyTorch is imported; not for a library.
    """
    if not any(name in os.environ for name in _WAITING):
        os.environ["GOMP_SPINCOUNT"] = _SPINS
        os.environ["KMP_BLOCKTIME"] = _BLOCK_TIME
    quota = cpu_quota()
    # OpenMP sees the cores that this process may use, but not how much of them.
    if quota is not None and quota < usable_cores() and "OMP_NUM_THREADS" not in os.environ:
        os.environ["OMP_NUM_THREADS"] = str(math.ceil(quota))


def usable_cores() -> int:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_quota(process: Path = Path("/proc/self")) -> float | None:
    """How many cores' time a control group leaves to this process, as a container's limit does.

    Args:
        process: its folder in /proc.

    Returns:
        The smallest of the quotas of its group and of those around it; None where there is none.
    """
    try:
        lines = (process / "cgroup").read_text().splitlines()
        mounts = (process / "mounts").read_text().splitlines()
    except (OSError, ValueError):
        return None
    groups = {name: path for _, names, path in (line.split(":", 2) for line in lines)
              for name in names.split(",")}  # fmt: skip
    quotas: list[float] = []
    for _, place, kind, options, *_ in map(str.split, mounts):
        # In version 2 one tree limits all; in version 1 it is the one mounted for `cpu`.
        name = {"cgroup2": "", "cgroup": "cpu"}.get(kind)
        if name is None or name not in groups or (name and name not in options.split(",")):
            continue
        quotas += _quotas(Path(place), groups[name])
    return min(quotas, default=None)


def _quotas(root: Path, group: str) -> Iterator[float]:
    """The quotas of a group and of all around it, below where they are mounted.

    A container may see its own group as the root of all, though /proc tells its path outside.
    """
    inner = root / group.lstrip("/")
    for folder in (inner, *inner.parents):
        try:
            if (folder / "cpu.max").is_file():
                quota, period = (folder / "cpu.max").read_text().split()
            else:
                quota = (folder / "cpu.cfs_quota_us").read_text()
                period = (folder / "cpu.cfs_period_us").read_text()
            if quota != "max" and int(quota) > 0 and int(period) > 0:
                yield int(quota) / int(period)
        except (OSError, ValueError):
            pass  # not limited, or not told
        if folder == root:
            return
