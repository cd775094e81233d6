"""The solvers on maps whose fixed points are known otherwise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.optimize
import torch

from deqsci_cli.equilibrium.solvers import anderson, picard

F64 = torch.float64
solvers = pytest.mark.parametrize("solve", [picard, anderson], ids=["picard", "anderson"])


class Affine:
    """`f(x) = M x + b`, one (M, b) a sample; counts the rows that it is asked for."""

    def __init__(self, matrices: torch.Tensor, shifts: torch.Tensor):
        self.matrices, self.shifts = matrices, shifts
        self.rows: list[int] = []

    def select(self, samples: torch.Tensor) -> Affine:
        part = Affine(self.matrices[samples], self.shifts[samples])
        part.rows = self.rows
        return part

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        assert len(x) == len(self.matrices)
        self.rows.append(len(x))
        return (self.matrices @ x.unsqueeze(-1)).squeeze(-1) + self.shifts

    def fixed_points(self) -> np.ndarray:
        eye = np.eye(self.matrices.shape[-1])
        pairs = zip(self.matrices.double().numpy(), self.shifts.double().numpy(), strict=True)
        return np.stack([np.linalg.solve(eye - m, b) for m, b in pairs])


def affine(
    eigenvalues: list[list[float]], *, dtype: torch.dtype = F64, seed: int = 0, skew: float = 0.3
) -> Affine:
    """Affine maps with given eigenvalues, not symmetric."""
    rng = np.random.default_rng(seed)
    matrices, shifts = [], []
    for values in eigenvalues:
        n = len(values)
        basis = np.eye(n) + skew * rng.standard_normal((n, n)) / math.sqrt(n)
        matrices.append(basis @ np.diag(values) @ np.linalg.inv(basis))
        shifts.append(rng.standard_normal(n))
    return Affine(
        torch.tensor(np.stack(matrices), dtype=dtype), torch.tensor(np.stack(shifts), dtype=dtype)
    )


def start(f: Affine) -> torch.Tensor:
    return torch.ones_like(f.shifts)


@solvers
@pytest.mark.parametrize(
    ("dtype", "tol", "accuracy"), [(F64, 1e-12, 1e-9), (torch.float32, 1e-6, 1e-4)]
)
def test_contractions_reach_the_solution_of_the_linear_system(solve, dtype, tol, accuracy):
    f = affine([list(np.linspace(-0.8, 0.85, 9)), list(np.linspace(-0.2, 0.6, 9))], dtype=dtype)
    found = solve(f, start(f), tol=tol, max_iter=500)
    assert found.status == ["converged", "converged"]
    assert found.x.dtype == dtype and max(found.residual) <= tol
    truth = f.fixed_points()
    error = np.linalg.norm(found.x.numpy() - truth, axis=1) / np.linalg.norm(truth, axis=1)
    assert error.max() < accuracy


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_anderson_solves_an_affine_map_in_n_plus_1_steps(n):
    # With all residuals kept it is equivalent to GMRES (Walker & Ni 2011, theorem 2.2): the
    # iterate n + 1 is the solution, and its evaluation, the one after, shows that.
    f = affine([list(np.linspace(-2.0, 0.7, n))], seed=n)
    found = anderson(f, start(f), tol=1e-9, max_iter=50, memory=n + 2, regularisation=1e-15)
    assert found.status == ["converged"]
    assert found.evaluations[0] <= n + 2
    np.testing.assert_allclose(found.x.numpy(), f.fixed_points(), rtol=1e-7)


def test_the_first_anderson_steps_are_the_secant_method():
    # In one dimension with memory 2, type II is the secant method on g(x) = f(x) - x.
    asked: list[float] = []

    def f(x: torch.Tensor) -> torch.Tensor:
        asked.append(x.item())
        return torch.cos(x)

    anderson(f, torch.tensor([[0.3]], dtype=F64), tol=1e-13, max_iter=6, memory=2,
             regularisation=1e-16)  # fmt: skip
    x = [0.3, math.cos(0.3)]
    for _ in range(4):
        (a, ga), (b, gb) = ((v, math.cos(v) - v) for v in x[-2:])
        x.append(b - gb * (b - a) / (gb - ga))
    np.testing.assert_allclose(asked[:5], x[:5], atol=1e-7)


def test_anderson_agrees_with_scipy_on_a_nonlinear_system():
    rng = np.random.default_rng(4)
    weight = 0.8 * rng.standard_normal((6, 6)) / math.sqrt(6)
    bias = rng.standard_normal(6)
    theirs = scipy.optimize.anderson(
        lambda x: np.tanh(weight @ x + bias) - x, np.zeros(6), f_tol=1e-12, M=5
    )
    w, b = torch.from_numpy(weight), torch.from_numpy(bias)
    found = anderson(
        lambda x: torch.tanh(x @ w.T + b), torch.zeros(1, 6, dtype=F64), tol=1e-12, max_iter=60
    )
    assert found.status == ["converged"]
    np.testing.assert_allclose(found.x[0].numpy(), theirs, atol=1e-9)


EXPANSIVE = [-2.8, -0.5, 0.1, 0.6, 0.9]  # the spectrum of the published DE-GAP-CNN is like this


def test_picard_diverges_on_an_expansive_map_and_says_so():
    f = affine([EXPANSIVE])
    found = picard(f, start(f), tol=1e-8, max_iter=200)
    assert found.status == ["diverged"]
    assert torch.isfinite(found.x).all()
    assert found.residual[0] == min(found.residual_trace[0])
    assert found.evaluations[0] < 30  # it stops early, not at the most iterations


def test_anderson_tames_an_expansive_map():
    f = affine([EXPANSIVE])
    found = anderson(f, start(f), tol=1e-10, max_iter=60)
    assert found.status == ["converged"]
    np.testing.assert_allclose(found.x.numpy(), f.fixed_points(), rtol=1e-7)


@solvers
def test_relaxation_tames_an_expansive_map(solve):
    # 1 - 0.3 (1 + 2.8) = -0.14: the relaxed map contracts.
    f = affine([EXPANSIVE])
    found = solve(f, start(f), tol=1e-10, max_iter=2000, relaxation=0.3)
    assert found.status == ["converged"]
    np.testing.assert_allclose(found.x.numpy(), f.fixed_points(), rtol=1e-6)


def test_a_relaxed_step_is_what_it_says():
    asked: list[float] = []

    def f(x: torch.Tensor) -> torch.Tensor:
        asked.append(x.item())
        return 0.5 * x + 1

    picard(f, torch.tensor([[10.0]], dtype=F64), tol=1e-12, max_iter=3, relaxation=0.25)
    np.testing.assert_allclose(asked, [10, 9, 8.125])


@solvers
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("when", range(1, 13))
def test_a_value_that_is_not_finite_never_reaches_the_answer(solve, bad, when):
    f = affine([list(np.linspace(-0.7, 0.9, 6))] * 2)
    answers: list[torch.Tensor] = []

    class Poisoned:
        """Spoils one number of sample 0 at evaluation `when`."""

        def __init__(self, inner: Affine, samples: torch.Tensor):
            self.inner, self.samples = inner, samples

        def select(self, samples: torch.Tensor) -> Poisoned:
            return Poisoned(f.select(samples), samples)

        def __call__(self, x: torch.Tensor) -> torch.Tensor:
            out = self.inner(x)
            if 0 in self.samples and len(answers) + 1 == when:
                out[0, 3] = bad
            answers.append(out.clone())
            return out

    found = solve(Poisoned(f, torch.arange(2)), start(f), tol=1e-14, max_iter=14)
    assert found.status[0] == "diverged" and found.status[1] != "diverged"
    assert torch.isfinite(found.x).all()
    assert found.evaluations[0] == when  # no evaluation is spent on it any more
    trace = found.residual_trace[0]
    assert trace[-1] == math.inf and all(map(math.isfinite, trace[:-1]))
    if when == 1:
        assert found.residual[0] == math.inf
        torch.testing.assert_close(found.x[0], start(f)[0])
    else:
        best = int(np.argmin(trace))
        torch.testing.assert_close(found.x[0], answers[best][0], rtol=0, atol=0)
        assert found.residual[0] == pytest.approx(trace[best], rel=1e-6)


@solvers
@pytest.mark.parametrize("factor", [1e2, 1e10, 1e30])
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_growth_without_end_is_divergence(solve, factor, dtype):
    # x -> factor * |x|^1.5 + 1 has no fixed point that could be met from 1.
    found = solve(
        lambda x: factor * x.abs() ** 1.5 + 1, torch.ones(2, 4, dtype=dtype), tol=1e-6, max_iter=50
    )
    assert found.status == ["diverged", "diverged"]
    assert torch.isfinite(found.x).all() and max(found.evaluations) < 50


def test_a_state_on_its_way_to_infinity_is_not_the_best_one():
    # 1, 60, 3600, 103600: the last step has the smallest relative residual, but has blown up.
    found = picard(
        lambda x: torch.where(x < 1e3, 60 * x, x + 1e5), torch.ones(1, 1), tol=1e-6, max_iter=9
    )
    assert found.status == ["diverged"] and found.evaluations == [3]
    assert found.residual_trace[0][2] < min(found.residual_trace[0][:2])
    assert found.x.item() in (60, 3600)


@solvers
@pytest.mark.parametrize("memory", [1, 2, 5, 12])
class TestSingularHistories:
    """Histories whose residuals depend on each other, or vanish."""

    def run(self, solve, memory, f, x0, **options):
        options = {"tol": 1e-12, "max_iter": 40} | options
        if solve is anderson:
            options["memory"] = memory
        found = solve(f, x0, **options)
        assert torch.isfinite(found.x).all()
        return found

    def test_constant_map(self, solve, memory):
        target = torch.tensor([[1.0, -2.0, 3.0]], dtype=F64)
        found = self.run(
            solve, memory, lambda x: target.expand_as(x).clone(), torch.zeros(1, 3, dtype=F64)
        )
        assert found.status == ["converged"] and found.evaluations[0] <= 3
        torch.testing.assert_close(found.x, target)

    def test_identity_map(self, solve, memory):
        x0 = torch.tensor([[1.0, 2.0], [0.0, 0.0]], dtype=F64)
        found = self.run(solve, memory, lambda x: x.clone(), x0)
        assert found.status == ["converged"] * 2
        assert found.evaluations == [1, 1] and found.residual == [0.0, 0.0]
        assert torch.equal(found.x, x0)

    def test_map_to_zero(self, solve, memory):
        found = self.run(solve, memory, torch.zeros_like, torch.ones(1, 3, dtype=F64))
        assert found.status == ["converged"] and not found.x.any()

    def test_rank_one_map(self, solve, memory):
        u = torch.tensor([1.0, 2.0, -1.0, 0.5], dtype=F64)
        v = torch.tensor([0.1, 0.2, 0.1, -0.3], dtype=F64)
        b = torch.tensor([1.0, 0.0, 0.0, 2.0], dtype=F64)
        found = self.run(
            solve,
            memory,
            lambda x: (x @ v)[:, None] * u + b,
            torch.ones(1, 4, dtype=F64),
            max_iter=200,
        )
        assert found.status == ["converged"]
        truth = np.linalg.solve(np.eye(4) - np.outer(u, v), b)
        np.testing.assert_allclose(found.x[0].numpy(), truth, rtol=1e-9)

    def test_identical_residuals(self, solve, memory):
        # A translation: every residual is the same, and there is no fixed point.
        found = self.run(solve, memory, lambda x: x + 0.25, torch.ones(1, 3, dtype=F64))
        assert found.status in (["max_iter"], ["diverged"])

    def test_opposite_residuals(self, solve, memory):
        # A reflection about 2: the residuals alternate, unless the history is used.
        found = self.run(solve, memory, lambda x: 4 - x, torch.zeros(1, 3, dtype=F64))
        if solve is anderson and memory > 1:
            assert found.status == ["converged"]
            torch.testing.assert_close(found.x, torch.full((1, 3), 2.0, dtype=F64))
        else:
            assert found.status == ["max_iter"]

    def test_one_dimension_and_more_memory_than_that(self, solve, memory):
        found = self.run(
            solve, memory, lambda x: torch.cos(x), torch.tensor([[0.2]], dtype=F64), max_iter=100
        )
        assert found.status == ["converged"]
        assert found.x.item() == pytest.approx(0.7390851332151607, abs=1e-10)

    @pytest.mark.parametrize("size", [1e-14, 1e16])
    def test_very_small_and_very_large_numbers(self, solve, memory, size):
        # The products of such residuals lie near the ends of the range of float32.
        f = affine([[0.5, -0.3, 0.2]], dtype=torch.float32)
        f.shifts *= size
        found = self.run(solve, memory, f, size * start(f), tol=1e-5)
        assert found.status == ["converged"]
        np.testing.assert_allclose(found.x.numpy(), f.fixed_points(), rtol=1e-3)


@solvers
def test_samples_of_a_batch_are_solved_as_if_alone(solve):
    spectra = [[0.1, 0.0, -0.1], [0.9, 0.3, -0.4], [-2.8, -2.0, -1.5], [0.6, 0.5, -0.5]]
    f = affine(spectra)
    together = solve(f, start(f), tol=1e-9, max_iter=150)
    for n in range(len(spectra)):
        one = f.select(torch.tensor([n]))
        alone = solve(one, start(one), tol=1e-9, max_iter=150)
        assert alone.status == together.status[n : n + 1]
        assert alone.evaluations == together.evaluations[n : n + 1]
        np.testing.assert_allclose(
            together.residual_trace[n], alone.residual_trace[0], rtol=1e-3, atol=1e-12
        )
        torch.testing.assert_close(together.x[n : n + 1], alone.x, rtol=1e-8, atol=1e-10)


@solvers
def test_converged_samples_cost_nothing_more(solve):
    f = affine([[0.0, 0.0], [0.95, -0.3], [0.5, 0.4]])
    found = solve(f, start(f), tol=1e-8, max_iter=500)
    assert found.status == ["converged"] * 3
    assert sum(f.rows) == sum(found.evaluations)
    assert f.rows == sorted(f.rows, reverse=True)
    assert min(found.evaluations) < max(found.evaluations)
    for n, count in enumerate(found.evaluations):
        assert len(found.residual_trace[n]) == count


@solvers
def test_the_answer_is_f_of_the_best_iterate(solve):
    f = affine([[-2.8, 0.4, 0.1], [0.9, -0.9, 0.5]])
    pairs: list[tuple[torch.Tensor, torch.Tensor]] = []

    def watched(x: torch.Tensor) -> torch.Tensor:
        fx = f(x)
        pairs.append((x.clone(), fx.clone()))
        return fx

    found = solve(watched, start(f), tol=1e-30, max_iter=8)
    for n in range(2):
        trace = [float((fx - x)[n].norm() / fx[n].norm()) for x, fx in pairs]
        trace = trace[: found.evaluations[n]]
        np.testing.assert_allclose(found.residual_trace[n], trace, rtol=1e-12)
        best = int(np.argmin(trace))
        assert torch.equal(found.x[n], pairs[best][1][n])
        assert found.residual[n] == pytest.approx(trace[best], rel=1e-6)


@solvers
def test_no_iterations_at_all(solve):
    f = affine([[0.5, 0.2]])
    found = solve(f, start(f), tol=1e-3, max_iter=0)
    assert torch.equal(found.x, start(f)) and f.rows == []
    assert found.status == ["max_iter"] and found.evaluations == [0]
    assert found.residual == [math.inf] and found.residual_trace == [[]]


@solvers
def test_the_most_iterations_are_kept_to(solve):
    f = affine([[0.99, 0.98, 0.97, 0.96, 0.95, 0.94, 0.93]])
    told: list[int] = []
    found = solve(
        f, start(f), tol=1e-14, max_iter=5, on_iteration=lambda count, best, x: told.append(count)
    )
    assert found.status == ["max_iter"] and found.evaluations == [5] and told == [1, 2, 3, 4, 5]


@solvers
def test_shape_is_kept_and_the_start_left_alone(solve):
    x0 = torch.ones(2, 3, 4, 5)
    kept = x0.clone()
    found = solve(lambda x: 0.5 * x + 1, x0, tol=1e-5, max_iter=50)
    assert found.x.shape == x0.shape and torch.equal(x0, kept)
    torch.testing.assert_close(found.x, torch.full_like(x0, 2.0), rtol=1e-4, atol=0)


@solvers
def test_a_start_that_is_not_finite_is_refused(solve):
    with pytest.raises(ValueError, match="finite"):
        solve(lambda x: x, torch.tensor([[math.nan]]), tol=1e-3, max_iter=3)


def arctan(x: torch.Tensor) -> torch.Tensor:
    """Fixed at 10, nowhere expansive; from afar the secant method leaves it for good."""
    return x - torch.arctan(x - 10)


def test_mixing_waits_until_plain_steps_have_come_near():
    far = torch.full((1, 1), 15.0, dtype=F64)
    lost = anderson(arctan, far, tol=1e-9, max_iter=100, memory=2)
    assert lost.status != ["converged"]
    found = anderson(arctan, far, tol=1e-9, max_iter=100, memory=2, anderson_start_tol=0.05)
    assert found.status == ["converged"] and found.x.item() == pytest.approx(10, abs=1e-8)
    plain = picard(arctan, far, tol=1e-9, max_iter=100)
    first = next(i for i, r in enumerate(plain.residual_trace[0]) if r <= 0.05)
    assert first == 4
    assert found.residual_trace[0][: first + 1] == plain.residual_trace[0][: first + 1]
    assert found.residual_trace[0][first + 1] != pytest.approx(plain.residual_trace[0][first + 1])


def test_each_sample_mixes_from_where_it_is_near_itself():
    starts = torch.tensor([[10.2], [11.0], [15.0], [17.0]], dtype=F64)
    settings = {"tol": 1e-9, "max_iter": 50, "memory": 3, "anderson_start_tol": 0.05}
    together = anderson(arctan, starts, **settings)
    assert together.status == ["converged"] * 4
    for i, x0 in enumerate(starts.split(1)):
        alone = anderson(arctan, x0, **settings)
        assert alone.residual_trace[0] == together.residual_trace[i]
        assert torch.equal(alone.x[0], together.x[i])


def test_mixing_does_not_wait_for_what_plain_steps_cannot_reach():
    f = affine([[-1.2, 0.3, 0.5]])
    found = anderson(f, start(f), tol=1e-9, max_iter=50, anderson_start_tol=1e-3)
    plain = picard(f, start(f), tol=1e-9, max_iter=12)
    assert found.status == ["converged"] and found.evaluations[0] < 20
    assert found.residual_trace[0][:11] == pytest.approx(plain.residual_trace[0][:11])
    assert found.residual_trace[0][11] < plain.residual_trace[0][11] / 2


def test_the_absolute_regulariser_stalls_where_the_relative_one_does_not():
    # What was measured on the published solver, on a map small enough to see it.
    f = affine([list(np.linspace(0.5, 0.99, 8))])
    f.shifts *= 1e-2
    options = {"tol": 1e-10, "max_iter": 60, "memory": 6}
    ours = anderson(f, start(f) * 1e-2, **options)
    published = anderson(f, start(f) * 1e-2, absolute_regularisation=1e-2, **options)
    assert ours.status == ["converged"] and published.status == ["max_iter"]
    assert published.residual[0] > 1e3 * ours.residual[0]
