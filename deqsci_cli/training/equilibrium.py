"""The stage `equilibrium`: a network learns through the fixed point of its own map."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from deqsci_cli.equilibrium.gradients import (
    GradientForm,
    Linearised,
    differentiable,
    jacobian_penalty,
    spectral_radius_estimate,
    unroll,
)
from deqsci_cli.equilibrium.maps import GAPMap
from deqsci_cli.equilibrium.model import iterate, make_map, start_state
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.equilibrium.solvers import Map, Solution, norms
from deqsci_cli.errors import UsageError
from deqsci_cli.networks.denoiser import Denoiser
from deqsci_cli.networks.options import WHOLE
from deqsci_cli.report.metrics import psnr_of
from deqsci_cli.training.ahead import Ahead, StepSampler

# The mean square error of 45 dB: what lies below counts little. With the logarithm alone, whose
# slope grows without end, empty skies at 50 dB and more had 99 % of the gradient's square.
_NEGLIGIBLE = 3e-5


@dataclass(frozen=True)
class GradientSettings:
    """How the fixed point is differentiated.

    Attributes:
        form: `exact`, `jfb`, `neumann:K`, `phantom:K,RELAXATION`, or `unrolled:K`, which takes K
            plain steps instead of solving and is there for comparison.
        tol: relative residual at which the adjoint equation of `exact` is met.
        max_iter: most products with the transposed Jacobian for it.
    """

    form: str = "jfb"
    tol: float = 1e-2
    max_iter: int = 12

    def __post_init__(self) -> None:
        GradientForm.parse(self.form)
        if not self.tol > 0 or self.max_iter < 1:
            raise UsageError("the adjoint's tolerance must be above 0, its iterations at least 1")


@dataclass(frozen=True)
class StabilitySettings:
    """What keeps a training at equilibrium, and cheap.

    Attributes:
        max_iter: evaluations of a step before the one that is differentiated.
        first_max_iter: the same at the start of the run, rising evenly to `max_iter` over its
            first half; 0 for `max_iter` from the start.
        reuse_steps: in how many steps a batch is used. Each step goes on from the states that the
            last one left, so that the fixed point is followed while the weights move, and the
            loss is taken near the start and far from it. As many batches are alive, at different
            ages.
        jacobian: weight of the penalty on `||J||_F^2 / n`; 0 for none. Both penalties are taken
            when a batch is used for the last time, where the fixed point is nearest.
        spectral_penalty: weight of the penalty on the spectral radius of J, as far as it exceeds
            `spectral_target`; 0 for none.
        spectral_target: see `spectral_penalty`.
        power_iteration_start: where the power iteration for that radius starts: `residual`, the
            direction of the last evaluation, in which the slow modes are left, or `random`, from
            where six products with J find far less of them.
        n_correction_losses: number of iterates on the way to the fixed point that have a loss of
            their own. Their weights rise towards it by a factor of 1 / 0.8.
        max_residual: a step whose mean forward residual exceeds this is not taken.
        random_start_prob: share of the captures that are solved from the adjoint, the average frame
            or noise, each as likely, and not from the model's own start. A model that never saw
            such starts has further fixed points around them.
    """

    max_iter: int = 5
    first_max_iter: int = 0
    reuse_steps: int = 4
    jacobian: float = 0.0
    spectral_penalty: float = 1.0
    spectral_target: float = 0.95
    power_iteration_start: str = "residual"
    n_correction_losses: int = 0
    max_residual: float = 0.1
    random_start_prob: float = 0.0

    def __post_init__(self) -> None:
        if self.max_iter < 1 or self.reuse_steps < 1:
            raise UsageError("max_iter and reuse_steps must be at least 1")
        for name in (
            "first_max_iter",
            "jacobian",
            "spectral_penalty",
            "spectral_target",
            "n_correction_losses",
        ):
            if not 0 <= getattr(self, name) < math.inf:
                raise UsageError(f"{name} must not be negative, nor infinite")
        if self.n_correction_losses > self.max_iter:
            raise UsageError("n_correction_losses must be at most max_iter")
        if self.power_iteration_start not in ("residual", "random"):
            raise UsageError("power_iteration_start must be residual or random")
        if not self.max_residual > 0:
            raise UsageError("max_residual must be above 0")
        if not 0 <= self.random_start_prob <= 1:
            raise UsageError("random_start_prob is a share between 0 and 1")


class _Remembering:
    """A map that keeps some of its values; the solver asks it for the whole batch each time."""

    def __init__(self, f: Map, evaluations: Sequence[int]):
        self.f = f
        self.evaluations = set(evaluations)
        self.count = 0
        self.kept: list[Tensor] = []

    def __call__(self, x: Tensor) -> Tensor:
        value = self.f(x)
        self.count += 1
        if self.count in self.evaluations:
            self.kept.append(value)
        return value


class CaptureStage(nn.Module):
    """What learns from captures: `stage(step) -> (loss, facts)`.

    Args:
        network: the denoiser.
        sample: draws the captures of a step.
        solve: the map, where it starts, and how its fixed point is found.
    """

    def __init__(self, network: Denoiser, sample: StepSampler, solve: EquilibriumSettings):
        super().__init__()
        self.network = network
        self.sample = sample
        self.ahead = Ahead(sample)
        self.solve = solve

    def film(self, step: int) -> tuple[GAPMap, Tensor]:
        """The network's map of the captures that a step draws, and their true video."""
        batch = self.ahead(step).to(next(self.network.parameters()).device)
        # One symmetry stands for all: the pieces of clips come turned and mirrored at random.
        alone = replace(self.solve, symmetries=1, tile=WHOLE)
        return make_map(self.network, batch.operator, batch.measurement, alone), batch.video


class EquilibriumStage(CaptureStage):
    """The loss of captures at the network's fixed point.

    It is minus a tenth of their mean PSNR, up to some 45 dB: with a plain square or absolute error
    the easy scenes would be lost beside the difficult ones, and the network would learn to smooth.

    Args:
        network: the denoiser.
        sample: draws the captures of a step.
        solve: how the fixed point is found.
        gradient: how it is differentiated.
        stability: what is added.
    """

    def __init__(
        self,
        network: Denoiser,
        sample: StepSampler,
        solve: EquilibriumSettings,
        gradient: GradientSettings,
        stability: StabilitySettings,
    ):
        super().__init__(network, sample, solve)
        #: share of the run that is done
        self.progress = 0.0
        self.gradient = gradient
        self.form = GradientForm.parse(gradient.form)
        self.stability = stability
        #: the states in which the last use left each batch that is alive, by the step that drew it
        self.states: dict[int, Tensor] = {}
        #: their maps and true videos, which a resumed run makes anew
        self.films: dict[int, tuple[GAPMap, Tensor]] = {}

    def forward(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """The mean loss of a step, and what was seen on the way; the backward pass adds to it."""
        drawn = self._drawn_at(step)
        kept = self.films.pop(drawn, None)
        f, truth = self.film(drawn) if kept is None else kept
        following = self._drawn_at(step + 1)
        if following != drawn and following not in self.films:
            self.ahead.prepare(following)
        state = self.states.pop(drawn, None)
        if state is None:
            state = self._left_at(
                f, self.start(f, drawn), (step - drawn) // self.stability.reuse_steps
            )
        facts: dict[str, float] = {}
        at, fixed, on_the_way = self._settle(f, state, step, facts)
        errors = self.errors(f, f.video(fixed), truth)
        loss = log_loss(errors)
        facts["psnr"] = mean_psnr_of(errors.detach())
        for back, value in enumerate(reversed(on_the_way), start=1):
            loss = loss + 0.8**back * log_loss(self.errors(f, f.video(f(value.detach())), truth))
        if self._drawn_at(step + self.stability.reuse_steps) == drawn:
            # A state that ran away is not kept: the batch is solved for anew.
            if bool(at.point.isfinite().all()):
                self.states[drawn] = at.point.detach()
                self.films[drawn] = f, truth
        else:
            loss = loss + self._penalty(at, step, facts)
        return loss, facts

    def errors(self, f: GAPMap, video: Tensor, truth: Tensor) -> Tensor:
        """The mean square error of each sample, `(B,)`, whose logarithm is the loss."""
        return _errors(video, truth)

    def goes_on_from(self, states: Mapping[int, Tensor], step: int) -> bool:
        """Whether these can be the states of the batches that are alive at a step."""
        alive = (
            {self._drawn_at(step + n) for n in range(self.stability.reuse_steps)}
            if states
            else set()
        )
        for drawn, state in states.items():
            if drawn not in alive:
                return False
            f, video = self.film(drawn)
            if f.start(video).shape != state.shape:
                return False
        return True

    def start(self, f: GAPMap, step: int) -> Tensor:
        """Where the map of the captures that a step draws is iterated from."""
        state, share = start_state(f, self.solve).clone(), self.stability.random_start_prob
        if not share:
            return state
        noise = 0.5 + 0.3 * self.sample.probe(step, f.video(state).shape).to(state)
        settings = (replace(self.solve, start=name) for name in ("adjoint", "average"))
        others = [*(start_state(f, other) for other in settings), f.start(noise)]
        for i, drawn in enumerate(self.sample.uniform(step).tolist()):
            if drawn < share:
                state[i] = others[int(drawn / share * len(others))][i]
        return state

    def _left_at(self, f: GAPMap, state: Tensor, uses: int) -> Tensor:
        """Where so many uses would have left a state, with the present weights."""
        if not uses:
            return state
        with torch.no_grad():
            if self.form.name == "unrolled":
                return unroll(f, state, uses * self.form.steps)
            return iterate(f, state, replace(self.solve, max_iter=uses * self._max_iter())).x

    def _settle(
        self, f: GAPMap, state: Tensor, step: int, facts: dict[str, float]
    ) -> tuple[Linearised, Tensor, list[Tensor]]:
        """The map at its fixed point, that point with its gradient, corrected iterates."""
        if self.form.name == "unrolled":
            fixed = unroll(f, state, self.form.steps)
            at = Linearised(f, fixed)
            moved = norms(at.value.detach() - at.point.detach()) / norms(at.value.detach())
            facts |= {"residual": float(moved.mean()), "evaluations": float(self.form.steps)}
            return at, fixed, []
        limit = self._max_iter()
        settings = replace(self.solve, max_iter=limit)
        with torch.no_grad():
            walked = _Remembering(f, self._stops(limit))
            found = iterate(walked if walked.evaluations else f, state, settings)

        def note_adjoint(adjoint: Solution) -> None:
            facts["adjoint_residual"] = float(np.mean(adjoint.residual))

        at = Linearised(f, found.x)
        gradient = self.gradient
        fixed = differentiable(
            f,
            at,
            self.form,
            tol=gradient.tol,
            max_iter=gradient.max_iter,
            on_adjoint=note_adjoint,
        )
        facts["residual"] = float(np.mean(found.residual))
        facts["evaluations"] = float(np.mean(found.evaluations))
        return at, fixed, walked.kept

    def _penalty(self, at: Linearised, step: int, facts: dict[str, float]) -> Tensor:
        """What keeps the Jacobian small, differentiable; what was seen goes into `facts`."""
        stability, total = self.stability, at.value.new_zeros(())
        if not (stability.jacobian or stability.spectral_penalty):
            return total

        def probe() -> Tensor:
            return self.sample.probe(step, at.value.shape).to(at.value)

        if stability.jacobian:
            size = jacobian_penalty(at, probe()).mean()
            total = total + stability.jacobian * size
            facts["jacobian"] = float(size.detach())
        if stability.spectral_penalty:
            moving = stability.power_iteration_start == "residual"
            first = (at.value - at.point).detach() if moving else probe()
            radius = spectral_radius_estimate(at, first)
            excess = (radius - stability.spectral_target).relu().mean()
            total = total + stability.spectral_penalty * excess
            facts["spectral_radius"] = float(radius.detach().mean())
        return total

    def _drawn_at(self, step: int) -> int:
        """The step that drew the batch of a step: every `reuse_steps` steps one is drawn anew."""
        round_ = self.stability.reuse_steps
        place, turn = step % round_, step // round_
        age = (turn - place) % round_
        return max(place, step - age * round_)

    def _stops(self, limit: int) -> list[int]:
        count = self.stability.n_correction_losses
        return [limit * (i + 1) // (count + 1) for i in range(count)]

    def _max_iter(self) -> int:
        last = self.stability.max_iter
        first = self.stability.first_max_iter or last
        return round(first + (last - first) * min(1.0, 2 * self.progress))


def log_loss(errors: Tensor) -> Tensor:
    """The mean over the batch of log10 of mean square errors `(B,)`, as far as they count."""
    return (errors + _NEGLIGIBLE).log10().mean()


def mean_psnr(video: Tensor, truth: Tensor) -> float:
    """The mean over the batch, dB."""
    return mean_psnr_of(_errors(video, truth))


def mean_psnr_of(errors: Tensor) -> float:
    """The same of mean square errors `(B,)`."""
    return float(np.mean([psnr_of(error) for error in errors.clamp(min=1e-10).tolist()]))


def _errors(video: Tensor, truth: Tensor) -> Tensor:
    return (video - truth).square().flatten(1).mean(1)
