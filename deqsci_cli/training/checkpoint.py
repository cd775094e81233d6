"""The state of a run between two steps, in one safetensors file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from deqsci_cli.errors import DeqsciError, ModelError, UsageError
from deqsci_cli.io.atomic import atomic_write
from deqsci_cli.io.json_file import from_json, require_regular
from deqsci_cli.io.provenance import to_json
from deqsci_cli.networks.weights import check_tensors

STATE = "state.safetensors"

_ANEW = "give --overwrite in place of --resume to begin anew"


@dataclass(frozen=True)
class Facts:
    """Where a run stands, as it is read back.

    Attributes:
        recipe: what must not change within it.
        step: how many steps are done, of which
        skipped: so many were not taken,
        in_a_row: the last ones so.
        validated: the last step that was validated.
        best: the figures of the best state so far; None stands for one that was not finite.
        sums: of what was seen in the steps since then, each with its count.
        seconds: that the run has taken.
    """

    recipe: dict[str, Any]
    step: int = 0
    skipped: int = 0
    in_a_row: int = 0
    validated: int = 0
    best: dict[str, float | None] = field(default_factory=dict)
    sums: dict[str, tuple[float | None, int]] = field(default_factory=dict)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if not (
            0 <= self.in_a_row <= self.skipped <= self.step and 0 <= self.validated <= self.step
        ):
            raise UsageError("its counts of steps contradict each other")
        if self.best and "psnr" not in self.best:
            raise UsageError("its best figures lack psnr")
        if self.seconds < 0 or any(count < 1 for _, count in self.sums.values()):
            raise UsageError("its seconds or sums are below 0")

    @property
    def taken(self) -> int:
        """How many steps of the optimiser were taken."""
        return self.step - self.skipped


def save_state(
    folder: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    mean: nn.Module | None,
    facts: dict[str, Any],
    states: dict[int, torch.Tensor],
) -> None:
    """Write a run between two steps.

    Args:
        folder: of the run.
        network: its weights.
        optimizer: its moments.
        mean: the running mean of the weights, if there is one.
        facts: where it stands: the fields of `Facts`.
        states: of the fixed points that later steps go on from, by the step that drew them.
    """
    tensors = _tensors(network, mean)
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{k}": torch.as_tensor(v) for k, v in moments.items()}
    tensors |= {f"state.{drawn}": state for drawn, state in states.items()}
    tensors = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    with atomic_write(folder / STATE, overwrite=True) as temporary:
        temporary.write_bytes(save(tensors, metadata={"facts": to_json(facts)}))


def read_facts(folder: Path) -> Facts:
    """The facts that a state was saved with; nothing of it is loaded yet.

    Raises:
        ModelError: there is none, or it is damaged.
    """
    path = folder / STATE
    if not path.exists():
        hint = "start it without --resume"
        raise ModelError("there is no run to resume", path=path, hint=hint)
    with _sound(path), _opened(path) as file:
        return from_json((file.metadata() or {}).get("facts", ""), Facts)


def load_state(
    folder: Path,
    facts: Facts,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    mean: nn.Module | None,
) -> dict[int, torch.Tensor]:
    """Put a saved state back into a network, its optimiser, and the mean of its weights.

    All of it is checked before anything is put back: names, shapes, types, that every number is
    finite, and that every weight that is trained has its moments.

    Args:
        folder: of the run.
        facts: what `read_facts` gave.
        network, optimizer, mean: as for `save_state`.

    Returns:
        The fixed points' states that were saved with it.

    Raises:
        ModelError: it is damaged, or belongs to another network.
    """
    path = folder / STATE
    with _sound(path):
        with _opened(path) as file:
            # They are read from the disk as they are looked at, not before.
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        states = {name: found.pop(name) for name in list(found) if name.startswith("state.")}
        if mean is None:  # a recipe that had one is told by what it says
            found = {name: t for name, t in found.items() if not name.startswith("mean.")}
        expected = _tensors(network, mean) | _moments(network, facts)
        check_tensors(found, expected, cast=False)
        for name, tensor in found.items():
            if name.endswith(".exp_avg_sq") and (tensor < 0).any():
                raise ValueError(f"{name!r} has values below 0")
            counts = name == "mean.n_averaged" or name.endswith(".step")
            if counts and tensor != facts.taken:
                raise ValueError(f"{name!r} is {float(tensor):g}, not {facts.taken}")
        drawn = {_drawn(name, facts): state for name, state in states.items()}
        for name, state in states.items():
            if state.dtype != torch.float32 or state.ndim < 2 or not state.isfinite().all():
                raise ValueError(f"{name!r} is no state of a fixed point")
    network.load_state_dict(_of("network", found))
    if mean is not None:
        mean.load_state_dict(_of("mean", found))
    for name, helper in network.named_buffers():
        saved = found[f"helper.{name}"]
        helper.copy_(torch.view_as_complex(saved) if helper.is_complex() else saved)
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in _of("optimizer", found).items():
        index, _, moment = name.partition(".")
        moments.setdefault(int(index), {})[moment] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})
    return drawn


def as_numbers(facts: Facts) -> dict[str, Any]:
    """The fields of facts, in which what JSON had no number for is NaN again."""
    best = {name: math.nan if value is None else value for name, value in facts.best.items()}
    sums = {n: (math.nan if total is None else total, c) for n, (total, c) in facts.sums.items()}
    return vars(facts) | {"best": best, "sums": sums}


def unfit_states(folder: Path) -> ModelError:
    """What to say of fixed points' states that are not of the batches which the run draws."""
    reason = "its fixed points are not those of this run's captures"
    return ModelError(f"this state cannot be resumed: {reason}", path=folder / STATE, hint=_ANEW)


@contextmanager
def _sound(path: Path) -> Iterator[None]:
    """Tell whatever is wrong with a state as what it is.

    Raises:
        ModelError: in place of it.
    """
    try:
        yield
    except (DeqsciError, OSError, SafetensorError, KeyError, ValueError) as error:
        told = error.message if isinstance(error, DeqsciError) else f"{error}"
        reason = " ".join(told.split())[:300]
        raise ModelError(
            f"this state cannot be resumed: {reason}", path=path, hint=_ANEW
        ) from error


def _opened(path: Path) -> safe_open:
    require_regular(path)
    return safe_open(path, framework="pt")


def _tensors(network: nn.Module, mean: nn.Module | None) -> dict[str, torch.Tensor]:
    """What is saved of a network and the mean of its weights, by name."""
    tensors = {f"network.{k}": v for k, v in network.state_dict().items()}
    # Helpers that no released model has, as the vectors of a power iteration: a resumed run
    # would differ without them.
    for name, helper in network.named_buffers():
        tensors[f"helper.{name}"] = torch.view_as_real(helper) if helper.is_complex() else helper
    if mean is not None:
        tensors |= {f"mean.{k}": v for k, v in mean.state_dict().items()}
    return tensors


def _moments(network: nn.Module, facts: Facts) -> dict[str, torch.Tensor]:
    """What Adam must have kept by now: its moments of each weight that is trained."""
    tensors: dict[str, torch.Tensor] = {}
    for index, weight in enumerate(network.parameters()):
        if facts.taken and weight.requires_grad:
            tensors |= {f"optimizer.{index}.{name}": weight for name in ("exp_avg", "exp_avg_sq")}
            tensors[f"optimizer.{index}.step"] = torch.tensor(0.0)
    return tensors


def _drawn(name: str, facts: Facts) -> int:
    """The step that drew a fixed point's state."""
    text = name.removeprefix("state.")
    step = int(text) if text.isdecimal() and len(text) < 20 else facts.step
    if step >= facts.step or text != str(step):
        raise ValueError(f"{name!r} is unknown")
    return step


def _of(owner: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What was saved of one owner, by its own names."""
    prefix = f"{owner}."
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
