"""Weights of a network: from the bytes of a safetensors file and back, strictly."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save
from torch import Tensor

from deqsci_cli.config import MOST_BYTES
from deqsci_cli.networks.denoiser import Denoiser

# Parts of networks that had another name up to version 0.1.0.
_RENAMED = {"enter": "head", "leave": "tail", "falling": "encoder", "rising": "decoder"}
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def load_weights(network: Denoiser, data: bytes) -> None:
    """Give a network the weights of a file; every tensor must fit, none may be missing.

    Raises:
        SafetensorError, ValueError, RuntimeError: no such file, or one of another network.
    """
    found = load_tensors(data)
    for name in found:
        part, dot, rest = name.partition(".")
        if part in _RENAMED:
            raise ValueError(
                f"{name!r} is called '{_RENAMED[part]}{dot}{rest}' since version 0.1.0: rename its "
                "tensors and take the sha256 out of its card, or use that version"
            )
    check_tensors(found, network.state_dict(), cast=True)
    network.load_state_dict(found, strict=True)


def dump_weights(network: Denoiser, *, architecture: str) -> bytes:
    """A network's state in float32, as a file."""
    state = {k: v.detach().cpu().float().contiguous() for k, v in network.state_dict().items()}
    return save(state, metadata={"architecture": architecture})


def check_tensors(
    found: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, cast: bool
) -> None:
    """Refuse tensors of a file that are not those expected.

    Args:
        found: by name.
        expected: by name, of the same shapes.
        cast: floating-point numbers may be of another precision.

    Raises:
        ValueError: one is missing, unknown, of another shape or type, or not finite.
    """
    if missing := sorted(set(expected) - set(found)):
        raise ValueError(f"{missing[0]!r} is missing")
    if foreign := sorted(set(found) - set(expected)):
        raise ValueError(f"{foreign[0]!r} is unknown")
    for name, like in expected.items():
        tensor = found[name]
        if tensor.shape != like.shape:
            raise ValueError(f"{name!r} is {list(tensor.shape)}, not {list(like.shape)}")
        types = _FLOATS if cast and like.is_floating_point() else (like.dtype,)
        if tensor.dtype not in types:
            raise ValueError(f"{name!r} is of type {str(tensor.dtype)[6:]}")
        if not tensor.isfinite().all():
            raise ValueError(f"{name!r} has values that are NaN or infinite")


def most_bytes(network: Denoiser) -> int:
    """How large a network's file of weights may be: in float64, with a header."""
    state = network.state_dict().values()
    numbers: int = sum(tensor.numel() for tensor in state)
    return 8 * numbers + 1000 * len(state) + MOST_BYTES
