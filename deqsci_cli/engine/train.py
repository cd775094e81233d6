"""`train`: clips in, a model folder out; stops and goes on as often as one likes."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from deqsci_cli import zoo
from deqsci_cli.engine.device import choose_device, describe_device, memory_errors
from deqsci_cli.engine.events import Note, OnEvent, Stepped, Validated, ignore
from deqsci_cli.engine.interrupt import deferred_interrupt
from deqsci_cli.engine.training.checkpoint import STATE, load_state, save_state
from deqsci_cli.engine.training.clips import PatchSampler, load_clips
from deqsci_cli.engine.training.denoiser import DenoiserValidation, denoising_loss
from deqsci_cli.errors import DeqsciError, UsageError
from deqsci_cli.io.atomic import check_absent
from deqsci_cli.networks.registry import build

LOG = "log.jsonl"


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a training.

    Attributes:
        data: folders of training clips.
        validation: folder of held-out clips, never trained on.
        out: the model folder to be written; its last part is the model's name.
        architecture: a key of `networks.registry.ARCHITECTURES`.
        options: the architecture's arguments.
        steps: in all.
        batch: patches a step.
        patch: side of a patch, pixels.
        learning_rate: highest; it rises for 2 % of the steps and falls to zero as a cosine.
        sigma_range: noise levels, standard deviations in [0, 1] units.
        validate_every: steps between two looks at the held-out clips.
        seed: of weights, patches and noise.
        device: `auto`, `cpu`, `cuda` or `cuda:i`.
        resume: go on from the state in `out`.
        overwrite: begin anew where a run lies already.
    """

    data: tuple[Path, ...]
    validation: Path
    out: Path
    architecture: str = "ffdnet"
    options: dict[str, Any] = field(default_factory=dict)
    steps: int = 10_000
    batch: int = 16
    patch: int = 64
    learning_rate: float = 1e-3
    sigma_range: tuple[float, float] = (0.0, 55 / 255)
    validate_every: int = 500
    seed: int = 0
    device: str = "auto"
    resume: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "validate_every"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1")
        if self.patch < 8:
            raise UsageError("patch must be at least 8 pixels")
        if not 0 <= self.sigma_range[0] <= self.sigma_range[1] <= 1:
            raise UsageError("sigma_range must be two rising numbers between 0 and 1")
        if not self.learning_rate > 0:
            raise UsageError("learning_rate must be above 0")


@dataclass(frozen=True)
class TrainResult:
    """Where a training came to: the model's folder, steps done, figures of the best state."""

    out: Path
    steps: int
    figures: dict[str, float]


def learning_rate(config: TrainConfig, step: int) -> float:
    """The rate of a step: a linear rise over the first 2 %, then a cosine to zero."""
    rise = max(1, config.steps // 50)
    if step < rise:
        return config.learning_rate * (step + 1) / rise
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - rise) / config.steps))


def train(config: TrainConfig, on_event: OnEvent = ignore) -> TrainResult:
    """Train a denoiser; the best state by validation PSNR becomes the model.

    Beside the model lie `state.safetensors` (to resume from) and `log.jsonl`. An interrupt
    saves the state before it goes on its way.

    Raises:
        OutputExistsError: `out` holds a run or a model and neither `resume` nor `overwrite` is set.
        InputError, ModelError, DeviceError: as their names say.
    """
    device = choose_device(config.device)
    if not (config.resume or config.overwrite):  # a model may lie there without its run
        check_absent([config.out / n for n in (STATE, zoo.WEIGHTS, zoo.CARD)], overwrite=False)
    torch.manual_seed(config.seed)
    network = build(config.architecture, config.options).to(device).train()
    if not any(True for _ in network.parameters()):
        raise UsageError(f"architecture {config.architecture} has nothing to train")
    optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
    facts: dict[str, Any] = {"step": 0, "validated": 0, "loss": None, "best": {}, "seconds": 0.0}
    facts["recipe"] = _recipe(config)
    if config.resume:
        facts |= load_state(config.out, network, optimizer)
        _check_recipe(config, facts["recipe"])
        on_event(Note(f"resumed at step {facts['step']}"))
    elif (config.out / LOG).exists():
        (config.out / LOG).unlink()

    sample = PatchSampler(
        load_clips(config.data), patch=config.patch, batch=config.batch, seed=config.seed
    )
    validate = DenoiserValidation(load_clips([config.validation]))
    began = time.monotonic() - facts["seconds"]

    def keep() -> None:
        facts["seconds"] = time.monotonic() - began
        save_state(config.out, network, optimizer, facts)

    with memory_errors(device), deferred_interrupt() as interrupted:
        while True:
            step = facts["step"]
            due = step % config.validate_every == 0 or step == config.steps
            if due and facts["validated"] < step:
                figures = validate(network)
                best = figures["psnr"] >= facts["best"].get("psnr", -math.inf)
                if best:
                    facts["best"] = figures
                    _release(config, network, facts, time.monotonic() - began)
                facts["validated"] = step
                keep()
                _log(config.out, {"step": step, "loss": facts["loss"], **figures})
                on_event(Validated(step, figures, best))
            if step >= config.steps:
                break
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(config, step)
            clean, rng = sample(step)
            optimizer.zero_grad()
            loss = denoising_loss(network, clean, rng, config.sigma_range)
            if not torch.isfinite(loss):
                raise DeqsciError(
                    f"the loss is no longer finite after {step} steps",
                    path=config.out,
                    hint="the last validated state is kept; begin anew at a lower learning rate",
                )
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            facts |= {"step": step + 1, "loss": loss.item()}
            try:
                on_event(Stepped(step + 1, config.steps, facts["loss"]))
                interrupted()
            except KeyboardInterrupt:
                keep()
                raise
    return TrainResult(config.out, facts["step"], facts["best"])


def _recipe(config: TrainConfig) -> dict[str, Any]:
    """What must not change within a run, as JSON has it."""
    names = ("architecture", "options", "batch", "patch", "learning_rate", "sigma_range", "seed")
    return dict(json.loads(json.dumps({name: getattr(config, name) for name in names})))


def _check_recipe(config: TrainConfig, saved: dict[str, Any]) -> None:
    """A resumed run goes on as it began; only its length may change."""
    asked = _recipe(config)
    if changed := [name for name in asked if asked[name] != saved.get(name)]:
        was = ", ".join(f"{name} {saved.get(name)}" for name in changed)
        raise UsageError(
            f"the run was begun with {was}",
            path=config.out,
            hint="resume it with the same, or begin anew elsewhere",
        )


def _release(config: TrainConfig, network: Any, facts: dict[str, Any], seconds: float) -> None:
    """Write the present state as a model."""
    recipe = {k: v for k, v in asdict(config).items() if k not in ("resume", "overwrite", "out")}
    recipe["data"] = [p.name for p in config.data]
    recipe["validation"] = config.validation.name
    card = zoo.Card(
        name=config.out.name,
        summary=f"{config.architecture} trained as a Gaussian denoiser",
        architecture=config.architecture,
        options=config.options,
        training={
            "stage": "denoiser",
            **recipe,
            "steps_done": facts["step"],
            "hours": round(seconds / 3600, 3),
            "hardware": describe_device(choose_device(config.device)),
        },
        figures={"validation": {k: round(v, 3) for k, v in facts["best"].items()}},
    )
    zoo.save_model(config.out, network, card, overwrite=True)


def _log(out: Path, line: dict[str, Any]) -> None:
    with (out / LOG).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
