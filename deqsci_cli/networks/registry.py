"""Architectures by name: how a card's words become a module."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import make_dataclass
from functools import cache
from inspect import signature
from typing import Any, get_type_hints

import torch
from torch import nn

from deqsci_cli.config import build as build_table
from deqsci_cli.errors import ModelError, UsageError
from deqsci_cli.networks.cnn import CNN
from deqsci_cli.networks.denoiser import Denoiser
from deqsci_cli.networks.ffdnet import FFDNet
from deqsci_cli.networks.rnn import BidirectionalRNN
from deqsci_cli.networks.rsn_cnn import RSNCNN
from deqsci_cli.networks.tv import TotalVariation
from deqsci_cli.networks.video import VideoUNet

ARCHITECTURES: dict[str, Callable[..., Denoiser]] = {
    "cnn": CNN,
    "rsn-cnn": RSNCNN,
    "ffdnet": FFDNet,
    "rnn": BidirectionalRNN,
    "tv": TotalVariation,
    "video": VideoUNet,
}


# No denoiser of this field comes near; beyond them is a slip, or a card out to fill the memory.
_LARGEST_OPTION = 1024
_MOST_PARAMETERS = 2**29


def build(architecture: str, options: Mapping[str, Any] | None = None) -> Denoiser:
    """A network by its name.

    Args:
        architecture: a key of `ARCHITECTURES`.
        options: its arguments, as a card holds them.

    Raises:
        UsageError: no such architecture (with the nearest name).
        ModelError: it does not take these options.
    """
    if architecture not in ARCHITECTURES:
        near = difflib.get_close_matches(architecture, ARCHITECTURES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(ARCHITECTURES)}"
        raise UsageError(f"there is no architecture '{architecture}'", hint=hint)
    try:
        given = _checked(architecture, options or {})
        sizes = list(_numbers(list(given.values())))
        if any(not abs(number) <= _LARGEST_OPTION for number in sizes):
            raise ValueError(f"an option lies beyond {_LARGEST_OPTION}")
        # Kernels of 3x3 from the widest layer to itself, as many as the other options say.
        widest = max(sizes)
        if 9 * widest**2 * (sum(sizes) - widest) > _MOST_PARAMETERS:
            raise ValueError(f"its options make for more than {_MOST_PARAMETERS:,} parameters")
        network = ARCHITECTURES[architecture](**given)
    except (UsageError, ValueError, RuntimeError) as error:
        hint = "mend its options, in the card or config"
        raise ModelError(f"architecture {architecture}: {error}", hint=hint) from error
    # Convolutions run channels-last wherever their kernels are (worth 1.2 to 2 times on a CPU).
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network


def _checked(architecture: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as their architecture names and types them; others are refused."""
    plain = {k: list(v) if isinstance(v, tuple) else v for k, v in options.items()}
    known = vars(build_table(_arguments(architecture), plain))
    return {name: known[name] for name in options}


@cache
def _arguments(architecture: str) -> type[Any]:
    """The arguments of an architecture as a dataclass."""
    make = ARCHITECTURES[architecture].__init__
    kinds, parameters = get_type_hints(make), list(signature(make).parameters.values())[1:]
    return make_dataclass("Options", [(p.name, kinds[p.name], p.default) for p in parameters])


def _numbers(value: Any) -> Iterator[float]:
    """The numbers of an option; of a list its length as well."""
    if isinstance(value, list | tuple):
        yield len(value)
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, int | float):
        yield value


def parameter_count(network: nn.Module) -> int:
    """Number of learned numbers."""
    return sum(p.numel() for p in network.parameters())
