"""The outer eigenvalues of a Jacobian, against dense and sparse eigenvalue solvers."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse
import scipy.sparse.linalg
import torch
from torch import Tensor

from deqsci_cli.equilibrium.spectrum import Spectrum, spectrum

F64 = torch.float64


class Linear:
    """`f(x) = M x + 1`, one matrix a sample."""

    def __init__(self, *matrices: np.ndarray, dtype: torch.dtype = F64):
        self.matrices = torch.tensor(np.stack(matrices), dtype=dtype)
        self.x = torch.zeros(self.matrices.shape[:2], dtype=dtype)

    def __call__(self, x: Tensor) -> Tensor:
        return (self.matrices @ x.unsqueeze(2))[..., 0] + 1


def matrix(
    eigenvalues: list[complex] | np.ndarray, *, seed: int = 0, symmetric: bool = False
) -> np.ndarray:
    """A real matrix with these eigenvalues; one that is not real stands for itself and its twin."""
    values = np.asarray(eigenvalues, complex)
    blocks = [[[v.real]] if v.imag == 0 else [[v.real, v.imag], [-v.imag, v.real]] for v in values]
    core = scipy.linalg.block_diag(*blocks)
    noise = np.random.default_rng(seed).standard_normal(core.shape)
    if symmetric:
        basis = np.linalg.qr(noise)[0]
        return basis @ core @ basis.T
    basis = np.eye(len(core)) + 0.4 * noise / np.sqrt(len(core))
    return basis @ core @ np.linalg.inv(basis)


def inner(count: int) -> list[complex]:
    """Eigenvalues that lie apart from the outer ones."""
    return [complex(v) for v in np.linspace(-0.55, 0.6, count)]


SYMMETRIC = matrix([*inner(10), -0.8, 0.93], symmetric=True)
PAIR = matrix([*inner(10), -0.6 + 0.75j])
NEGATIVE = matrix([*inner(10), -1.5, 0.8])
every_matrix = pytest.mark.parametrize(
    "dense", [SYMMETRIC, PAIR, NEGATIVE], ids=["symmetric", "complex pair", "negative"]
)


def check(found: Spectrum, dense: np.ndarray, accuracy: float) -> None:
    """Compare with the dense eigenvalues; of a complex pair either may be named."""
    values = np.linalg.eigvals(dense)
    dominant, rightmost = values[np.abs(values).argmax()], values[values.real.argmax()]
    for ours, truth in ((found.dominant, dominant), (found.rightmost, rightmost)):
        assert abs(complex(ours.real, abs(ours.imag)) - complex(truth.real, abs(truth.imag))) < (
            accuracy
        )
    assert found.spectral_radius == pytest.approx(np.abs(values).max(), abs=accuracy)


def slowest(dense: np.ndarray, relaxation: float) -> float:
    """Spectral radius of plain iteration with this relaxation."""
    eye = np.eye(len(dense))
    return float(np.abs(np.linalg.eigvals(eye - relaxation * (eye - dense))).max())


@every_matrix
def test_with_as_many_steps_as_dimensions_the_eigenvalues_are_exact(dense):
    f = Linear(dense)
    (found,) = spectrum(f, f.x, steps=30)
    check(found, dense, 1e-8)
    assert found.error < 1e-8


def test_the_examples_are_what_they_are_called():
    outer = [max(np.linalg.eigvals(m), key=abs) for m in (SYMMETRIC, PAIR, NEGATIVE)]
    assert np.allclose(SYMMETRIC, SYMMETRIC.T) and not np.allclose(PAIR, PAIR.T)
    assert abs(outer[1].imag) > 0.7 and outer[2].real == pytest.approx(-1.5)


@pytest.mark.parametrize(
    "dense",
    [
        matrix([*inner(96), -0.8, 0.93], symmetric=True),
        matrix([*inner(96), -0.6 + 0.75j, 0.85]),
        matrix([*inner(96), -1.5, 0.8]),
    ],
    ids=["symmetric", "complex pair", "negative"],
)
def test_outer_eigenvalues_are_found_in_fewer_steps_than_dimensions(dense):
    f = Linear(dense)
    (found,) = spectrum(f, f.x, steps=30)
    check(found, dense, 1e-4)
    assert found.error < 1e-3


@pytest.mark.parametrize("steps", [2, 5, 10, 20])
@pytest.mark.parametrize("seed", range(4))
def test_the_error_bounds_that_of_a_symmetric_jacobian(steps, seed):
    dense = matrix(np.linspace(-0.9, 0.9, 60), seed=seed, symmetric=True)
    f = Linear(dense)
    (found,) = spectrum(f, f.x, steps=steps, seed=seed)
    distance = np.abs(np.linalg.eigvalsh(dense) - found.dominant).min()
    assert distance <= found.error + 1e-12
    assert 1e-9 < found.error < 1
    assert found.spectral_radius <= 0.9 + 1e-9  # a Ritz value lies within the spectrum


@pytest.mark.parametrize("seed", range(3))
def test_the_error_after_one_step_is_known_where_two_eigenvalues_are_all(seed):
    dense = matrix([-0.4] * 5 + [0.7] * 7, seed=seed, symmetric=True)
    f = Linear(dense)
    (found,) = spectrum(f, f.x, steps=1, seed=seed)
    quotient = found.dominant.real  # of Rayleigh
    assert found.error**2 == pytest.approx((quotient + 0.4) * (0.7 - quotient))


def test_every_sample_has_its_own_spectrum():
    f = Linear(SYMMETRIC, PAIR, NEGATIVE)
    together = spectrum(f, f.x)
    for found, dense in zip(together, (SYMMETRIC, PAIR, NEGATIVE), strict=True):
        check(found, dense, 1e-8)


def test_the_jacobian_is_that_at_the_point():
    rng = torch.Generator().manual_seed(1)
    weight = torch.randn(12, 12, generator=rng, dtype=F64) / 2
    x = torch.randn(2, 3, 2, 2, generator=rng, dtype=F64)

    def f(x: Tensor) -> Tensor:
        return torch.tanh(x.flatten(1) @ weight.mT).view_as(x)

    jacobian = torch.autograd.functional.jacobian(f, x).reshape(2, 12, 2, 12)
    radii = []
    for sample, found in enumerate(spectrum(f, x)):
        check(found, jacobian[sample, :, sample].numpy(), 1e-8)
        radii.append(found.spectral_radius)
    assert abs(radii[0] - radii[1]) > 0.01
    assert abs(radii[0] - spectrum(f, torch.zeros_like(x))[0].spectral_radius) > 0.01


def test_single_precision_is_good_for_its_digits():
    f = Linear(SYMMETRIC, PAIR, NEGATIVE, dtype=torch.float32)
    for found, dense in zip(spectrum(f, f.x), (SYMMETRIC, PAIR, NEGATIVE), strict=True):
        check(found, dense, 1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_a_large_nonnormal_jacobian_agrees_with_arpack(seed):
    rng, n = np.random.default_rng(seed), 400
    sparse = scipy.sparse.lil_array((n, n))
    sparse.setdiag(rng.uniform(-0.4, 0.5, n))
    sparse.setdiag(0.25 * rng.standard_normal(n - 1), 1)  # couples one way only: not normal
    sparse[100:102, 100:102] = [[-0.6, 0.7], [-0.7, -0.6]]
    sparse[200, 200] = 0.85
    sparse = sparse.tocsr()
    assert abs(sparse @ sparse.T - sparse.T @ sparse).max() > 0.1
    f = Linear(sparse.toarray())
    (found,) = spectrum(f, f.x, steps=40, seed=seed)
    start = np.ones(n)
    largest = scipy.sparse.linalg.eigs(sparse, k=1, which="LM", v0=start)[0][0]
    rightmost = scipy.sparse.linalg.eigs(sparse, k=1, which="LR", v0=start)[0][0]
    assert found.spectral_radius == pytest.approx(abs(largest), abs=1e-2)
    assert found.dominant.real == pytest.approx(largest.real, abs=1e-2)
    assert found.rightmost == pytest.approx(rightmost.real, abs=1e-2)
    assert found.error < 1e-1


@pytest.mark.parametrize(
    "dense",
    [SYMMETRIC, PAIR, NEGATIVE, matrix([*inner(10), 0.3 + 1.3j]), matrix([*inner(10), -4])],
    ids=["symmetric", "complex pair", "negative", "complex pair outside", "very negative"],
)
def test_plain_iteration_converges_up_to_the_relaxation_and_not_beyond(dense):
    f = Linear(dense)
    relaxation = spectrum(f, f.x)[0].max_relaxation
    assert slowest(dense, 0.999 * relaxation) < 1 < slowest(dense, 1.001 * relaxation)
    assert (relaxation > 1) == (slowest(dense, 1.0) < 1)


@pytest.mark.parametrize("outer", [1.05, 3.0, 1.1 + 0.5j], ids=str)
def test_no_relaxation_helps_against_an_eigenvalue_to_the_right_of_one(outer):
    dense = matrix([*inner(10), outer])
    f = Linear(dense)
    assert spectrum(f, f.x)[0].max_relaxation == 0
    assert min(slowest(dense, d) for d in (1e-3, 0.1, 0.5, 1.0)) > 1


def test_a_constant_map_has_radius_zero():
    (found,) = spectrum(lambda x: 0 * x + 1, torch.ones(1, 9, dtype=F64))
    assert (found.dominant, found.rightmost, found.error) == (0, 0, 0)
    assert found.max_relaxation == 2


@pytest.mark.parametrize("dtype", [F64, torch.float32], ids=str)
@pytest.mark.parametrize("factor", [1.0, -0.5, 0.9, 0.3, -2.0])
def test_a_multiple_of_the_identity_has_one_eigenvalue_only(factor, dtype):
    # The search ends after one step: what rounding leaves must not count as an eigenvalue.
    for seed in range(40):
        x = torch.zeros(1, 5, dtype=dtype)
        (found,) = spectrum(lambda x: factor * x, x, steps=5, seed=seed)
        assert found.dominant == pytest.approx(factor, abs=1e-6)
        assert found.rightmost == pytest.approx(factor, abs=1e-6)
        if factor < 1:
            assert found.max_relaxation == pytest.approx(2 / (1 - factor), rel=1e-4)


def test_a_jacobian_of_low_rank_is_no_trouble():
    factor = np.random.default_rng(0).standard_normal((40, 3)) / 7
    padded = scipy.linalg.block_diag(PAIR, np.zeros((28, 28)))
    matrices = (-factor @ factor.T, np.zeros((40, 40)), padded)
    f = Linear(*matrices)
    for found, dense in zip(spectrum(f, f.x), matrices, strict=True):
        check(found, dense, 1e-8)
        assert found.error < 1e-8


def test_the_same_seed_gives_the_same_answer():
    f = Linear(matrix(np.linspace(-0.9, 0.9, 60)))
    first, again, other = (spectrum(f, f.x, steps=6, seed=s)[0] for s in (3, 3, 4))
    assert first == again
    assert first.error != other.error
