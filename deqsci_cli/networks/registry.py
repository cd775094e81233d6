"""Architectures by name: how a card's words become a module."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import field, make_dataclass
from functools import cache
from inspect import isclass, signature
from typing import Any, get_type_hints

import torch
from torch import nn

from deqsci_cli.config import build as build_table
from deqsci_cli.errors import ModelError, UsageError
from deqsci_cli.networks.cnn import CNN
from deqsci_cli.networks.denoiser import Denoiser, DenoiserLike, as_denoiser
from deqsci_cli.networks.ffdnet import FFDNet
from deqsci_cli.networks.rnn import BidirectionalRNN
from deqsci_cli.networks.rsn_cnn import RSNCNN
from deqsci_cli.networks.tv import TotalVariation
from deqsci_cli.networks.video import VideoUNet
from deqsci_cli.registry import Registry

#: what makes a denoiser, called with a card's options; packages add to them by entry points
ARCHITECTURES: Registry[Callable[..., DenoiserLike]] = Registry(
    "architecture", group="deqsci.denoisers"
)
ARCHITECTURES |= {
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
    make = ARCHITECTURES.find(architecture)
    try:
        given = _checked(make, options or {})
        sizes = list(_numbers(list(given.values())))
        if any(not abs(number) <= _LARGEST_OPTION for number in sizes):
            raise ValueError(f"an option lies beyond {_LARGEST_OPTION}")
        # Kernels of 3x3 from the widest layer to itself, as many as the other options say.
        widest = max(sizes)
        if 9 * widest**2 * (sum(sizes) - widest) > _MOST_PARAMETERS:
            raise ValueError(f"its options make for more than {_MOST_PARAMETERS:,} parameters")
        network = as_denoiser(make(**given))
    except (UsageError, ValueError, RuntimeError) as error:
        hint = "correct its options, in the card or config"
        raise ModelError(f"architecture {architecture}: {error}", hint=hint) from error
    # Convolutions run channels-last wherever their kernels are (worth 1.2 to 2 times on a CPU).
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network


def _checked(make: Callable[..., DenoiserLike], options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as their architecture names and types them; others are refused."""
    plain = {k: list(v) if isinstance(v, tuple) else v for k, v in options.items()}
    known = vars(build_table(_arguments(make), plain))
    return {name: known[name] for name in options}


@cache
def _arguments(make: Callable[..., DenoiserLike]) -> type[Any]:
    """The arguments of an architecture as a dataclass."""
    kinds = get_type_hints(make.__init__ if isclass(make) else make)
    fields: list[Any] = []
    for p in signature(make).parameters.values():
        if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            default = () if p.default is p.empty else (field(default=p.default),)
            fields.append((p.name, kinds.get(p.name, Any), *default))
    return make_dataclass("Options", fields, kw_only=True)


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
