"""Foreign checkpoints into our format: the one place that opens pickles, for tensors only."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deqsci_cli.errors import InputError, UsageError
from deqsci_cli.networks.denoiser import Denoiser
from deqsci_cli.networks.registry import ARCHITECTURES, build

_LAYER = re.compile(r"^(.*\.)?(\d+)\.(\w+)$")


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The tensors of a PyTorch checkpoint, found below whatever it is wrapped in.

    Raises:
        InputError: not a checkpoint, or one that holds more than tensors and plain values.
    """
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError("the checkpoint is not there", path=path) from error
    except pickle.UnpicklingError as error:
        raise InputError(
            "not a checkpoint of tensors alone",
            path=path,
            hint="a checkpoint that would run code is not opened; save its state_dict anew",
        ) from error
    except Exception as error:  # a damaged pickle may raise anything
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"the checkpoint cannot be read: {reason}", path=path) from error
    for key in ("solver_state_dict", "state_dict", "model_state_dict", "model", "params"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    tensors = (
        {str(k): v for k, v in content.items() if isinstance(v, Tensor)}
        if isinstance(content, Mapping)
        else {}
    )
    if not tensors:
        raise InputError("the checkpoint holds no weights", path=path)
    return tensors


def convolutions(tensors: Mapping[str, Tensor]) -> list[tuple[Tensor, Tensor | None]]:
    """Kernels and biases of a sequential network, batch normalisation folded in.

    Where a spectrally normalised layer keeps `weight_orig` beside `weight`, the latter is what
    the network ran with.
    """
    layers: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if match := _LAYER.match(key):
            layers.setdefault(int(match[2]), {})[match[3]] = value
    out: list[tuple[Tensor, Tensor | None]] = []
    for _, layer in sorted(layers.items()):
        weight = layer.get("weight")
        if weight is not None and weight.ndim == 4:
            out.append((weight, layer.get("bias")))
        elif "running_mean" in layer and out:
            kernel, bias = out.pop()
            gain = (layer["running_var"] + 1e-5).rsqrt() * layer.get("weight", torch.ones(()))
            shift = (bias if bias is not None else 0.0) - layer["running_mean"]
            out.append((kernel * gain.view(-1, 1, 1, 1), layer.get("bias", 0.0) + shift * gain))
    return out


def import_checkpoint(path: Path, architecture: str) -> tuple[Denoiser, dict[str, Any]]:
    """A published checkpoint as one of our networks.

    Reads sequential 3×3 networks: the CNN and RSN-CNN of DE-GAP, FFDNet as published with its
    noise map first.

    Args:
        path: the checkpoint.
        architecture: which network it is.

    Returns:
        The network, and the options that describe its size.

    Raises:
        InputError: the checkpoint cannot be read, or is not of this architecture.
        UsageError: no such architecture, or one without weights.
    """
    if architecture in ARCHITECTURES and not build(architecture).state_dict():
        raise UsageError(f"architecture {architecture} has no weights to import")
    tensors = read_checkpoint(path)
    found = {key: _LAYER.match(key) for key, value in tensors.items() if value.ndim == 4}
    places = sorted({match[1] or "" for match in found.values() if match})
    if len(places) > 1:
        raise InputError(
            f"the checkpoint holds convolutions in more than one place: {', '.join(places[:6])}",
            path=path,
            hint="save the state_dict of the network that is meant, one sequence of layers",
        )
    layers = convolutions(tensors)
    options = {"channels": int(layers[0][0].shape[0]), "depth": len(layers)} if layers else {}
    network = build(architecture, options)
    state = {}
    expected = network.state_dict()
    for index, (kernel, bias) in enumerate(layers):
        state[f"layers.{index}.weight"] = kernel
        if f"layers.{index}.bias" in expected:
            state[f"layers.{index}.bias"] = torch.zeros(len(kernel)) if bias is None else bias
        elif bias is not None:
            raise InputError(f"the checkpoint has biases, {architecture} has none", path=path)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(
            f"the checkpoint does not fit architecture {architecture}",
            path=path,
            hint=f"its kernels are {[tuple(k.shape) for k, _ in layers]}",
        ) from error
    return network.eval().requires_grad_(False), options
