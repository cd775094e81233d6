"""`train`: clips in, a model folder out; stops and goes on as often as one likes."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from deqsci_cli import zoo
from deqsci_cli.errors import DeqsciError, UsageError
from deqsci_cli.io import check_absent, only_run, remove_leftovers
from deqsci_cli.io.overlap import check_no_overlap
from deqsci_cli.networks.denoiser import Denoiser
from deqsci_cli.runtime.device import (
    choose_device,
    convolutions_in,
    memory_errors,
)
from deqsci_cli.runtime.events import Note, OnEvent, Stepped, Validated, ignore
from deqsci_cli.runtime.interrupt import deferred_interrupt
from deqsci_cli.training.card import make_card
from deqsci_cli.training.checkpoint import (
    STATE,
    as_numbers,
    load_state,
    read_facts,
    save_state,
    unfit_states,
)
from deqsci_cli.training.equilibrium import EquilibriumStage
from deqsci_cli.training.log import LOG, TrainingLog
from deqsci_cli.training.parallel import Workers, join
from deqsci_cli.training.settings import (
    TrainConfig,
    check_recipe,
    check_version,
    learning_rate,
    recipe,
)
from deqsci_cli.training.setup import make_network, make_stage, make_validation

# A run that has skipped so many steps without a break will not recover.
_PATIENCE = 50
# What a run leaves.
_FILES = (STATE, zoo.WEIGHTS, zoo.CARD, LOG)


@dataclass(frozen=True)
class TrainResult:
    """Where a training came to: the model's folder, steps done, figures of the best state."""

    out: Path
    steps: int
    figures: dict[str, float]


def train(
    config: TrainConfig, on_event: OnEvent = ignore, *, recipe_file: Path | None = None
) -> TrainResult:
    """Train a model; the best state by validation becomes it: one that converges, then by PSNR.

    Beside the model lie `state.safetensors`, the last state, to resume from, and `log.jsonl`. An
    interrupt saves the state before it goes on its way. A step whose loss or gradient is not
    finite, or whose fixed point was not found, is not taken; the log counts them.

    Under `torchrun` every process calls this; each trains on its share of the batch.

    Args:
        config: everything that decides it.
        on_event: told of every step.
        recipe_file: that the config was read from, which no output may replace.

    Raises:
        OutputExistsError: `out` holds a run or a model and neither `resume` nor `overwrite` is set.
        UsageError: an output would replace a file that is read.
        DeqsciError: `_PATIENCE` steps in a row could not be taken.
        InputError, ModelError, DeviceError: as their names say.
    """
    files = [config.out / name for name in _FILES]
    check_no_overlap(files, _read_files(config, recipe_file))
    # A model may lie there without its run.
    check_absent(files, overwrite=config.resume or config.overwrite)
    with (
        join(choose_device(config.device)) as workers,
        memory_errors(workers.device),
        convolutions_in(config.dtype),
    ):
        if config.batch_size % workers.count:
            raise UsageError(f"a batch of {config.batch_size} cannot be shared by {workers.count}")
        if workers.rank:
            return _Training(config, workers, ignore).run()
        with only_run(config.out):
            for file in files:
                remove_leftovers(file)
            return _Training(config, workers, on_event).run()


def _read_files(config: TrainConfig, recipe_file: Path | None) -> Iterator[Path]:
    """Files that a run reads, and folders of such."""
    yield from (*config.data, config.validation)
    if config.init_from is not None:
        yield zoo.find(config.init_from)
    if config.captures.mask_file is not None:
        yield config.captures.mask_file
    if recipe_file is not None:
        yield recipe_file


class _Training:
    """One training: network, optimiser, data, and where it stands."""

    def __init__(self, config: TrainConfig, workers: Workers, on_event: OnEvent):
        self.config, self.workers, self.on_event = config, workers, on_event
        torch.manual_seed(config.seed)
        self.architecture, self.options, self.network = make_network(config)
        self.network.to(workers.device).train()
        #: the weights that the model is interpolated from
        self.first_weights = (
            copy.deepcopy(self.network.state_dict()) if config.weight_interpolation < 1 else {}
        )
        if not any(p.requires_grad for p in self.network.parameters()):
            raise UsageError(f"architecture {self.architecture} has nothing to train")
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=config.learning_rate)
        #: the mean of the weights along the way
        self.mean: AveragedModel | None = None
        if config.ema_decay:
            decay = get_ema_multi_avg_fn(config.ema_decay)
            self.mean = AveragedModel(self.network, multi_avg_fn=decay)
        self.facts: dict[str, Any] = {"step": 0, "validated": 0, "best": {}, "seconds": 0.0}
        self.facts |= {"skipped": 0, "in_a_row": 0, "sums": {}, "recipe": recipe(config)}
        states: dict[int, torch.Tensor] = {}
        if config.resume:
            saved = read_facts(config.out)
            check_version(config.out, saved.recipe)
            states = load_state(config.out, saved, self.network, self.optimizer, self.mean)
            check_recipe(config, saved.recipe)
            self.facts |= as_numbers(saved)
            on_event(Note(f"resumed at step {self.facts['step']}"))
        self.began: float = time.monotonic() - self.facts["seconds"]
        self.stage = make_stage(config, self.network, workers)
        #: the fixed points that later steps go on from
        self.alive = self.stage.states if isinstance(self.stage, EquilibriumStage) else {}
        if workers.count == 1 and isinstance(self.stage, EquilibriumStage):
            # Several processes start the batches that were alive anew.
            if not self.stage.goes_on_from(states, self.facts["step"]):
                raise unfit_states(config.out)
            self.alive |= {k: v.to(workers.device) for k, v in states.items()}
        self.shared = workers.wrap(self.stage)
        self.validate = make_validation(config, self.network)
        self.log: TrainingLog | None = None
        if workers.rank == 0:
            step = self.facts["step"]
            self.log = TrainingLog(config.out, step=step, tensorboard=config.tensorboard)
            if self.log.damaged:
                on_event(Note(f"{self.log.damaged} damaged lines of {LOG} were taken out"))

    def run(self) -> TrainResult:
        try:
            self._steps()
        finally:
            if self.log is not None:
                self.log.close()
        return TrainResult(self.config.out, self.facts["step"], self.facts["best"])

    def _steps(self) -> None:
        config, facts = self.config, self.facts
        with deferred_interrupt() as interrupted:
            while True:
                step, progress = facts["step"], self._progress()
                over = progress >= 1 and step > 0
                due = step % config.validate_every == 0 or over
                if due and facts["validated"] < step:
                    if self.workers.rank == 0:
                        self._look()
                    self.workers.wait()
                if over:
                    break
                seen = self._step(progress)
                steps = config.steps
                if config.minutes and progress:
                    steps = max(step + 1, round((step + 1) / progress))
                try:
                    self.on_event(Stepped(step + 1, steps, seen.pop("loss"), seen))
                    interrupted(self.workers.any)
                except KeyboardInterrupt:
                    self._keep()
                    raise

    def _progress(self) -> float:
        """Share of the run that is done; the same for all processes."""
        if not self.config.minutes:
            return float(self.facts["step"] / self.config.steps)
        share = self._seconds() / (60 * self.config.minutes)
        return self.workers.mean({"progress": share})["progress"]

    def _step(self, progress: float) -> dict[str, float]:
        """One step of the optimiser, or none where it would do harm; what was seen in it."""
        config, facts, step = self.config, self.facts, self.facts["step"]
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(config, step, progress)
        if isinstance(self.stage, EquilibriumStage):
            self.stage.progress = progress
        self.optimizer.zero_grad()
        loss, told = self.shared(step)
        seen = self.workers.mean({"loss": loss.item()} | told)
        lost = seen.get("residual", 0.0) > config.stability.max_residual
        sound = math.isfinite(seen["loss"]) and not lost
        if sound:
            loss.backward()
            norm = nn.utils.clip_grad_norm_(self.network.parameters(), config.clip_gradient).item()
            sound = math.isfinite(norm)
            late = {name: value for name, value in told.items() if name not in seen}
            seen |= self.workers.mean(late)  # what the backward pass has told
        if sound:
            self.optimizer.step()
            if self.mean is not None:
                self.mean.update_parameters(self.network)
            facts["in_a_row"] = 0
            for name, value in seen.items():
                total, count = facts["sums"].get(name, (0.0, 0))
                facts["sums"][name] = (total + value, count + 1)
        else:
            facts["skipped"] += 1
            facts["in_a_row"] += 1
            if facts["in_a_row"] >= _PATIENCE:
                raise DeqsciError(
                    f"{_PATIENCE} steps in a row could not be taken, up to step {step + 1}",
                    path=config.out,
                    hint="the last validated state is kept; begin anew at a lower learning rate, "
                    "or with a Jacobian penalty",
                )
        facts["step"] = step + 1
        if self.log is not None and sound:
            self.log.plot(step + 1, {f"train/{k}": v for k, v in seen.items()})
        return seen

    def _look(self) -> None:
        """Validate, keep the model if it is the best, log, save the state."""
        config, facts = self.config, self.facts
        model = self._model()
        figures = self.validate(model)
        best = not facts["best"] or _rank(figures) >= _rank(facts["best"])
        if best:
            facts["best"] = figures
            card = make_card(config, self.architecture, self.options, facts, self._seconds())
            zoo.save_model(config.out, model, card, overwrite=True)
        means = {f"train/{name}": total / n for name, (total, n) in facts["sums"].items()}
        assert self.log is not None
        self.log.write(facts["step"], figures | means | {"skipped": facts["skipped"]})
        facts |= {"validated": facts["step"], "sums": {}}
        self._keep()
        self.on_event(Validated(facts["step"], figures, best))

    def _model(self) -> Denoiser:
        """The network, or its mean, or one between that and where it began."""
        network: Denoiser = self.network if self.mean is None else self.mean.module  # type: ignore[assignment]
        if not self.first_weights:
            return network
        model = copy.deepcopy(network)
        trained = model.state_dict()
        model.load_state_dict(
            {
                name: torch.lerp(w, trained[name], self.config.weight_interpolation)
                for name, w in self.first_weights.items()
            }
        )
        return model

    def _keep(self) -> None:
        if self.workers.rank == 0:
            self.facts["seconds"] = self._seconds()
            # Of several processes this one has its share of each batch alone.
            whole = self.workers.count == 1 and self.config.save_fixed_points
            alive = self.alive if whole else {}
            if self.log is not None:
                self.log.begin()
            save_state(self.config.out, self.network, self.optimizer, self.mean, self.facts, alive)

    def _seconds(self) -> float:
        return time.monotonic() - self.began


def _rank(figures: dict[str, float]) -> tuple[float, float]:
    """What makes a state the better one: that its fixed points are met, then PSNR."""
    return figures.get("converged", 1.0), figures["psnr"]
