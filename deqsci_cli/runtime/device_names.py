"""What `--device` and `--dtype` may say: known without PyTorch, which is slow to import."""

from __future__ import annotations

import re

from deqsci_cli.errors import UsageError

#: devices that every machine has a word for; `cuda:i` names one of several GPUs
DEVICES = ("auto", "cpu", "cuda")
#: what `--dtype` may say
DTYPES = ("float32", "mixed", "tf32", "float64", "bfloat16")
# PyTorch counts GPUs up to 127.
_DEVICE = re.compile(r"auto|cpu|cuda(:([0-9]|[1-9][0-9]|1[01][0-9]|12[0-7]))?")


def check_device_name(name: str) -> None:
    """Refuse what `--device` may not say on any machine.

    Raises:
        UsageError: no such word.
    """
    if not _DEVICE.fullmatch(name):
        raise UsageError(f"there is no device '{name}'", hint="auto, cpu, cuda or cuda:0 …")


def check_dtype(dtype: str) -> None:
    """Refuse what `--dtype` may not say.

    Raises:
        UsageError: it is none of `DTYPES`.
    """
    if dtype not in DTYPES:
        raise UsageError(f"there is no dtype '{dtype}'", hint=f"one of {', '.join(DTYPES)}")
