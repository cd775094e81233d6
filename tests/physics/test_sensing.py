"""The camera's operator against the matrix that it stands for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deqsci_cli.physics.protocol import adjoint_test
from deqsci_cli.physics.sensing import SensingOperator

KINDS = ["binary", "grey", "counts"]


def masks(kind: str, shape: tuple[int, ...], seed: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    mask = {
        "binary": (rng.random(shape) < 0.4).astype(float),
        "grey": rng.random(shape),
        "counts": rng.integers(0, 114, shape).astype(float),
    }[kind]
    mask[..., 0, 0] = 0  # one pixel that no mask opens
    return torch.from_numpy(mask)


def dense(mask: torch.Tensor) -> np.ndarray:
    """The matrix (H*W, T*H*W) written out entry by entry from the definition of y."""
    frames, height, width = mask.shape
    matrix = np.zeros((height * width, frames * height * width))
    for t in range(frames):
        for i in range(height):
            for j in range(width):
                pixel = i * width + j
                matrix[pixel, t * height * width + pixel] = mask[t, i, j]
    return matrix


shapes = st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 7), st.integers(1, 7))


@settings(max_examples=40, deadline=None)
@given(shapes, st.sampled_from(KINDS), st.booleans(), st.integers(0, 2**20))
def test_adjoint_identity(shape, kind, per_sample, seed):
    operator = SensingOperator(masks(kind, shape if per_sample else shape[1:], seed))
    assert operator.A(torch.zeros(shape, dtype=torch.float64)).shape == shape[:1] + shape[2:]
    assert adjoint_test(operator, seed=seed) <= 1e-10


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 3, 3), (6, 1, 4)])
def test_operator_is_its_dense_matrix(kind, shape):
    mask = masks(kind, shape, 3)
    operator, matrix = SensingOperator(mask), dense(mask)
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((2, *shape)), rng.standard_normal((2, *shape[1:]))
    video, measurement = torch.from_numpy(x), torch.from_numpy(y)
    flat_x, flat_y = x.reshape(2, -1), y.reshape(2, -1)
    np.testing.assert_allclose(
        operator.A(video).numpy().reshape(2, -1), flat_x @ matrix.T, atol=1e-11
    )
    np.testing.assert_allclose(
        operator.A_adjoint(measurement).numpy().reshape(2, -1), flat_y @ matrix, atol=1e-11
    )
    # A A^T is diagonal, and gram is that diagonal: squares, not plain sums.
    np.testing.assert_allclose(
        np.diag(operator.gram.numpy().ravel()), matrix @ matrix.T, atol=1e-11
    )
    pseudo = operator.pseudo_inverse(measurement).numpy().reshape(2, -1)
    np.testing.assert_allclose(pseudo, flat_y @ np.linalg.pinv(matrix).T, atol=1e-10)


def test_gram_of_a_grey_mask_is_not_its_sum():
    mask = torch.tensor([[[0.5]], [[0.25]]])
    assert SensingOperator(mask).gram.item() == 0.3125


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("frames", [1, 4])
def test_projection_is_the_nearest_consistent_video(kind, per_sample, frames):
    shape = (2, frames, 5, 6)
    mask = masks(kind, shape if per_sample else shape[1:], 7)
    operator = SensingOperator(mask)
    rng = torch.Generator().manual_seed(8)
    x = torch.randn(shape, generator=rng, dtype=torch.float64)
    y = torch.randn(2, 5, 6, generator=rng, dtype=torch.float64)
    projected = operator.project(x, y)
    opened = operator.open.expand(2, -1, -1)
    torch.testing.assert_close(operator.A(projected)[opened], y[opened], rtol=0, atol=1e-10)
    torch.testing.assert_close(operator.project(projected, y), projected, rtol=0, atol=1e-12)
    closed = ~opened.unsqueeze(1).expand(-1, frames, -1, -1)
    assert closed.any()
    assert torch.equal(projected[closed], x[closed])
    # Nearest (KKT): the correction lies in the range of A^T, tested against the dense matrix.
    for n in range(2):
        matrix = dense(mask[n] if per_sample else mask)
        correction = (projected - x)[n].numpy().ravel()
        multipliers, *_ = np.linalg.lstsq(matrix.T, correction, rcond=None)
        np.testing.assert_allclose(matrix.T @ multipliers, correction, atol=1e-10)


def test_projection_agrees_with_a_general_solver():
    # The same problem given to lstsq: the least-norm correction of the residual.
    mask = masks("grey", (3, 3, 4), 9)
    rng = np.random.default_rng(9)
    x, y = rng.standard_normal((1, 3, 3, 4)), rng.standard_normal((1, 3, 4))
    matrix = dense(mask)
    opened = matrix.any(axis=1)
    step, *_ = np.linalg.lstsq(
        matrix[opened], y.ravel()[opened] - matrix[opened] @ x.ravel(), rcond=None
    )
    ours = SensingOperator(mask).project(torch.from_numpy(x), torch.from_numpy(y))
    np.testing.assert_allclose(ours.numpy().ravel(), x.ravel() + step, atol=1e-10)


def test_normalized_measurement_of_a_still_scene_is_the_scene():
    # y = x * sum of masks for a scene that does not move, whatever the mask.
    mask = masks("grey", (5, 8, 9), 2)
    still = torch.rand(1, 8, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    operator = SensingOperator(mask)
    frames = operator.normalized_measurement(operator.A(still.unsqueeze(1).expand(-1, 5, -1, -1)))
    assert frames.shape == (1, 5, 8, 9)
    expected = still.clone()
    opened = mask.sum(0) > 0
    expected[:, ~opened] = still[:, opened].mean()
    torch.testing.assert_close(frames, expected.unsqueeze(1).expand(-1, 5, -1, -1))


def test_a_camera_that_is_closed_everywhere_gives_no_nan():
    operator = SensingOperator(torch.zeros(3, 4, 4))
    y, x = torch.rand(1, 4, 4), torch.rand(1, 3, 4, 4)
    assert torch.equal(operator.project(x, y), x)
    assert torch.isfinite(operator.normalized_measurement(y)).all()


def test_subset_and_precision():
    mask = masks("grey", (3, 2, 4, 4), 1)
    part = SensingOperator(mask).subset(torch.tensor([2, 0]))
    assert torch.equal(part.mask, mask[[2, 0]])
    shared = SensingOperator(mask[0])
    assert shared.subset(torch.tensor([5])) is shared
    assert shared.to(torch.float32).gram.dtype == torch.float32


def test_a_mask_of_wrong_rank_is_refused():
    with pytest.raises(ValueError, match=r"\(T, H, W\)"):
        SensingOperator(torch.ones(4, 4))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_left_over_for_a_frame_when_the_others_are_taken_out(kind):
    mask = masks(kind, (2, 4, 5, 3), 3)
    operator = SensingOperator(mask)
    rng = torch.Generator().manual_seed(5)
    truth, guess = torch.rand(2, 2, 4, 5, 3, generator=rng, dtype=torch.float64)
    y = operator.A(truth)
    rest = operator.per_frame_residual(guess, y)
    for b in range(2):
        peak = mask[b].max()
        for t in range(4):
            others = sum(mask[b, s] * guess[b, s] for s in range(4) if s != t)
            torch.testing.assert_close(rest[b, t] * peak, y[b] - others)
    # Of the true video it is each frame behind its own mask, whatever unit the mask is in.
    torch.testing.assert_close(
        operator.per_frame_residual(truth, y), mask * truth / mask.amax((1, 2, 3), True)
    )
    torch.testing.assert_close(SensingOperator(7 * mask).per_frame_residual(guess, 7 * y), rest)


def test_what_is_derived_from_an_operator_is_of_its_kind():
    class Shifted(SensingOperator):
        def A(self, video):
            return super().A(video.roll(1, -1))

    operator = Shifted(masks("grey", (2, 3, 4, 5), 0))
    video = torch.rand(1, 3, 4, 5, dtype=torch.float64)
    part = operator.subset(torch.tensor([1]))
    for derived in (part, part.to(torch.float64), part.subset(torch.tensor([0]))):
        assert type(derived) is Shifted
        torch.testing.assert_close(derived.A(video), operator.A(video)[1:])


class TestSeen:
    """Pixels that tell nothing, for one measurement of several under a shared mask."""

    def both(self, shape=(3, 4, 5, 6)):
        mask = masks("grey", shape[1:], 11)
        rng = torch.Generator().manual_seed(12)
        seen = torch.rand(shape[0], *shape[2:], generator=rng) > 0.3
        told = SensingOperator(mask, seen)
        closed = SensingOperator(mask * seen[:, None])  # the same, a mask for each sample
        x = torch.rand(shape, generator=rng, dtype=torch.float64)
        y = torch.rand(shape[0], *shape[2:], generator=rng, dtype=torch.float64)
        return told, closed, x, y

    def test_is_a_mask_closed_there(self):
        told, closed, x, y = self.both()
        # What stands at an unseen pixel does not count, however large.
        for measurement in (y, torch.where(told.seen, y, 1e6)):
            same = dict(atol=1e-12, rtol=0)
            torch.testing.assert_close(told.gram, closed.gram, **same)
            torch.testing.assert_close(told.A(x), closed.A(x), **same)
            for name in ("A_adjoint", "pseudo_inverse", "normalized_measurement"):
                ours, theirs = (getattr(o, name)(measurement) for o in (told, closed))
                torch.testing.assert_close(ours, theirs, **same)
            torch.testing.assert_close(
                told.project(x, measurement), closed.project(x, measurement), **same
            )
        y = torch.where(told.seen, y, 0.0)
        ours, theirs = (o.per_frame_residual(x, y) * o._peak for o in (told, closed))
        torch.testing.assert_close(ours, theirs, **same)

    def test_adjoint_subset_and_device(self):
        told, _, x, _ = self.both()
        assert adjoint_test(told, seed=3) <= 1e-10
        chosen = torch.tensor([2, 0])
        torch.testing.assert_close(told.subset(chosen).A(x[chosen]), told.A(x)[chosen])
        assert told.subset(chosen).mask is told.mask
        assert told.to(torch.float32).seen is told.seen
        assert told.to(torch.device("cpu")).A(x).equal(told.A(x))
