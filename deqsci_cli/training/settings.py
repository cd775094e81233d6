"""Everything that decides a training, and what of it must stay the same within a run."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deqsci_cli.config import RENAMED, check_seed, to_table
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.errors import UsageError
from deqsci_cli.training.capture_settings import CaptureSettings
from deqsci_cli.training.denoiser import DenoiserSettings
from deqsci_cli.training.equilibrium import GradientSettings, StabilitySettings

STAGES = ("denoiser", "equilibrium")
DTYPES = ("float32", "tf32", "bfloat16")
# Of a batch, over all devices; as numbers alone they are 64 GiB.
_MOST_PIXELS = 2**34
# A run that ends by time is as one of so many steps to its learning rate.
_TIMED_STEPS = 10_000
# A step of Adam changes a weight by so much; weights are about 1.
_FASTEST = 100


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a training; a TOML file has the same names.

    Attributes:
        data: folders of training clips.
        validation: folder of held-out clips, never trained on.
        out: the model folder to be written; its last part is the model's name.
        stage: `denoiser` (Gaussian noise, on single frames or on films, as the network sees them)
            or `equilibrium` (through the fixed point).
        init_from: a model whose weights to start from; None for random ones.
        architecture: a key of `networks.registry.ARCHITECTURES`; None for that of `init_from`. With
            both, `init_from` is the frame denoiser that is a part of the architecture.
        options: the architecture's arguments.
        frozen: parts of the network whose weights stay as they are, by name: `["frames"]`.
        steps: in all.
        minutes: for the whole run on the clock, its resumed parts together: it then ends by time
            instead of after `steps`, and what follows the steps, as the learning rate does,
            follows the time. The last validation comes on top. 0 for a run that ends by steps.
        batch_size: patches, or captures, a step.
        patch_size: their side, pixels.
        learning_rate: highest; it rises for 2 % of the run and falls to zero as a cosine.
        ema_decay: decay of an exponential mean of the weights over the steps (0.998: over the last
            five hundred or so), which is validated and becomes the model; 0 for none. Its map
            contracts better than those of the states that it is the mean of.
        weight_interpolation: share of the trained weights in the model; the rest are those of
            `init_from`. 0.5 keeps half of what that model knew of scenes that are rare among the
            clips (WiSE-FT, arXiv 2109.01903). The interpolated model is validated.
        clip_gradient: largest norm of a step's gradient.
        validate_every: steps between two looks at the held-out clips.
        validation_side: of the crops looked at, pixels.
        save_fixed_points: whether the state to resume from holds the fixed points of the batches
            that are alive. A resumed run then ends with the same bytes; without them that file
            is of the weights' size alone, and they are solved for anew.
        seed: of weights, data and noise.
        device: `auto`, `cpu`, `cuda` or `cuda:i`.
        dtype: `float32`, `tf32` (convolutions on an NVIDIA GPU), or `bfloat16` for the network's
            own computing. At equilibrium bfloat16 needs the gradient `exact`
            (benchmarks/README.md).
        tensorboard: write a log for TensorBoard.
        denoiser: of the stage of this name.
        captures: of the stage `equilibrium`, and of networks that see films: what is filmed,
        solve: how the fixed point is found, there and wherever the model is used.
        gradient: of the stage `equilibrium`: how the fixed point is differentiated,
        stability: what keeps it stable.
        resume: go on from the state in `out`.
        overwrite: begin anew where a run lies already.
    """

    data: tuple[Path, ...] = field(metadata={"option": "naming folders on the command line"})
    validation: Path = field(metadata={"option": "--validation FOLDER"})
    out: Path = field(metadata={"option": "--out FOLDER"})
    stage: str = "denoiser"
    init_from: str | None = None
    architecture: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    frozen: tuple[str, ...] = ()
    steps: int = 10_000
    minutes: float = 0.0
    batch_size: int = 16
    patch_size: int = 64
    learning_rate: float = 1e-3
    ema_decay: float = 0.0
    weight_interpolation: float = 1.0
    clip_gradient: float = 1.0
    validate_every: int = 500
    validation_side: int = 160
    save_fixed_points: bool = True
    seed: int = 0
    device: str = "auto"
    dtype: str = "float32"
    tensorboard: bool = False
    denoiser: DenoiserSettings = field(default_factory=DenoiserSettings)
    captures: CaptureSettings = field(default_factory=CaptureSettings)
    solve: EquilibriumSettings = field(default_factory=EquilibriumSettings)
    gradient: GradientSettings = field(default_factory=GradientSettings)
    stability: StabilitySettings = field(default_factory=StabilitySettings)
    resume: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.stage not in STAGES:
            raise UsageError(f"there is no stage '{self.stage}'", hint=" or ".join(STAGES))
        if self.init_from is None and self.architecture is None:
            raise UsageError("neither an architecture nor a model to start from is named")
        if self.dtype not in DTYPES:
            raise UsageError(f"no training runs in '{self.dtype}'", hint=" or ".join(DTYPES))
        for name in ("steps", "batch_size", "validate_every"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1")
        if not 0 <= self.minutes < math.inf:
            raise UsageError("minutes must not be negative, nor infinite")
        check_seed(self.seed)
        if min(self.patch_size, self.validation_side) < 8:
            raise UsageError("patch_size and validation_side must be at least 8 pixels")
        frames = max(self.captures.frames) * max(self.captures.measurements)
        if self.batch_size * self.patch_size**2 * frames > _MOST_PIXELS:
            side = self.patch_size
            raise UsageError(
                f"a batch of {self.batch_size} x {frames} x {side} x {side} pixels does not fit "
                "into memory",
                hint="give a smaller batch_size or patch_size",
            )
        if not 0 < self.learning_rate <= _FASTEST:
            raise UsageError(f"learning_rate must be above 0, and at most {_FASTEST}")
        if not 0 < self.clip_gradient < math.inf:
            raise UsageError("clip_gradient must be above 0, and finite")
        if not 0 <= self.ema_decay < 1:
            raise UsageError("ema_decay is 0, or a decay below 1")
        if not 0 < self.weight_interpolation <= 1 or (
            self.weight_interpolation < 1 and self.init_from is None
        ):
            raise UsageError(
                "weight_interpolation lies above 0 and at most at 1; without init_from it is 1"
            )
        if self.gradient.form.startswith("unrolled") and self.stability.n_correction_losses:
            raise UsageError(
                "unrolled steps have no correction losses", hint="set n_correction_losses = 0"
            )
        if self.stage != "denoiser" and self.solve.warmup:
            raise UsageError("a warm-up is not trained through", hint="take it out of solve")


def learning_rate(config: TrainConfig, step: int, progress: float) -> float:
    """The rate of a step: a linear rise over the first 2 %, then a cosine to zero.

    Args:
        config: of the run.
        step: how many steps are done.
        progress: share of the run that is done, which alone counts where it ends by time.
    """
    done, steps = float(step), config.steps
    if config.minutes:
        done, steps = progress * _TIMED_STEPS, _TIMED_STEPS
    rise = max(1, steps // 50)
    if done < rise:
        return config.learning_rate * min(1.0, (done + 1) / rise)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * (done - rise) / steps))


def recipe(config: TrainConfig) -> dict[str, Any]:
    """What must not change within a run, as JSON has it."""
    free = {"data", "validation", "out", "steps", "minutes", "device", "validate_every"}
    free |= {"tensorboard", "save_fixed_points", "resume", "overwrite"}
    return {k: v for k, v in to_table(config).items() if k not in free}


def check_version(out: Path, saved: dict[str, Any]) -> None:
    """Refuse the state of a version whose settings had other names.

    Args:
        out: the run's folder.
        saved: the recipe in its state.

    Raises:
        UsageError: it is such a state.
    """
    if RENAMED.keys() & saved.keys():
        raise UsageError(
            "this run was begun by an earlier version of deqsci (0.1.0)",
            path=out,
            hint="resume it with that version, or begin anew from its weights: --init-from this "
            "folder, -o another one",
        )


def check_recipe(config: TrainConfig, saved: dict[str, Any]) -> None:
    """A resumed run goes on as it began; only its length may change.

    A setting that the run's version did not have counts as its default.

    Raises:
        UsageError: another setting is asked for.
    """
    asked, begun = recipe(config), dict(saved)
    for name, default in recipe(TrainConfig((), Path(), Path(), architecture="")).items():
        if isinstance(default, dict) and isinstance(earlier := saved.get(name, {}), dict):
            begun[name] = default | earlier
        elif name != "architecture":
            begun.setdefault(name, default)
    if changed := [name for name in {**asked, **begun} if asked.get(name) != begun.get(name)]:
        was = ", ".join(f"{name} {json.dumps(begun.get(name))}" for name in changed)
        raise UsageError(
            f"the run was begun with {was}",
            path=config.out,
            hint="resume it with the same, or begin anew elsewhere",
        )
