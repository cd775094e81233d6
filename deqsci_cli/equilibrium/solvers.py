"""Fixed-point solvers: they know of a batch and a callable, and of nothing else.

A map takes a batch `(B, …)` and gives a batch of the same shape; its samples do not touch each
other. If it has a method `select(samples)`, which gives the map of some samples alone, converged
samples leave the batch and cost nothing more.

Sums are taken in an order that depends on a sample's size alone, so that on a CPU an answer has the
same bytes whatever else is in the batch, and however many threads compute it.

What is decided is decided on the host: a GPU is waited for twice an evaluation, for the lengths of
its samples and for their products with the history.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from deqsci_cli.equilibrium.registries import SOLVERS

Map = Callable[[Tensor], Tensor]
Status = Literal["converged", "max_iter", "diverged"]
OnIteration = Callable[[int, Tensor, Tensor], None]

# A state this many times larger than where it started is on its way to infinity.
_GROWTH = 1e3

# So many plain steps bring a map that contracts near its fixed point, or nothing does.
_PLAIN_STEPS = 10

# The square of a residual that is not there: its weight in a mixture vanishes.
_ABSENT = 1e300

# Numbers that are added up at once; PyTorch gives far longer sums to several threads.
_BLOCK = 4096
# Blocks of large states that are treated together, so that what is between takes little memory.
_PIECE = 1024 * _BLOCK


@dataclass(frozen=True, eq=False)
class Solution:
    """What a solver found, for every sample of the batch.

    Attributes:
        x: `(B, …)`, f(x) of the best finite iterate x, the one of the smallest residual.
        residual: of that iterate; infinite where none was finite.
        residual_trace: `||f(x) - x|| / ||f(x)||` of every evaluation.
        evaluations: of the map.
        status: `converged` (the last residual met the tolerance), `max_iter`, or `diverged`
            (a value that is not finite, or a state grown a thousandfold).
    """

    x: Tensor
    residual: list[float]
    residual_trace: list[list[float]]
    evaluations: list[int]
    status: list[Status]


def norms(x: Tensor) -> Tensor:
    """Euclidean norm of every sample, `(B,)`, summed in float32 at least."""
    wide = x.flatten(1).to(torch.promote_types(x.dtype, torch.float32))
    return _products(wide, wide).sqrt()


def _products(x: Tensor, y: Tensor) -> Tensor:
    """The inner product of every row of `(B, n)`, summed by blocks, each by one thread."""
    whole = x.shape[1] // _BLOCK * _BLOCK
    pairs = zip(x[:, :whole].split(_PIECE, 1), y[:, :whole].split(_PIECE, 1), strict=True)
    blocks = torch.cat([(a * b).unflatten(1, (-1, _BLOCK)).sum(2) for a, b in pairs], 1)
    return blocks.sum(1) + (x[:, whole:] * y[:, whole:]).sum(1)


def unit(x: Tensor) -> tuple[Tensor, Tensor]:
    """Samples `(B, …)` at length 1, and their lengths `(B,)`; what has no length stays zero."""
    lengths = norms(x)
    divisor = lengths.clamp(min=1e-30).to(x.dtype).view(-1, *[1] * (x.ndim - 1))
    return x / divisor, lengths


class _BatchState:
    """The book-keeping that every solver shares: who is active, the best iterates, the traces."""

    def __init__(self, f: Map, x0: Tensor, tol: float, on_iteration: OnIteration | None):
        self.full_map = f
        self.f = f
        self.tol = tol
        self.on_iteration = on_iteration
        self.active = torch.arange(x0.shape[0])
        self.best = x0.clone()
        self.scale = norms(x0).cpu()
        self.best_residual = torch.full_like(self.scale, torch.inf)
        self.residual_trace: list[list[float]] = [[] for _ in range(x0.shape[0])]
        self.status: list[Status] = ["max_iter"] * x0.shape[0]
        self.count = 0

    def evaluate(self, x: Tensor, change: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """f(x) of the active samples, and which of them (booleans, on the host) go on.

        Args:
            x: where.
            change: takes f(x) - x.
        """
        fx = self.f(x)
        change = torch.sub(fx, x, out=change)
        self.count += 1
        moved, size = torch.stack((norms(change), norms(fx))).cpu()
        residual = moved / size.clamp(min=1e-30)
        if self.count == 1:
            self.scale = torch.maximum(self.scale, size)
        limit = _GROWTH * self.scale[self.active]
        finite = torch.isfinite(residual) & torch.isfinite(size)
        sound = finite & (size <= limit)
        better = sound & (residual < self.best_residual[self.active])
        winners = self.active[better]
        for place, sample in zip(better.nonzero()[:, 0].tolist(), winners.tolist(), strict=True):
            self.best[sample].copy_(fx[place])  # without a copy between
        self.best_residual[winners] = residual[better]
        done = sound & (residual <= self.tol)
        samples = zip(
            self.active.tolist(), residual.tolist(), finite.tolist(), sound.tolist(),
            done.tolist(), strict=True,
        )  # fmt: skip
        for sample, value, is_finite, is_sound, is_done in samples:
            self.residual_trace[sample].append(value if is_finite else float("inf"))
            if is_done:
                self.status[sample] = "converged"
            elif not is_sound:
                self.status[sample] = "diverged"
        if self.on_iteration is not None:
            self.on_iteration(self.count, self.best_residual, self.best)
        return fx, sound & ~done

    def narrow(self, going: Tensor) -> None:
        """Keep only the samples that go on."""
        self.active = self.active[going]
        if self.active.numel():
            select = getattr(self.full_map, "select", None)
            self.f = select(self.active) if select else self._whole_batch

    def _whole_batch(self, x: Tensor) -> Tensor:
        """The active samples of a map that can only be asked for the whole batch."""
        batch = self.best.clone()
        batch[self.active] = x
        return self.full_map(batch)[self.active]

    def solution(self) -> Solution:
        evaluations = [len(trace) for trace in self.residual_trace]
        residual = self.best_residual.tolist()
        return Solution(self.best, residual, self.residual_trace, evaluations, self.status)


def _check_start(x0: Tensor) -> None:
    if not torch.isfinite(x0).all():
        raise ValueError("the start of a fixed-point iteration must be finite")


@SOLVERS.register("picard")
def picard(
    f: Map,
    x0: Tensor,
    *,
    tol: float,
    max_iter: int,
    relaxation: float = 1.0,
    on_iteration: OnIteration | None = None,
) -> Solution:
    """Plain iteration, `x <- x + relaxation * (f(x) - x)`.

    Args:
        f: the map.
        x0: the start, `(B, …)`, finite.
        tol: relative residual at which a sample is done.
        max_iter: most evaluations of a sample.
        relaxation: in (0, 1]; less than 1 tames eigenvalues below -1.
        on_iteration: told the number of evaluations, the best residuals `(B,)` and what
            would be the answer by now, `(B, …)`.
    """
    _check_start(x0)
    run = _BatchState(f, x0, tol, on_iteration)
    x = x0
    while run.active.numel() and run.count < max_iter:
        fx, going = run.evaluate(x)
        x = fx if relaxation == 1.0 else torch.lerp(x, fx, relaxation)
        if not bool(going.all()):
            run.narrow(going)
            x = x[going]
    return run.solution()


@SOLVERS.register("anderson")
def anderson(
    f: Map,
    x0: Tensor,
    *,
    tol: float,
    max_iter: int,
    memory: int = 5,
    relaxation: float = 1.0,
    anderson_start_tol: float = 0.0,
    regularisation: float = 1e-8,
    absolute_regularisation: float = 0.0,
    on_iteration: OnIteration | None = None,
) -> Solution:
    """Anderson acceleration, type II: mix the last iterates so that their residuals cancel.

    The weights minimise `||sum_i a_i g_i||` over `sum_i a_i = 1`, g being the residuals. Their
    Gram matrix is kept from step to step (one product of the newest residual with the history
    an iteration), scaled to a unit diagonal, and its eigenvalues are held above
    `regularisation` times the largest: dependent or vanishing residuals cannot break it.

    A mixture presumes that the map is nearly affine where the iterates lie. Far from the fixed
    point a network is not, and may be led to where it does not come back from, though it
    contracts: hence `anderson_start_tol`.
    Source: Walker & Ni, SIAM J. Numer. Anal. 49 (2011) 1715.

    Args:
        f: the map.
        x0: the start, `(B, …)`, finite.
        tol: relative residual at which a sample is done.
        max_iter: most evaluations of a sample.
        memory: how many iterates are mixed.
        relaxation: share of the residual in the step, in (0, 1].
        anderson_start_tol: a sample takes plain steps until its residual is below this, but ten at
            most; 0 to mix from the start.
        regularisation: relative floor of the scaled Gram matrix's eigenvalues.
        absolute_regularisation: added to the unscaled Gram matrix's diagonal; the published
            code has 1e-2, at which small residuals stall.
        on_iteration: told the number of evaluations, the best residuals `(B,)` and what
            would be the answer by now, `(B, …)`.
    """
    _check_start(x0)
    run = _BatchState(f, x0, tol, on_iteration)
    shape, n = x0.shape[1:], x0[0].numel()
    # The ring buffer: iterates and residuals, and the residuals' Gram matrix. It stays where it is:
    # large tensors that come and go would leave gaps in the memory.
    history = x0.new_empty(memory, len(x0), n)
    residuals = x0.new_empty(memory, len(x0), n)
    gram = _no_history(len(x0), memory)
    history[0] = x0.flatten(1)
    while run.active.numel() and run.count < max_iter:
        slot, held = run.count % memory, min(run.count + 1, memory)
        x, change = (each[slot].unflatten(1, shape) for each in (history, residuals))
        _, going = run.evaluate(x, change)
        if anderson_start_tol and run.count <= _PLAIN_STEPS:
            last = torch.tensor([run.residual_trace[sample][-1] for sample in run.active.tolist()])
            gram[last > anderson_start_tol] = _no_history(1, memory)
        if not bool(going.all()):
            run.narrow(going)
            history, residuals, gram = history[:, going], residuals[:, going], gram[going]
        if not run.active.numel():
            break
        rows = [_products(residuals[slot], residuals[i]) for i in range(held)]
        row = torch.stack(rows, 1).double().cpu()
        gram[:, slot, :held] = row
        gram[:, :held, slot] = row
        weights = _weights(gram[:, :held, :held], regularisation, absolute_regularisation).to(x0)
        after = history[run.count % memory]
        _mix(weights, history[:held], residuals[:held], relaxation, after)
    return run.solution()


def _mix(
    weights: Tensor, history: Tensor, residuals: Tensor, relaxation: float, after: Tensor
) -> None:
    """The mean of iterates `(k, B, n)`, moved on along their residuals, by weights `(B, k)`.

    Args:
        after: takes it, `(B, n)`; it may be one of the iterates.
    """
    for start in range(0, after.shape[1], _PIECE):
        part = slice(start, start + _PIECE)
        mixed = weights[:, :1] * (history[0, :, part] + relaxation * residuals[0, :, part])
        for i in range(1, len(history)):
            moved = history[i, :, part] + relaxation * residuals[i, :, part]
            mixed += weights[:, i : i + 1] * moved
        after[:, part] = mixed


def _no_history(samples: int, memory: int) -> Tensor:
    """The Gram matrices of residuals none of which is there, `(samples, memory, memory)`."""
    return _ABSENT * torch.eye(memory, dtype=torch.float64).repeat(samples, 1, 1)


def _weights(gram: Tensor, relative: float, absolute: float) -> Tensor:
    """Weights of sum 1 that minimise the quadratic form of a Gram matrix `(B, k, k)`."""
    diagonal = gram.diagonal(dim1=1, dim2=2)
    if absolute:
        gram = gram + absolute * torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
        diagonal = diagonal + absolute
    scale = diagonal.clamp(min=1e-300).rsqrt()
    values, vectors = torch.linalg.eigh(gram * scale.unsqueeze(1) * scale.unsqueeze(2))
    values = torch.maximum(values, relative * values[:, -1:]).clamp(min=1e-300)
    coefficients = (vectors.mT @ scale.unsqueeze(2)) / values.unsqueeze(2)
    weights: Tensor = scale * (vectors @ coefficients)[..., 0]
    return weights.div(weights.sum(1, keepdim=True))
