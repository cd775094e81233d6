"""`adapt`: a model learns from a camera's own captures, without any truth."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from deqsci_cli import zoo
from deqsci_cli.config import check_seed
from deqsci_cli.engine.one_camera import load_each, together
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.errors import UsageError
from deqsci_cli.io import Capture, check_absent, only_run, remove_leftovers
from deqsci_cli.io.overlap import check_no_overlap
from deqsci_cli.io.read_options import ReadOptions
from deqsci_cli.networks.denoiser import Denoiser
from deqsci_cli.runtime.device import (
    choose_device,
    convolutions_in,
    describe_device,
    memory_errors,
)
from deqsci_cli.runtime.events import Note, OnEvent, Stepped, Validated, ignore
from deqsci_cli.training.equilibrium import GradientSettings, StabilitySettings
from deqsci_cli.training.self_supervised import (
    HeldOutValidation,
    MeasurementSampler,
    SelfSupervisedStage,
)

# Each step solves its pieces from the start; what is not settled by then teaches less.
_STABILITY = StabilitySettings(max_iter=40, reuse_steps=1, spectral_penalty=1.0)
_GRADIENT = GradientSettings("exact")
# Steps between two looks; a run ends when so many looks in a row have found nothing better.
_LOOK_EVERY, _PATIENCE = 15, 3
# The model is the mean of the weights of the last twenty steps or so.
_MEAN_OVER = 20


@dataclass(frozen=True)
class AdaptConfig:
    """Captures to learn from, and how.

    Attributes:
        captures: files, all of one camera.
        out: the model folder to be written; its last part is the model's name.
        model: that is adapted.
        read_options: how the captures are to be understood.
        steps: at most.
        batch_size: pieces of measurements a step.
        patch_size: their side, pixels.
        learning_rate: of Adam.
        seed: of all that is random.
        device: `auto`, `cpu`, `cuda` or `cuda:i`.
        overwrite: replace what lies there.
    """

    captures: tuple[Path, ...]
    out: Path
    model: str
    read_options: ReadOptions = field(default_factory=ReadOptions)
    steps: int = 120
    batch_size: int = 2
    patch_size: int = 64
    learning_rate: float = 1e-4
    seed: int = 0
    device: str = "auto"
    overwrite: bool = False

    def __post_init__(self) -> None:
        check_seed(self.seed)
        for name in ("steps", "batch_size"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1")
        if self.patch_size < 16:
            raise UsageError("patch_size must be at least 16 pixels")
        if not 0 < self.learning_rate <= 1:
            raise UsageError("learning_rate must be above 0, and at most 1")


@dataclass(frozen=True)
class Adapted:
    """What came of it.

    Attributes:
        out: the model's folder.
        step: after which the model was best; 0 for the model as it was.
        before, after: its figures then: `held_out`, `evaluations` and the share `converged` of
            looks at pixels that no step has seen.
        measurements: how many it learned from.
    """

    out: Path
    step: int
    before: dict[str, float]
    after: dict[str, float]
    measurements: int


def adapt(config: AdaptConfig, on_event: OnEvent = ignore) -> Adapted:
    """Adapt a model to captures, and write the best one: that of before where none is better.

    Raises:
        InputError: a capture cannot be read, is of another camera, or too small.
        ModelError, UsageError, OutputExistsError, DeviceError: as their names say.
    """
    outputs = [config.out / name for name in (zoo.WEIGHTS, zoo.CARD)]
    read = [*config.captures, *config.read_options.files().values(), zoo.find(config.model)]
    check_no_overlap(outputs, read)
    check_absent(outputs, overwrite=config.overwrite)
    with only_run(config.out):
        for file in outputs:
            remove_leftovers(file)
        return _adapt(config, on_event)


def _adapt(config: AdaptConfig, on_event: OnEvent) -> Adapted:
    model, device = zoo.load(config.model), choose_device(config.device)
    if not any(True for _ in model.network.parameters()):
        raise UsageError(f"{config.model} has no weights to adapt", hint="adapt pnp or rnn")
    captures = load_each(config.captures, config.read_options, "adapt", on_event)
    y, seen, _ = together(captures)
    on_event(Note(f"{len(y)} measurement(s) to learn from"))
    visible = torch.ones(y.shape, dtype=torch.bool) if seen is None else torch.from_numpy(seen)
    measured, mask = (torch.tensor(each, dtype=torch.float32) for each in (y, captures[0].mask))
    arrays = measured, mask, visible
    with memory_errors(device), convolutions_in("float32"):
        network = copy.deepcopy(model.network).to(device)
        best, adapted = _learn(config, network, model.card, arrays, on_event)
    card = _card(config, model.card, captures, adapted)
    zoo.save_model(config.out, best, card, overwrite=config.overwrite)
    return adapted


def _learn(
    config: AdaptConfig,
    network: Denoiser,
    card: zoo.Card,
    arrays: tuple[Tensor, Tensor, Tensor],
    on_event: OnEvent,
) -> tuple[Denoiser, Adapted]:
    """The best of the models on the way, and its figures."""
    y, mask, seen = arrays
    alone = replace(EquilibriumSettings.from_card(card.equilibrium, symmetries=1), warmup=())
    look = HeldOutValidation(y, mask, seen, alone)
    sampler = MeasurementSampler(
        y, mask, look.usable,
        patch_size=config.patch_size, batch_size=config.batch_size, seed=config.seed,
    )  # fmt: skip
    network.requires_grad_(True).train()
    stage = SelfSupervisedStage(network, sampler, alone, _GRADIENT, _STABILITY)
    before = look(network)
    on_event(Validated(0, before, True))
    best, figures, found_at, in_vain = copy.deepcopy(network), before, 0, 0
    for step, mean in _steps(config, stage, network, on_event):
        if step % _LOOK_EVERY and step < config.steps:
            continue
        now = look(mean)
        better = now["held_out"] < figures["held_out"] and now["converged"] >= before["converged"]
        on_event(Validated(step, now, better))
        if better:
            best, figures, found_at, in_vain = copy.deepcopy(mean), now, step, 0
        else:
            in_vain += 1
        if in_vain == _PATIENCE:
            break
    return best, Adapted(config.out, found_at, before, figures, len(y))


def _steps(
    config: AdaptConfig, stage: SelfSupervisedStage, network: Denoiser, on_event: OnEvent
) -> Iterator[tuple[int, Denoiser]]:
    """Train; after each step its number, and the mean of the last weights."""

    def mix(mean: Tensor, new: Tensor, count: Tensor | int) -> Tensor:
        return torch.lerp(mean, new, 1 / min(int(count) + 1, _MEAN_OVER))

    mean = AveragedModel(network, avg_fn=mix)
    optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
    for step in range(1, config.steps + 1):
        optimizer.zero_grad()
        loss, facts = stage(step - 1)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        if bool(norm.isfinite()) and facts["residual"] <= _STABILITY.max_residual:
            optimizer.step()
        mean.update_parameters(network)
        on_event(Stepped(step, config.steps, loss.item(), facts))
        averaged: Denoiser = mean.module  # type: ignore[assignment]
        yield step, averaged


def _card(
    config: AdaptConfig, card: zoo.Card, captures: list[Capture], adapted: Adapted
) -> zoo.Card:
    """The card of the adapted model: that of the one before, and what was done to it."""
    training = {
        "stage": "adapted",
        "init_from": Path(config.model).name,
        "data": [capture.path.name for capture in captures],
        "measurements": adapted.measurements,
        "steps_done": adapted.step,
        "learning_rate": config.learning_rate,
        "batch_size": config.batch_size,
        "patch_size": config.patch_size,
        "seed": config.seed,
        "hardware": describe_device(choose_device(config.device)),
    }
    how = "adapted to captures of one camera" if adapted.step else "which captures did not improve"
    return zoo.Card(
        name=config.out.name,
        summary=f"{card.name}, {how}",
        architecture=card.architecture,
        options=card.options,
        equilibrium=card.equilibrium,
        training=training,
        figures={"held out": {"before": adapted.before, "after": adapted.after}},
        licence=card.licence,
    )
