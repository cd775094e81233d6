"""Operators of several measurements, against those of one and against written-out matrices."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deqsci_cli.physics.arms import ArmsOperator
from deqsci_cli.physics.protocol import adjoint_test
from deqsci_cli.physics.sensing import SensingOperator
from deqsci_cli.physics.sequence import SequenceOperator

T, H, W, N, K = 3, 4, 5, 4, 2


def draw(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).random(shape))


@pytest.mark.parametrize("with_seen", [False, True])
def test_a_recording_is_its_measurements_one_by_one(with_seen):
    mask, x, y = draw(N * T, H, W), draw(2, N * T, H, W, seed=1), draw(2, N, H, W, seed=2)
    mask[::T, 0, 0] = 1  # all reach the same peak, by which what is left is divided
    seen = draw(2, N, H, W, seed=3) > 0.3 if with_seen else None
    whole = SequenceOperator(mask, N, seen)
    assert adjoint_test(whole) <= 1e-10
    for n in range(N):
        frames = slice(n * T, (n + 1) * T)
        one = SensingOperator(mask[frames], None if seen is None else seen[:, n])
        torch.testing.assert_close(whole.A(x)[:, n], one.A(x[:, frames]))
        torch.testing.assert_close(whole.A_adjoint(y)[:, frames], one.A_adjoint(y[:, n]))
        torch.testing.assert_close(
            whole.project(x, y)[:, frames], one.project(x[:, frames], y[:, n])
        )
        same = torch.where(one.open, y[:, n], 0.0)
        torch.testing.assert_close(
            whole.per_frame_residual(x, torch.where(whole.open, y, 0.0))[:, frames],
            one.per_frame_residual(x[:, frames], same),
        )
    assert whole.to(torch.float32).A(x.float()).shape == (2, N, H, W)


def matrix(masks: torch.Tensor, pixel: tuple[int, int]) -> np.ndarray:
    """(K, T): what one pixel measures of its frames."""
    return masks[:, :, pixel[0], pixel[1]].numpy()


@pytest.mark.parametrize("kind", ["complementary", "grey", "repeated", "closed"])
def test_arms_are_their_matrices(kind):
    first = (draw(T, H, W) > 0.5).double()
    masks = {
        "complementary": torch.stack((first, 1 - first)),
        "grey": draw(K, T, H, W, seed=5),
        "repeated": torch.stack((first, first)),
        "closed": torch.stack((first, torch.zeros_like(first))),
    }[kind]
    operator = ArmsOperator(masks)
    assert adjoint_test(operator) <= 1e-10
    x, y = draw(2, T, H, W, seed=1), draw(2, K, H, W, seed=2)
    pseudo, projected = operator.pseudo_inverse(y), operator.project(x, y)
    for pixel in np.ndindex(H, W):
        a, here = matrix(masks, pixel), (slice(None), slice(None), *pixel)
        inverse = np.linalg.pinv(a, rcond=1e-8)
        np.testing.assert_allclose(operator.A(x)[here], x[here].numpy() @ a.T, atol=1e-12)
        np.testing.assert_allclose(pseudo[here], y[here].numpy() @ inverse.T, atol=1e-9)
        want = x[here].numpy() + (y[here].numpy() - x[here].numpy() @ a.T) @ inverse.T
        np.testing.assert_allclose(projected[here], want, atol=1e-9)


def test_arms_of_large_pictures_are_inverted_whole():
    """More pixels than are inverted at once: data that agree are met by the projection."""
    generator = torch.Generator().manual_seed(0)
    masks, x = (torch.rand(n, T, 150, 160, generator=generator).double() for n in (K, 1))
    operator = ArmsOperator(masks)
    y = operator.A(x)
    torch.testing.assert_close(operator.A(operator.project(torch.zeros_like(x), y)), y)


def test_unseen_pixels_of_one_arm_leave_the_other():
    masks, x, y = draw(K, T, H, W, seed=5), draw(2, T, H, W), draw(2, K, H, W, seed=2)
    seen = torch.ones(2, K, H, W, dtype=torch.bool)
    seen[:, 1] = False
    told, alone = ArmsOperator(masks, seen), SensingOperator(masks[0])
    assert adjoint_test(told) <= 1e-10
    torch.testing.assert_close(told.project(x, y), alone.project(x, y[:, 0]))
    torch.testing.assert_close(
        told.normalized_measurement(y), alone.normalized_measurement(y[:, 0])
    )
    torch.testing.assert_close(
        told.subset(torch.tensor([1])).project(x[1:], y[1:]), told.project(x, y)[1:]
    )
