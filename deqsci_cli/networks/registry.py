"""Architectures by name: how a card's words become a module."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

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
        network = ARCHITECTURES[architecture](**(options or {}))
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"architecture {architecture}: {error}") from error
    # Convolutions run channels-last wherever their kernels are (worth 1.2 to 2 times on a CPU).
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network


def parameter_count(network: nn.Module) -> int:
    """Number of learned numbers."""
    return sum(p.numel() for p in network.parameters())
