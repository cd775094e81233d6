"""The gradients of a fixed point, against finite differences, dense algebra and each other."""

from __future__ import annotations

import functools
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from deqsci_cli.equilibrium.gradients import (
    FORMS,
    GradientForm,
    Linearised,
    differentiable,
    jacobian_penalty,
    unroll,
)
from deqsci_cli.equilibrium.maps import GAPMap
from deqsci_cli.equilibrium.solvers import Map, Solution, anderson
from deqsci_cli.errors import UsageError
from deqsci_cli.networks.denoiser import FrameDenoiser
from deqsci_cli.physics.sensing import SensingOperator

F64 = torch.float64
VIDEO, HIDDEN = (3, 6, 4), (2, 3, 2)

every_problem = pytest.mark.parametrize(
    "name", ["gap", "accelerated-gap", "relaxed-gap", "with-memory"]
)
every_form = pytest.mark.parametrize("form", ["exact", "jfb", "neumann:2", "phantom:2,0.5"])


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Smooth(FrameDenoiser):
    """`x - 0.3 conv(tanh(conv(x)))`: contracts at gain 1; at 1.7 it overshoots."""

    def __init__(self, gain: float = 1.0, dtype: torch.dtype = F64):
        super().__init__()
        rng = generator(0)
        self.inner = nn.Conv2d(1, 2, 3, padding=1)
        self.outer = nn.Conv2d(2, 1, 3, padding=1)
        kernel = 0.2 * torch.randn(2, 1, 3, 3, generator=rng)
        kernel[..., 1, 1] += 1
        change = 0.1 * torch.randn(1, 2, 3, 3, generator=rng)
        self.inner.weight.data = gain * kernel
        self.outer.weight.data = gain * (kernel.flip(2, 3).transpose(0, 1) + change)
        for layer in (self.inner, self.outer):
            layer.bias.data = 0.1 * torch.randn(layer.bias.shape, generator=rng)
        self.to(dtype)

    def denoise(self, frames: Tensor, sigma: Tensor) -> Tensor:
        return frames - 0.3 * self.outer(torch.tanh(self.inner(frames)))


class InHalfPrecision(Smooth):
    def denoise(self, frames: Tensor, sigma: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return super().denoise(frames, sigma).to(frames.dtype)


class WithMemory(nn.Module):
    """A video and a hidden state of another shape that drive each other, flat behind each other."""

    def __init__(self, gap: GAPMap):
        super().__init__()
        self.gap, self.denoiser = gap, gap.denoiser
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.read = nn.Conv2d(3, 2, 2, stride=2, dtype=F64)
            self.keep = nn.Conv2d(2, 2, 1, dtype=F64)
            self.write = nn.ConvTranspose2d(2, 3, 2, stride=2, dtype=F64)

    def start(self, video: Tensor) -> Tensor:
        return torch.cat((video.flatten(1), video.new_zeros(len(video), *HIDDEN).flatten(1)), 1)

    def video(self, state: Tensor) -> Tensor:
        return state[:, : np.prod(VIDEO)].unflatten(1, VIDEO)

    def forward(self, state: Tensor) -> Tensor:
        video, hidden = self.video(state), state[:, np.prod(VIDEO) :].unflatten(1, HIDDEN)
        after = torch.tanh(self.read(video) + self.keep(hidden))
        video = self.gap(video + 0.3 * self.write(hidden))
        return torch.cat((video.flatten(1), after.flatten(1)), dim=1)


class Problem:
    """A map of two captures with different grey masks, its fixed point, a loss and what to vary."""

    def __init__(
        self, name: str, network: FrameDenoiser, samples: list[int], *, tol: float = 1e-13
    ):
        rng, dtype = generator(1), next(network.parameters()).dtype
        mask, scene, weights = (
            torch.rand(2, *VIDEO, generator=rng, dtype=F64).to(dtype) for _ in range(3)
        )
        mask[:, :, 2, 1] = 0  # a closed pixel
        operator = SensingOperator(mask[samples])
        self.measurement = operator.A(scene[samples]).requires_grad_()
        self.weights = weights[samples]
        r = {"accelerated-gap": 0.0, "relaxed-gap": 0.3}.get(name, 1.0)
        f = GAPMap(operator, self.measurement, network, 0.1, r)
        self.f = WithMemory(f).to(dtype) if name == "with-memory" else f
        module = self.f if isinstance(self.f, nn.Module) else network
        self.parameters = list(module.parameters())
        self.leaves = [*self.parameters, self.measurement]
        with torch.no_grad():
            self.start = self.f.start(operator.normalized_measurement(self.measurement))
            self.x = self.solve(self.start, tol)

    def solve(self, start: Tensor, tol: float = 1e-13) -> Tensor:
        found = anderson(self.f, start, tol=tol, max_iter=400, memory=15)
        assert set(found.status) == {"converged"}
        return found.x

    def losses(self, state: Tensor) -> Tensor:
        video = self.f.video(state)
        return (self.weights * video + 0.5 * video.square()).flatten(1).sum(1)

    def loss(self, state: Tensor) -> Tensor:
        return self.losses(state).sum()

    def gradients(
        self,
        form: str,
        *,
        loss: Callable[[Tensor], Tensor] | None = None,
        tol: float = 1e-12,
        max_iter: int = 400,
        on_adjoint: Callable[[Solution], None] | None = None,
    ) -> list[Tensor]:
        """What `differentiable` says: one tensor a leaf, the measurement's last."""
        fixed = differentiable(
            self.f,
            Linearised(self.f, self.x),
            GradientForm.parse(form),
            tol=tol,
            max_iter=max_iter,
            on_adjoint=on_adjoint,
        )
        return list(torch.autograd.grad((loss or self.loss)(fixed), self.leaves))


@functools.cache
def problem(name: str, *, gain: float = 1.0, samples: tuple[int, ...] = (0, 1)) -> Problem:
    return Problem(name, Smooth(gain), list(samples))


class Dense:
    """The same problem written out: `J = df/dx`, `P = df/dleaves` and `v = dl/dx`."""

    def __init__(self, p: Problem):
        n = p.x.numel()
        self.J = torch.autograd.functional.jacobian(p.f, p.x).reshape(n, n).detach()
        value = p.f(p.x)
        rows = [torch.autograd.grad(e, p.leaves, retain_graph=True) for e in value.flatten()]
        self.P = torch.stack([flat(row) for row in rows])
        x = p.x.clone().requires_grad_()
        (v,) = torch.autograd.grad(p.loss(x), x)
        self.v = v.flatten()

    def gradient(self, adjoint: Tensor) -> Tensor:
        return self.P.mT @ adjoint

    def series(self, matrix: Tensor, terms: int) -> Tensor:
        """`v + M v + ... + M^(terms - 1) v`."""
        total = term = self.v
        for _ in range(terms - 1):
            term = matrix @ term
            total = total + term
        return total

    def exact(self) -> Tensor:
        # A closed pixel's accumulated measurement is an eigenvector of 1 that the video does not
        # see; the solution of least norm leaves it alone.
        system = torch.eye(len(self.v), dtype=F64) - self.J.mT
        found = torch.linalg.lstsq(system, self.v.unsqueeze(1), driver="gelsd").solution[:, 0]
        assert float((system @ found - self.v).abs().max()) < 1e-9
        return self.gradient(found)


@functools.cache
def dense(name: str, *, gain: float = 1.0) -> Dense:
    return Dense(problem(name, gain=gain))


def flat(tensors: list[Tensor] | tuple[Tensor, ...]) -> Tensor:
    return torch.cat([t.flatten() for t in tensors])


def off(found: Tensor, truth: Tensor) -> float:
    """Relative error; 1e-3 at most means a cosine above 1 - 1e-6 and a length off by 1e-3."""
    return float((found - truth).norm() / truth.norm())


def slopes(p: Problem, directions: Tensor, step: float) -> Tensor:
    """Central differences of the whole pipeline, solver and all."""
    origin = parameters_to_vector(p.leaves).detach().clone()

    def at(theta: Tensor) -> float:
        vector_to_parameters(theta, p.leaves)
        return float(p.loss(p.solve(p.x)))

    with torch.no_grad():
        try:
            rises = [at(origin + step * d) - at(origin - step * d) for d in directions]
        finally:
            vector_to_parameters(origin, p.leaves)
    return torch.tensor(rises, dtype=F64) / (2 * step)


@every_problem
def test_exact_is_the_slope_of_the_whole_pipeline(name):
    p = problem(name)
    sizes = [leaf.numel() for leaf in p.leaves]
    several = torch.randn(4, sum(sizes), generator=generator(2), dtype=F64)
    middles = np.cumsum([0, *sizes[:-1]]) + np.array(sizes) // 2
    single = torch.eye(sum(sizes), dtype=F64)[middles[[0, 1, 2, -1]]]
    directions = torch.cat((several, single))  # in all leaves at once, and in single entries
    expected = slopes(p, directions, 3e-5)
    predicted = directions @ flat(p.gradients("exact"))
    assert off(predicted[:4], expected[:4]) < 1e-6
    torch.testing.assert_close(predicted[4:], expected[4:], rtol=1e-5, atol=1e-7)
    # The test can tell: one step alone is far from it.
    assert off(directions @ flat(p.gradients("jfb")), expected) > 0.05


@every_problem
def test_exact_is_back_propagation_through_very_many_steps(name):
    p = problem(name)
    walked = unroll(p.f, p.start, 200)
    assert off(p.f.video(walked.detach()), p.f.video(p.x)) < 1e-9
    expected = torch.autograd.grad(p.loss(walked), p.leaves)
    for found, truth in zip(p.gradients("exact"), expected, strict=True):
        torch.testing.assert_close(found, truth, rtol=1e-6, atol=1e-8 * float(truth.abs().max()))


@every_problem
def test_exact_solves_the_dense_adjoint_system(name):
    assert off(flat(problem(name).gradients("exact")), dense(name).exact()) < 1e-9


@every_problem
def test_jfb_is_the_gradient_of_one_step(name):
    d = dense(name)
    assert off(flat(problem(name).gradients("jfb")), d.gradient(d.v)) < 1e-12


@every_problem
@pytest.mark.parametrize("steps", [1, 3])
def test_neumann_is_the_truncated_series(name, steps):
    d = dense(name)
    expected = d.gradient(d.series(d.J.mT, steps + 1))
    assert off(flat(problem(name).gradients(f"neumann:{steps}")), expected) < 1e-12


@every_problem
@pytest.mark.parametrize("relaxation", [1.0, 0.5])
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_phantom_is_the_relaxed_series(name, steps, relaxation):
    d = dense(name)
    eye = torch.eye(len(d.v), dtype=F64)
    expected = d.gradient(
        relaxation * d.series((1 - relaxation) * eye + relaxation * d.J.mT, steps)
    )
    assert off(flat(problem(name).gradients(f"phantom:{steps},{relaxation}")), expected) < 1e-10


@every_problem
@pytest.mark.parametrize(
    "forms",
    [
        ["neumann:1", "neumann:5", "neumann:20", "neumann:80"],
        ["phantom:1", "phantom:5", "phantom:20", "phantom:80"],
        ["phantom:1,0.5", "phantom:5,0.5", "phantom:20,0.5", "phantom:280,0.5"],
    ],
    ids=["neumann", "phantom", "relaxed phantom"],
)
def test_more_steps_tend_to_the_exact_gradient(name, forms):
    truth = dense(name).exact()
    errors = [off(flat(problem(name).gradients(form)), truth) for form in forms]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0.01
    assert errors[-1] < 1e-6


@every_problem
@pytest.mark.parametrize("steps", [1, 4])
def test_neumann_and_undamped_phantom_agree_at_a_fixed_point(name, steps):
    p = problem(name)
    series, steps_back = p.gradients(f"neumann:{steps}"), p.gradients(f"phantom:{steps + 1},1.0")
    assert off(flat(series), flat(steps_back)) < 1e-11


@every_problem
@every_form
def test_the_tensor_that_comes_back_is_the_fixed_point(name, form):
    p = problem(name)
    fixed = differentiable(p.f, Linearised(p.f, p.x), GradientForm.parse(form))
    torch.testing.assert_close(fixed.detach(), p.x, rtol=0, atol=1e-11)
    assert fixed.requires_grad


def test_a_cotangent_without_strides_is_as_good():
    p, d = problem("gap"), dense("gap")
    found = p.gradients("exact", loss=torch.sum)
    ones = torch.ones_like(d.v)
    expected = d.gradient(torch.linalg.solve(torch.eye(len(ones), dtype=F64) - d.J.mT, ones))
    assert off(flat(found), expected) < 1e-9


@every_problem
@every_form
def test_the_gradient_of_a_batch_is_the_sum_over_its_samples(name, form):
    *together, measured = problem(name).gradients(form)
    singles = [problem(name, samples=(i,)).gradients(form) for i in range(2)]
    for found, *parts in zip(together, *(s[:-1] for s in singles), strict=True):
        torch.testing.assert_close(found, sum(parts), rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(measured, torch.cat([s[-1] for s in singles]))


@every_problem
@every_form
def test_a_sample_without_loss_has_no_part_in_the_gradient(name, form):
    p, told = problem(name), []
    *found, measured = p.gradients(form, loss=lambda x: p.losses(x)[1], on_adjoint=told.append)
    *expected, alone = problem(name, samples=(1,)).gradients(form)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(measured[1:], alone)
    assert torch.equal(measured[0], torch.zeros_like(measured[0]))
    if form == "exact":
        assert torch.equal(told[0].x[0], torch.zeros_like(told[0].x[0]))
        assert (told[0].evaluations[0], told[0].status) == (1, ["converged"] * 2)


@every_form
def test_no_loss_at_all_gives_a_gradient_of_zero(form):
    for gradient in problem("gap").gradients(form, loss=lambda x: 0 * x.sum()):
        assert torch.equal(gradient, torch.zeros_like(gradient))


@every_problem
@pytest.mark.parametrize("tol", [1e-2, 1e-6])
def test_the_adjoint_is_reported_at_its_tolerance(name, tol):
    told: list[Solution] = []
    p = problem(name)
    p.gradients("exact", tol=tol, on_adjoint=told.append)
    (adjoint,) = told
    assert adjoint.status == ["converged"] * 2
    assert max(adjoint.residual) <= tol
    assert adjoint.x.shape == p.x.shape and not adjoint.x.requires_grad


@every_problem
def test_an_adjoint_cut_short_is_reported_as_such(name):
    told: list[Solution] = []
    found = problem(name).gradients("exact", tol=1e-6, max_iter=1, on_adjoint=told.append)
    assert told[0].status == ["max_iter"] * 2
    assert min(told[0].residual) > 1e-6
    # One product with the Jacobian is what `neumann:1` has.
    assert off(flat(found), flat(problem(name).gradients("neumann:1"))) < 1e-12


@pytest.mark.parametrize("form", ["jfb", "neumann:2", "phantom:2,0.5"])
def test_the_other_forms_have_no_adjoint_to_report(form):
    told: list[Solution] = []
    problem("gap").gradients(form, on_adjoint=told.append)
    assert not told


@every_problem
def test_exact_at_a_rough_solution_is_nearer_to_the_truth_than_one_step(name):
    rough, truth = Problem(name, Smooth(), [0, 1], tol=1e-2), dense(name).exact()
    assert 1e-4 < off(rough.x, problem(name).x) < 0.1
    error = off(flat(rough.gradients("exact", tol=1e-2, max_iter=20)), truth)
    assert error < 0.3 * off(flat(rough.gradients("jfb")), truth)


def test_exact_holds_where_plain_iteration_would_diverge():
    p, d = problem("gap", gain=1.7), dense("gap", gain=1.7)
    assert float(torch.linalg.eigvals(d.J).real.min()) < -1.5
    truth = d.exact()
    assert off(flat(p.gradients("exact")), truth) < 1e-9
    assert off(flat(p.gradients("neumann:40")), truth) > 1e3


class Affine:
    """`f(x) = M x + b`, whose fixed point has a gradient in closed form."""

    def __init__(self, eigenvalues: list[float], *, batch: int = 2):
        rng, n = generator(3), len(eigenvalues)
        basis = torch.eye(n, dtype=F64) + 0.1 * torch.randn(batch, n, n, generator=rng, dtype=F64)
        values = torch.diag(torch.tensor(eigenvalues, dtype=F64))
        self.M = (basis @ values @ torch.linalg.inv(basis)).requires_grad_()
        self.b = torch.randn(batch, n, generator=rng, dtype=F64).requires_grad_()

    def __call__(self, x: Tensor) -> Tensor:
        return (self.M @ x.unsqueeze(2))[..., 0] + self.b

    def away(self) -> Tensor:
        return (torch.eye(self.M.shape[-1], dtype=F64) - self.M).detach()


@pytest.mark.parametrize(
    "eigenvalues", [[-1.5, -0.3, 0.1, 0.4, 0.6], [-1.5, -1.2, 0.2, 0.5, 0.8, 1.7]], ids=str
)
def test_exact_is_the_closed_form_of_an_expansive_affine_map(eigenvalues):
    f = Affine(eigenvalues)
    x = torch.linalg.solve(f.away(), f.b.detach())
    cotangent = torch.randn(x.shape, generator=generator(4), dtype=F64)
    fixed = differentiable(f, Linearised(f, x), GradientForm("exact"), tol=1e-12, max_iter=400)
    found = torch.autograd.grad(fixed, (f.M, f.b), cotangent)
    g = torch.linalg.solve(f.away().mT, cotangent)
    torch.testing.assert_close(found[1], g, rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(found[0], g.unsqueeze(2) * x.unsqueeze(1), rtol=1e-8, atol=1e-9)


class Tanh:
    """`tanh(gain x + b)`, a gain a sample; keeps how many samples each evaluation was asked for."""

    def __init__(self, gain: Tensor, b: Tensor, asked: list[int]):
        self.gain, self.b, self.asked = gain, b, asked

    def __call__(self, x: Tensor) -> Tensor:
        self.asked.append(len(x))
        return torch.tanh(self.gain * x + self.b)

    def select(self, samples: Tensor) -> Tanh:
        return Tanh(self.gain[samples], self.b[samples], self.asked)


@pytest.mark.parametrize("slow", [[0], [0, 2], [0, 1, 3]])
def test_samples_whose_adjoint_is_solved_cost_nothing_more(slow):
    gain = torch.full((4, 1), 1e-3, dtype=F64)
    gain[slow] = 0.9
    b = 0.5 * torch.randn(4, 40, generator=generator(5), dtype=F64)
    cotangent = torch.randn(4, 40, generator=generator(6), dtype=F64)

    def solve(samples: list[int]) -> tuple[Tensor, list[int], Solution]:
        told: list[Solution] = []
        f = Tanh(gain[samples], b[samples].clone().requires_grad_(), [])
        x = torch.zeros(len(samples), 40, dtype=F64)
        with torch.no_grad():
            for _ in range(2000):
                x = f(x)
        f.asked.clear()
        fixed = differentiable(
            f, Linearised(f, x), GradientForm("exact"), tol=1e-13, max_iter=200,
            on_adjoint=told.append,
        )  # fmt: skip
        (gradient,) = torch.autograd.grad(fixed, f.b, cotangent[samples])
        slope = (1 - x.square()) * gain[samples]  # the Jacobian is diagonal
        truth = cotangent[samples] * (1 - x.square()) / (1 - slope)
        torch.testing.assert_close(gradient, truth, rtol=1e-8, atol=1e-10)
        return gradient, f.asked, told[0]

    whole, asked, adjoint = solve([0, 1, 2, 3])
    fast = [sample for sample in range(4) if sample not in slow]
    assert max(adjoint.evaluations[s] for s in fast) < min(adjoint.evaluations[s] for s in slow)
    # One evaluation for all, and one more each time that half of them or fewer go on.
    assert asked[0] == 4 and all(now <= before / 2 for before, now in pairwise(asked))
    assert len(asked) > 1
    for sample in range(4):
        torch.testing.assert_close(whole[sample], solve([sample])[0][0], rtol=1e-12, atol=1e-14)


@every_problem
def test_exact_runs_with_a_network_in_half_precision(name):
    told: list[Solution] = []
    gradients = []
    lowest = 3e-3 if name == "accelerated-gap" else 1e-2  # rounding keeps the residual above 1e-3
    for make, tol in ((Smooth, 1e-4), (InHalfPrecision, lowest)):
        p = Problem(name, make(dtype=torch.float32), [0, 1], tol=tol)
        assert p.x.dtype == torch.float32
        found = p.gradients("exact", tol=tol, max_iter=60, on_adjoint=told.append)
        gradients.append(flat(found[:-1]))
    assert all(adjoint.status == ["converged"] * 2 for adjoint in told)
    full, half = gradients
    assert half.dtype == torch.float32 and torch.isfinite(half).all()
    assert off(half, full) > 1e-4  # the precision was low indeed
    assert float(torch.cosine_similarity(full, half, dim=0)) > 0.98


class Counting:
    """Counts the evaluations of a map, those with a graph and those without."""

    def __init__(self, f: Map):
        self.f = f
        self.with_graph = self.without = 0

    def __call__(self, x: Tensor) -> Tensor:
        self.with_graph += torch.is_grad_enabled()
        self.without += not torch.is_grad_enabled()
        return self.f(x)


@pytest.mark.parametrize(
    ("form", "expected"),
    [("exact", 1), ("jfb", 1), ("neumann:1", 1), ("neumann:7", 1)]
    + [(f"phantom:{k},{relaxation}", k) for k in (1, 2, 5) for relaxation in (1.0, 0.5)],
)
@every_problem
def test_the_graph_holds_as_few_evaluations_as_the_form_needs(name, form, expected):
    p = problem(name)
    f = Counting(p.f)
    fixed = differentiable(f, Linearised(f, p.x), GradientForm.parse(form), tol=1e-10, max_iter=99)
    torch.autograd.grad(p.loss(fixed), p.leaves)
    assert (f.with_graph, f.without) == (expected, 0)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("exact", GradientForm("exact")),
        (" jfb ", GradientForm("jfb")),
        ("neumann:5", GradientForm("neumann", 5)),
        ("phantom:3", GradientForm("phantom", 3, 1.0)),
        ("phantom:3,0.8", GradientForm("phantom", 3, 0.8)),
        ("phantom:1,1", GradientForm("phantom", 1, 1.0)),
        ("unrolled:20", GradientForm("unrolled", 20)),
    ],
)
def test_forms_are_read(text, form):
    assert GradientForm.parse(text) == form


@pytest.mark.parametrize(
    "text",
    [
        "", ":", "exakt", "Exact", "exact:1", "exact,1", "exact:", "jfb:1", "jfb:",
        "neumann", "neumann:", "neumann:0", "neumann:-1", "neumann:x", "neumann:1.5",
        "neumann:1,1", "neumann:1,", "neumann:,1",
        "phantom", "phantom:0", "phantom:2,0", "phantom:2,1.5", "phantom:2,-0.5", "phantom:2,nan",
        "phantom:2,x", "phantom:2,", "phantom:2,0.5,1", "phantom:,0.5",
        "unrolled", "unrolled:0", "unrolled:5,0.5",
    ],
)  # fmt: skip
def test_what_is_no_form_is_refused_with_the_forms_there_are(text):
    with pytest.raises(UsageError, match="there is no gradient") as caught:
        GradientForm.parse(text)
    assert f"'{text}'" in str(caught.value)
    assert caught.value.hint == FORMS


class Dusk(nn.Module):
    """`tanh(W x + b)`, a map of 12 numbers that come as `(3, 2, 2)`."""

    def __init__(self):
        super().__init__()
        rng = generator(5)
        self.weight = nn.Parameter(0.25 * torch.randn(12, 12, generator=rng, dtype=F64))
        self.bias = nn.Parameter(0.3 * torch.randn(12, generator=rng, dtype=F64))

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x.flatten(1) @ self.weight.mT + self.bias).view_as(x)

    def jacobian(self, x: Tensor) -> Tensor:
        """Of every sample, `(B, 12, 12)`."""
        slope = 1 - self(x).flatten(1).square()
        return (slope.unsqueeze(2) * self.weight).detach()


def points(count: int) -> Tensor:
    return torch.randn(count, 3, 2, 2, generator=generator(6), dtype=F64)


def test_the_jacobian_penalty_of_unit_probes_adds_up_to_the_frobenius_norm():
    f, x = Dusk(), points(3)
    at = Linearised(f, x)
    total = torch.zeros(3, dtype=F64)
    for unit in torch.eye(12, dtype=F64):
        total += 12 * jacobian_penalty(at, unit.view(3, 2, 2).expand_as(x)).detach()
    torch.testing.assert_close(total, f.jacobian(x).square().sum((1, 2)), rtol=1e-12, atol=0)


@pytest.mark.parametrize("kind", ["normal", "signs"])
def test_the_jacobian_penalty_is_right_on_average(kind):
    f, count = Dusk(), 4000
    x = points(1).expand(count, -1, -1, -1)
    probe = torch.randn(x.shape, generator=generator(7), dtype=F64)
    estimates = jacobian_penalty(Linearised(f, x), probe if kind == "normal" else probe.sign())
    assert estimates.shape == (count,)
    truth = float(f.jacobian(points(1)).square().sum()) / 12
    spread = float(estimates.detach().std())
    assert 0 < spread < truth
    assert abs(float(estimates.detach().mean()) - truth) < 4 * spread / count**0.5 < 0.05 * truth


def test_the_jacobian_penalty_has_its_own_gradient():
    f, x, probe = Dusk(), points(2), points(5)[3:]
    weights = torch.tensor([0.4, 1.3], dtype=F64)

    def penalty() -> Tensor:
        return (weights * jacobian_penalty(Linearised(f, x), probe)).sum()

    found = flat(torch.autograd.grad(penalty(), list(f.parameters())))
    origin, step = parameters_to_vector(f.parameters()).detach(), 1e-5
    expected = []
    for unit in torch.eye(len(origin), dtype=F64):
        values = []
        for sign in (1, -1):
            vector_to_parameters(origin + sign * step * unit, f.parameters())
            values.append(float(penalty().detach()))
        expected.append((values[0] - values[1]) / (2 * step))
    assert off(found, torch.tensor(expected, dtype=F64)) < 1e-8


@every_form
def test_the_penalty_beside_the_loss_adds_its_gradient_and_nothing_else(form):
    f = Dusk()
    with torch.no_grad():
        x = anderson(f, points(2), tol=1e-13, max_iter=200, memory=10).x
    parsed, probe = GradientForm.parse(form), points(5)[3:]

    def gradient(*, loss: bool, penalty: bool) -> Tensor:
        at = Linearised(f, x)
        fixed = differentiable(f, at, parsed, tol=1e-13, max_iter=200)
        total = loss * fixed.square().sum() + penalty * jacobian_penalty(at, probe).sum()
        return flat(torch.autograd.grad(total, list(f.parameters())))

    apart = gradient(loss=True, penalty=False) + gradient(loss=False, penalty=True)
    assert off(gradient(loss=True, penalty=True), apart) < 1e-10


TIGHT = {
    "f_tol": 1e-10, "b_tol": 1e-10, "f_max_iter": 300, "b_max_iter": 300,
    "f_stop_mode": "rel", "b_stop_mode": "rel",
}  # fmt: skip


@every_problem
@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("exact", {"ift": True, "f_solver": "fixed_point_iter", "b_solver": "fixed_point_iter"}),
        ("exact", {"ift": True, "f_solver": "anderson", "b_solver": "anderson"}),
        ("jfb", {"grad": 1}),
        ("phantom:3,0.5", {"grad": 3, "tau": 0.5}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value.values())),
)
def test_torchdeq_has_the_same_gradients(name, form, options):
    torchdeq = pytest.importorskip("torchdeq")
    p = problem(name)
    fixed, _ = torchdeq.get_deq(**TIGHT, **options)(p.f, p.start)
    assert off(p.f.video(fixed[-1].detach()), p.f.video(p.x)) < 1e-6
    theirs = torch.autograd.grad(p.loss(fixed[-1]), p.leaves)
    for found, expected in zip(p.gradients(form), theirs, strict=True):
        scale = float(expected.abs().max())
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * scale)


def test_torchdeq_has_the_same_jacobian_penalty():
    losses = pytest.importorskip("torchdeq.loss")
    f, x = Dusk(), points(3).requires_grad_()
    with torch.random.fork_rng():
        torch.manual_seed(8)
        theirs = losses.jac_reg(f(x), x)
        torch.manual_seed(8)
        probe = torch.randn(*x.shape).to(x)
    ours = jacobian_penalty(Linearised(f, x), probe).mean()
    assert float(ours.detach()) == pytest.approx(float(theirs.detach()), rel=1e-12)
