"""The gradient of a fixed point, in memory that does not grow with the iterations.

At `x = f(x; w)` a loss `l(x)` has the gradient `(df/dw)^T g`, where `g = J^T g + dl/dx` and J is
the Jacobian of f in x: the adjoint equation, a fixed point too. The forms differ in how far they
solve it. Sources: Bai, Kolter & Koltun, arXiv 1909.01377 (exact); Fung et al., arXiv 2103.12803
(jfb); Geng et al., arXiv 2111.05177 (neumann, phantom).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from deqsci_cli.equilibrium.solvers import Map, Solution, anderson, norms, unit
from deqsci_cli.errors import UsageError

OnAdjoint = Callable[[Solution], None]

FORMS = "exact, jfb, neumann:K, phantom:K,RELAXATION or unrolled:K"


@dataclass(frozen=True)
class GradientForm:
    """How the adjoint equation is met.

    Attributes:
        name: `exact` (solved by Anderson to a tolerance), `jfb` (g = dl/dx), `neumann` (the first
            terms of its series), `phantom` (back-propagation through relaxed steps at the fixed
            point), or `unrolled` (through all steps from the start, for comparison).
        steps: terms of `neumann` beyond the first; steps of `phantom` and `unrolled`.
        relaxation: of the steps of `phantom`, in (0, 1].
    """

    name: str
    steps: int = 1
    relaxation: float = 1.0

    @classmethod
    def parse(cls, text: str) -> GradientForm:
        """Read `exact`, `jfb`, `neumann:5`, `phantom:3,0.8` or `unrolled:20`.

        Raises:
            UsageError: it is none of these.
        """
        name, colon, rest = text.strip().partition(":")
        words = rest.split(",") if colon else []
        most = {"exact": 0, "jfb": 0, "neumann": 1, "phantom": 2, "unrolled": 1}
        try:
            if len(words) > most[name] or (most[name] and not words):
                raise ValueError
            form = cls(name, *(convert(w) for convert, w in zip((int, float), words, strict=False)))
            if form.steps < 1 or not 0 < form.relaxation <= 1:
                raise ValueError
        except (KeyError, ValueError):
            raise UsageError(f"there is no gradient '{text}'", hint=FORMS) from None
        return form


class Linearised:
    """One evaluation of a map with its graph, for products with the transposed Jacobian.

    Args:
        f: the map.
        x: the point, `(B, …)`.
    """

    def __init__(self, f: Map, x: Tensor):
        with torch.enable_grad():
            self.point = x.detach().requires_grad_()
            self.value = f(self.point)

    def vjp(self, cotangent: Tensor, *, differentiable: bool = False) -> Tensor:
        """`J^T cotangent`; as often as one likes."""
        (product,) = torch.autograd.grad(
            self.value, self.point, cotangent, retain_graph=True, create_graph=differentiable
        )
        return product


class _Adjoint:
    """`g -> J^T g + cotangent`, for a solver.

    Args:
        f: the map.
        at: it, evaluated at its fixed point.
        cotangent: dl/dx there.
    """

    def __init__(self, f: Map, at: Linearised, cotangent: Tensor):
        self.f, self.point, self.cotangent = f, at.point, cotangent
        #: the evaluation that products are taken with, and the samples that it is of
        self.at, self.samples = at, torch.arange(len(cotangent))

    def __call__(self, g: Tensor) -> Tensor:
        return self.at.vjp(g) + self.cotangent

    def select(self, samples: Tensor) -> Map:
        """The same for those that go on; where half have left, from an evaluation of the rest.

        Its price is that of a product or two with them.
        """
        select = getattr(self.f, "select", None)
        if select is not None and 2 * len(samples) <= len(self.samples):
            self.at, self.samples = Linearised(select(samples), self.point[samples]), samples
        at, size, cotangent = self.at, len(self.samples), self.cotangent[samples]
        places = torch.searchsorted(self.samples, samples)

        def product(g: Tensor) -> Tensor:
            whole = g.new_zeros(size, *g.shape[1:])
            whole[places] = g
            return at.vjp(whole)[places] + cotangent

        return product


def differentiable(
    f: Map,
    at: Linearised,
    form: GradientForm,
    *,
    tol: float = 1e-2,
    max_iter: int = 20,
    on_adjoint: OnAdjoint | None = None,
) -> Tensor:
    """A fixed point as a tensor that can be differentiated in everything that f depends on.

    Args:
        f: the map.
        at: it, evaluated at the fixed point that a solver found; `exact`, `jfb` and `neumann`
            need no other evaluation.
        form: any but `unrolled`, which starts elsewhere (see `unroll`).
        tol: relative residual at which the adjoint equation of `exact` is met.
        max_iter: most products with the transposed Jacobian for it.
        on_adjoint: told of the adjoint's solution, when the gradient is taken.

    Returns:
        The map's value `(B, …)`; its backward pass solves the adjoint equation.
    """
    if form.name == "jfb":
        return at.value
    if form.name == "phantom":
        first = torch.lerp(at.point.detach(), at.value, form.relaxation)
        return unroll(f, first, form.steps - 1, form.relaxation)

    def adjoint(cotangent: Tensor) -> Tensor:
        if form.name == "neumann":
            term = total = cotangent
            for _ in range(form.steps):
                term = at.vjp(term)
                total = total + term
            return total
        with torch.no_grad():
            found = anderson(_Adjoint(f, at, cotangent), cotangent, tol=tol, max_iter=max_iter)
        if on_adjoint is not None:
            on_adjoint(found)
        return found.x

    # A view, so that the hook is not met by the products with the transposed Jacobian.
    value = at.value.view_as(at.value)
    value.register_hook(adjoint)
    return value


def unroll(f: Map, x: Tensor, steps: int, relaxation: float = 1.0) -> Tensor:
    """Plain iteration that keeps its whole graph."""
    for _ in range(steps):
        x = torch.lerp(x, f(x), relaxation)
    return x


def jacobian_penalty(at: Linearised, probe: Tensor) -> Tensor:
    """Hutchinson's estimate of `||J||_F^2 / n` from one probe, differentiable, `(B,)`.

    Source: Bai, Koltun & Kolter, arXiv 2106.14342.

    Args:
        at: the map at a fixed point of n numbers a sample.
        probe: independent entries of mean 0 and variance 1, shaped like the state.
    """
    return at.vjp(probe, differentiable=True).square().flatten(1).mean(1)


def spectral_radius_estimate(at: Linearised, probe: Tensor, *, steps: int = 6) -> Tensor:
    """How much the map's dominant mode grows in one evaluation, differentiable, `(B,)`.

    A power iteration on the transposed Jacobian; only its last step is differentiated. Unlike the
    Frobenius norm, a penalty on it leaves all other modes alone.

    Args:
        at: the map at a fixed point.
        probe: where the iteration starts, shaped like the state.
        steps: products with the transposed Jacobian before the last.
    """
    mode, _ = unit(probe)
    for _ in range(steps):
        mode, _ = unit(at.vjp(mode))
    return norms(at.vjp(mode, differentiable=True))
