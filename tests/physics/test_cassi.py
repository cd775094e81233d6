"""The spectral camera against the matrix of its definition."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from deqsci_cli.equilibrium.model import solve
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.networks.tv import TotalVariation
from deqsci_cli.physics.cassi import CASSI
from deqsci_cli.physics.protocol import adjoint_test

F64 = torch.float64
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "cassi.py"
every_step = pytest.mark.parametrize("step", [0, 1, 2, 7])


def masks(*shape: int, seed: int = 0) -> torch.Tensor:
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=F64)
    return mask.where(mask > 0.4, 0.0)


def dense(mask: torch.Tensor, step: int) -> np.ndarray:
    """Written out from the definition: one row a pixel, one column an element of the cube."""
    bands, height, width = mask.shape
    wide = width + step * (bands - 1)
    matrix = np.zeros((height, wide, bands, height, width))
    for l, i, j in np.ndindex(bands, height, width):  # noqa: E741
        matrix[i, j + l * step, l, i, j] = mask[l, i, j]
    return matrix.reshape(height * wide, -1)


@every_step
def test_it_is_its_dense_matrix(step):
    mask = masks(3, 4, 5)
    operator, matrix = CASSI(mask, step), dense(mask, step)
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((2, 3, 4, 5)), rng.standard_normal((2, 4, 5 + 2 * step))
    measured = operator.A(torch.from_numpy(x))
    assert measured.shape == y.shape
    flat_x, flat_y = x.reshape(2, -1), y.reshape(2, -1)
    np.testing.assert_allclose(measured.reshape(2, -1), flat_x @ matrix.T, atol=1e-12)
    back = operator.A_adjoint(torch.from_numpy(y))
    np.testing.assert_allclose(back.reshape(2, -1), flat_y @ matrix, atol=1e-12)
    np.testing.assert_allclose(np.diag(operator.gram.ravel()), matrix @ matrix.T, atol=1e-12)
    pseudo = operator.pseudo_inverse(torch.from_numpy(y)).reshape(2, -1)
    np.testing.assert_allclose(pseudo, flat_y @ np.linalg.pinv(matrix).T, atol=1e-10)


@every_step
@pytest.mark.parametrize("shape", [(6, 5, 4), (3, 6, 5, 4)])
def test_adjoint_identity(step, shape):
    assert adjoint_test(CASSI(masks(*shape), step)) < 1e-10


@every_step
def test_normalized_measurement_of_a_grey_scene_is_that_grey(step):
    operator = CASSI(masks(5, 8, 9), step)
    cube = torch.full((1, 5, 8, 9), 0.3, dtype=F64)
    torch.testing.assert_close(operator.normalized_measurement(operator.A(cube)), cube)


@every_step
def test_what_is_left_for_a_band_of_the_true_cube_is_the_band_behind_its_mask(step):
    mask = masks(2, 4, 5, 6)
    cube = torch.rand(2, 4, 5, 6, dtype=F64, generator=torch.Generator().manual_seed(2))
    operator = CASSI(mask, step)
    left = operator.per_frame_residual(cube, operator.A(cube))
    torch.testing.assert_close(left, mask * cube / mask.amax((1, 2, 3), keepdim=True))


def test_what_is_derived_keeps_the_step():
    operator = CASSI(masks(3, 2, 4, 5), 2)
    for derived in (operator.subset(torch.tensor([2])), operator.to(torch.float32)):
        assert type(derived) is CASSI and derived.step == 2
    with pytest.raises(ValueError, match="negative"):
        CASSI(masks(3, 4, 5), -1)


@pytest.mark.parametrize("r", [0.0, 0.5, 1.0])
def test_a_batch_in_which_one_sample_has_converged_goes_on_with_the_others(r):
    rng = torch.Generator().manual_seed(3)
    cubes = torch.rand(3, 4, 10, 12, generator=rng)
    cubes[1] = 0.5  # a grey scene is solved at once: the start is the answer
    operator = CASSI((torch.rand(3, 4, 10, 12, generator=rng) < 0.5).float(), 2)
    settings = EquilibriumSettings(consistency_relaxation=r, sigma=0.05, tol=1e-3)
    y = operator.A(cubes)
    found = solve(TotalVariation(), operator, y, settings)
    assert found.status == ["converged"] * 3 and found.x.shape == cubes.shape
    assert found.evaluations[1] < min(found.evaluations[0], found.evaluations[2])
    for sample in range(3):
        index = torch.tensor([sample])
        alone = solve(TotalVariation(), operator.subset(index), y[index], settings)
        assert alone.evaluations == found.evaluations[sample : sample + 1]
        assert torch.equal(alone.x[0], found.x[sample])


def test_the_example_reconstructs_a_cube(capsys):
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    told = capsys.readouterr().out
    (error,) = re.findall(r"off by (\S+)", told)
    figures = re.findall(r"relaxation = (\d): (\S+) dB, converged", told)
    assert float(error) < 1e-10 and [r for r, _ in figures] == ["0", "1"]
    assert float(figures[0][1]) > float(figures[1][1]) > 21
