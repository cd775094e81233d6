"""Dataclasses that hold arrays are compared by identity: arrays have no single truth value."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import typing
from collections.abc import Callable

import numpy as np
import torch

import deqsci_cli
from deqsci_cli.engine.roi import Roi
from deqsci_cli.networks.denoiser import Denoiser

#: what modules that do not wait for PyTorch name for type checkers alone
LATER = {"Denoiser": Denoiser, "Roi": Roi}


def holds_arrays(kind: object, seen: tuple[object, ...] = ()) -> bool:
    """Whether values of a type have arrays within, through dataclasses, tuples and `X | None`."""
    if kind in (np.ndarray, torch.Tensor):
        return True
    if typing.get_origin(kind) is Callable:  # what it gives is not held
        return False
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind, localns=LATER).values()
        return kind not in seen and any(holds_arrays(hint, (*seen, kind)) for hint in hints)
    return any(holds_arrays(inner, seen) for inner in typing.get_args(kind))


def own_dataclasses() -> list[type]:
    modules = [
        importlib.import_module(found.name)
        for found in pkgutil.walk_packages(deqsci_cli.__path__, "deqsci_cli.")
        if not found.name.endswith("__main__")
    ]
    return [
        kind
        for module in modules
        for kind in vars(module).values()
        if isinstance(kind, type)
        and dataclasses.is_dataclass(kind)
        and kind.__module__ == module.__name__
    ]


def test_none_with_arrays_compares_them():
    found = [kind for kind in own_dataclasses() if holds_arrays(kind)]
    assert {"Capture", "Film", "Solution"} <= {kind.__name__ for kind in found}
    assert [kind.__name__ for kind in found if kind.__eq__ is not object.__eq__] == []
