"""The state of a run between two steps, in one safetensors file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from deqsci_cli.errors import ModelError
from deqsci_cli.io.atomic import atomic_write

STATE = "state.safetensors"


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
        facts: step, best figures, recipe: what JSON can hold.
        states: of the fixed points that later steps go on from, by the step that drew them.
    """
    tensors = {f"network.{k}": v for k, v in network.state_dict().items()}
    # Helpers that no released model has, as the vectors of a power iteration: a resumed run
    # would differ without them.
    for name, helper in network.named_buffers():
        tensors[f"helper.{name}"] = torch.view_as_real(helper) if helper.is_complex() else helper
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{k}": torch.as_tensor(v) for k, v in moments.items()}
    if mean is not None:
        tensors |= {f"mean.{k}": v for k, v in mean.state_dict().items()}
    tensors |= {f"state.{drawn}": state for drawn, state in states.items()}
    tensors = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    with atomic_write(folder / STATE, overwrite=True) as temporary:
        temporary.write_bytes(save(tensors, metadata={"facts": json.dumps(facts)}))


def load_state(
    folder: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    mean: nn.Module | None,
) -> tuple[dict[str, Any], dict[int, torch.Tensor]]:
    """Put a saved state back into a network, its optimiser, and the mean of its weights.

    Returns:
        The facts and the fixed points' states that were saved with it.

    Raises:
        ModelError: there is none, or it belongs to another network.
    """
    path = folder / STATE
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads(file.metadata()["facts"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        network.load_state_dict(_of("network", tensors))
        if mean is not None:
            mean.load_state_dict(_of("mean", tensors))
    except FileNotFoundError as error:
        raise ModelError(
            "there is no run to resume", path=path, hint="start it without --resume"
        ) from error
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"this state cannot be resumed: {reason}", path=path) from error
    for name, helper in network.named_buffers():
        if (saved := tensors.get(f"helper.{name}")) is not None:
            helper.copy_(torch.view_as_complex(saved) if helper.is_complex() else saved)
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".", 2)
            moments.setdefault(int(index), {})[name] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})
    states = {int(k[6:]): v for k, v in tensors.items() if k.startswith("state.")}
    return facts, states


def _of(owner: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What was saved of one owner, by its own names."""
    prefix = f"{owner}."
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
