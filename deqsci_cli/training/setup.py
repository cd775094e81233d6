"""What a training is made of, by its config: network, stage, validation."""

from __future__ import annotations

from typing import Any

from torch import nn

from deqsci_cli import zoo
from deqsci_cli.errors import ModelError, UsageError
from deqsci_cli.networks.denoiser import Denoiser, FrameDenoiser
from deqsci_cli.networks.registry import build
from deqsci_cli.runtime.device import Bfloat16
from deqsci_cli.training.captures import CaptureSampler, own_mask
from deqsci_cli.training.denoiser import DenoiserStage, DenoiserValidation
from deqsci_cli.training.equilibrium import EquilibriumStage
from deqsci_cli.training.parallel import Workers
from deqsci_cli.training.patches import PatchSampler, load_clips
from deqsci_cli.training.settings import TrainConfig
from deqsci_cli.training.validation import EquilibriumValidation
from deqsci_cli.training.video_denoising import VideoDenoiserStage, VideoDenoiserValidation


def take_over_solve(table: dict[str, Any]) -> dict[str, Any]:
    """A training's table in which what `[solve]` leaves out is as the model it starts from has it.

    Args:
        table: fields of `TrainConfig`.

    Raises:
        ModelError: the model to start from cannot be read.
    """
    name, told = table.get("init_from"), table.get("solve", {})
    if not isinstance(name, str) or table.get("architecture") or not isinstance(told, dict):
        return table
    known = dict(zoo.read_card(zoo.find(name)).equilibrium)
    if table.get("stage", "denoiser") != "denoiser":
        known.pop("warmup", None)  # nothing is trained through one
    return table | {"solve": known | told}


def make_network(config: TrainConfig) -> tuple[str, dict[str, Any], Denoiser]:
    """Architecture, its options, and the network to be trained.

    Raises:
        UsageError: the options, the frozen parts or the weights to start from do not fit it.
        ModelError: the model to start from cannot be loaded.
    """
    given = None if config.init_from is None else zoo.load(config.init_from)
    architecture = config.architecture or (given.card.architecture if given else "")
    options = (given.card.options if given else {}) | config.options
    try:
        network = build(architecture, options)
    except ModelError as error:
        raise UsageError(error.message, hint="correct the config's options") from error
    if given is not None:
        taken = network
        if config.architecture is not None:  # the model given is a part of the one asked for
            taken = getattr(network, "frames", network)
        if type(taken) is not type(given.network):
            raise UsageError(
                f"{given.card.architecture} is no part of {architecture}",
                hint="leave the architecture out: the model to start from brings its own",
            )
        try:
            taken.load_weights_from(given.network)
        except RuntimeError as error:
            raise UsageError(
                f"the weights of {given.card.name} do not fit these options"
            ) from error
    for part in config.frozen:
        if not isinstance(inside := getattr(network, part, None), nn.Module):
            parts = ", ".join(name for name, _ in network.named_children())
            raise UsageError(f"{architecture} has no part '{part}'", hint=f"one of {parts}")
        inside.requires_grad_(False)
    return architecture, options, network


def make_stage(
    config: TrainConfig, network: Denoiser, workers: Workers
) -> DenoiserStage | VideoDenoiserStage | EquilibriumStage:
    """What gives the loss of a step: a module called as `stage(step) -> (loss, facts)`.

    Raises:
        InputError: the clips or the mask cannot be read, or are too small.
    """
    clips = load_clips(config.data)
    shared: dict[str, Any] = {
        "patch_size": config.patch_size,
        "batch_size": config.batch_size,
        "seed": config.seed,
        "share": workers.share,
    }
    inner = Bfloat16(network) if config.dtype == "bfloat16" else network
    if config.stage == "denoiser" and isinstance(network, FrameDenoiser):
        return DenoiserStage(inner, PatchSampler(clips, **shared), config.denoiser)
    sampler = CaptureSampler(clips, config.captures, **shared)
    if config.stage == "denoiser":
        return VideoDenoiserStage(inner, sampler, config.solve, config.denoiser)
    return EquilibriumStage(inner, sampler, config.solve, config.gradient, config.stability)


def make_validation(
    config: TrainConfig, network: Denoiser
) -> DenoiserValidation | EquilibriumValidation:
    """What measures the model on held-out clips.

    Raises:
        InputError: the clips or the mask cannot be read, or are too small.
    """
    clips, side = load_clips([config.validation]), config.validation_side
    if config.stage == "denoiser" and isinstance(network, FrameDenoiser):
        return DenoiserValidation(clips, side=side)
    file, frames = config.captures.mask_file, config.captures.frames[0]
    mask = None if file is None else own_mask(file, side, "validation_side")
    kind = VideoDenoiserValidation if config.stage == "denoiser" else EquilibriumValidation
    return kind(clips, frames=frames, side=side, solve=config.solve, mask=mask)
