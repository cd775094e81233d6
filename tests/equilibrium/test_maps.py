"""The maps: what holds at their fixed points."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import Tensor

from deqsci_cli.equilibrium.maps import GAPMap
from deqsci_cli.equilibrium.solvers import anderson, picard
from deqsci_cli.networks.denoiser import Denoiser, FrameDenoiser
from deqsci_cli.physics.protocol import Physics, adjoint_test
from deqsci_cli.physics.sensing import SensingOperator

F64 = torch.float64
RELAXATIONS = (0.0, 0.3, 1.0)
every_map = pytest.mark.parametrize(
    "make", [functools.partial(GAPMap, consistency_relaxation=r) for r in RELAXATIONS],
    ids=[f"r={r}" for r in RELAXATIONS],
)  # fmt: skip


class Identity(FrameDenoiser):
    def denoise(self, frames: Tensor, sigma: Tensor) -> Tensor:
        return frames


class Shrink(FrameDenoiser):
    """A linear denoiser: a mean with the neighbours, the more the larger sigma is."""

    def denoise(self, frames: Tensor, sigma: Tensor) -> Tensor:
        near = sum(frames.roll(s, d) for s in (1, -1) for d in (2, 3)) / 4
        weight = sigma / (1 + sigma)
        return (1 - weight) * frames + weight * near


def camera(*, batch: int | None = None, grey: bool = True, closed: bool = True) -> SensingOperator:
    rng = torch.Generator().manual_seed(3)
    shape = (4, 6, 7) if batch is None else (batch, 4, 6, 7)
    mask = torch.rand(shape, generator=rng, dtype=F64)
    mask = mask if grey else (mask < 0.6).double()
    if closed:
        mask[..., 2, 3] = 0
    return SensingOperator(mask)


def scene(batch: int = 2) -> Tensor:
    return torch.rand(batch, 4, 6, 7, generator=torch.Generator().manual_seed(4), dtype=F64)


def disagreement(operator: SensingOperator, video: Tensor, y: Tensor) -> float:
    opened = operator.open.expand_as(y)
    return float((operator.A(video) - y)[opened].abs().max())


@every_map
@pytest.mark.parametrize("grey", [False, True])
def test_without_a_denoiser_the_fixed_point_is_the_projection_of_the_start(make, grey):
    operator = camera(grey=grey)
    y = operator.A(scene())
    f = make(operator, y, Identity(), 0.0)
    x0 = torch.zeros(2, 4, 6, 7, dtype=F64)
    found = picard(f, f.start(x0), tol=1e-13, max_iter=10)
    assert found.status == ["converged"] * 2
    assert disagreement(operator, f.video(found.x), y) < 1e-11
    if f.consistency_relaxation == 1:
        # The nearest consistent video, by an outside road: least norm from zero.
        torch.testing.assert_close(found.x, operator.project(x0, y))


def test_the_larger_the_relaxation_the_less_the_fixed_point_agrees_with_the_data():
    operator = camera(closed=False)
    y = operator.A(scene())
    misfits = []
    for r in (0.0, 0.1, 0.3, 0.7, 1.0):
        f = GAPMap(operator, y, Shrink(), 0.3, r)
        start = f.start(operator.normalized_measurement(y))
        found = anderson(f, start, tol=1e-11, max_iter=300, memory=12)
        assert found.status == ["converged"] * 2, r
        misfits.append(disagreement(operator, f.video(found.x), y))
        # By hand, where it rests: r y1 = (1 - r) (y - A x) + r y.
        white = operator.mask.sum(1)
        missing = y - operator.A(f.video(found.x))
        left, right = r * f.accumulated(found.x) * white, (1 - r) * missing + r * y
        torch.testing.assert_close(left, right, rtol=0, atol=1e-8)
    assert misfits[0] < 1e-9 and misfits[1] > 1e-4 and misfits[-1] > 1e-3
    assert misfits == sorted(misfits)


@pytest.mark.parametrize("r", RELAXATIONS)
def test_a_step_is_the_published_recursion(r):
    # Liao, Li & Carin 2014 (r = 0), DE-GAP (r = 1): y1 itself in the measurement's own units.
    operator, y, denoiser = camera(), camera().A(scene()), Shrink()
    f = GAPMap(operator, y, denoiser, 0.2, r)
    x = operator.normalized_measurement(y)
    state, y1 = f.start(x), y.clone()
    gram = operator.gram.clamp(min=1e-30)
    for _ in range(5):
        state = f(state)
        seen = (operator.mask * x).sum(1)
        y1 = (1 - r) * (y1 + y - seen) + r * y
        x = denoiser(x + operator.mask * ((y1 - seen) / gram).unsqueeze(1), 0.2)
        torch.testing.assert_close(f.video(state), x)


@every_map
def test_closed_pixels_get_no_data(make):
    operator = camera()
    y = operator.A(scene())
    f = make(operator, y, Identity(), 0.0)
    x = torch.rand(2, 4, 6, 7, dtype=F64, generator=torch.Generator().manual_seed(1))
    out = f.video(f(f(f.start(x))))
    assert torch.isfinite(out).all()
    assert torch.equal(out[..., 2, 3], x[..., 2, 3])


@every_map
@pytest.mark.parametrize("per_sample_mask", [False, True])
@pytest.mark.parametrize("per_sample_sigma", [False, True])
def test_select_is_slicing(make, per_sample_mask, per_sample_sigma):
    operator = camera(batch=3 if per_sample_mask else None)
    y = operator.A(scene(3))
    sigma = torch.tensor([0.1, 0.5, 2.0], dtype=F64) if per_sample_sigma else 0.4
    f = make(operator, y, Shrink(), sigma)
    state = f(f.start(operator.normalized_measurement(y)))
    for samples in ([1], [2, 0], [0, 1, 2]):
        index = torch.tensor(samples)
        torch.testing.assert_close(f.select(index)(state[index]), f(state)[index])


@every_map
@pytest.mark.parametrize("c", [113.0, 1e-3])
def test_the_scale_of_the_mask_cancels(make, c):
    operator = camera()
    y = operator.A(scene())
    plain = make(operator, y, Shrink(), 0.3)
    scaled = make(SensingOperator(c * operator.mask), c * y, Shrink(), 0.3)
    x = operator.normalized_measurement(y)
    a, b = plain.start(x), scaled.start(x)
    for _ in range(4):
        torch.testing.assert_close(a, b)
        a, b = plain(a), scaled(b)


@every_map
def test_start_and_video_are_inverse(make):
    operator = camera()
    x = scene()
    f = make(operator, operator.A(x), Identity(), 0.0)
    assert torch.equal(f.video(f.start(x)), x)


def test_a_closed_pixel_adds_no_eigenvalue_of_1():
    operator = camera(closed=True)
    f = GAPMap(operator, operator.A(scene(1)), Shrink(), 0.5)
    x = f.start(operator.normalized_measurement(f.measurement))
    dense = torch.autograd.functional.jacobian(f, x).reshape(x.numel(), x.numel())
    at_the_pixel = torch.zeros_like(x)
    f.accumulated(at_the_pixel)[0, 2, 3] = 1  # a view of the state
    assert not operator.open[0, 2, 3]
    assert at_the_pixel.sum() == 1
    assert torch.equal(dense @ at_the_pixel.flatten(), torch.zeros(x.numel(), dtype=F64))


class Witness(Denoiser):
    """Keeps what it is shown."""

    uses_measurement = True

    def forward(
        self,
        video: Tensor,
        sigma: float,
        normalized_measurement: Tensor,
        per_frame_residual: Tensor,
    ) -> Tensor:
        self.seen = video, sigma, normalized_measurement, per_frame_residual
        return 0.5 * video


@every_map
def test_a_denoiser_that_sees_the_measurement_is_shown_it(make):
    operator, x = camera(batch=2), scene()
    y = operator.A(x)
    witness = Witness()
    f = make(operator, y, witness, 0.25)
    state = f.start(x.flip(1))
    f(state)
    video, sigma, normalized_measurement, per_frame_residual = witness.seen
    assert sigma == 0.25
    torch.testing.assert_close(normalized_measurement, operator.normalized_measurement(y))
    torch.testing.assert_close(per_frame_residual, operator.per_frame_residual(video, y))
    if (
        f.consistency_relaxation == 1
    ):  # the video agrees with the measurement: each frame behind its own mask
        torch.testing.assert_close(video, operator.project(x.flip(1), y))
        opened = operator.open.unsqueeze(1).expand_as(per_frame_residual)
        shown = operator.mask * video / operator.mask.amax((1, 2, 3), keepdim=True)
        torch.testing.assert_close(per_frame_residual[opened], shown[opened])
    # A part of the batch is shown its own measurement.
    f.select(torch.tensor([1]))(state[1:])
    for alone, both in zip(
        witness.seen, (video, None, normalized_measurement, per_frame_residual), strict=True
    ):
        if both is not None:
            torch.testing.assert_close(alone, both[1:])


class Matrix:
    """A camera that is a matrix: `Physics` and nothing else, its measurement of any size.

    Its rows are orthogonal, so that `A A^T` is diagonal; some have a sum below 0, one is empty.
    """

    def __init__(self, matrix: Tensor, frames: tuple[int, int, int]):
        self.matrix, self.frames = matrix, frames
        self.gram = matrix.square().sum(1)[None]

    def A(self, video: Tensor) -> Tensor:
        return video.flatten(1) @ self.matrix.mT

    def A_adjoint(self, measurement: Tensor) -> Tensor:
        return (measurement @ self.matrix).unflatten(1, self.frames)

    def pseudo_inverse(self, measurement: Tensor) -> Tensor:
        return (measurement @ torch.linalg.pinv(self.matrix).mT).unflatten(1, self.frames)

    def project(self, video: Tensor, measurement: Tensor) -> Tensor:
        return video + self.pseudo_inverse(measurement - self.A(video))

    def normalized_measurement(self, measurement: Tensor) -> Tensor:
        return self.pseudo_inverse(measurement)

    def per_frame_residual(self, video: Tensor, measurement: Tensor) -> Tensor:
        return self.project(video, measurement)

    def subset(self, samples: Tensor) -> Matrix:
        return self

    def to(self, target: torch.device | torch.dtype) -> Matrix:
        return Matrix(self.matrix.to(target), self.frames)


@pytest.mark.parametrize("network", [Shrink, lambda: Witness()], ids=["alone", "with-measurement"])
@every_map
def test_any_operator_of_the_protocol_serves(make, network):
    rng = torch.Generator().manual_seed(6)
    rows = torch.linalg.qr(torch.randn(60, 11, generator=rng, dtype=F64)).Q.mT
    rows = rows * torch.linspace(0, 5, 11, dtype=F64).unsqueeze(1)  # the first measures nothing
    operator = Matrix(rows, (3, 4, 5))
    assert adjoint_test(operator) < 1e-14 and (rows.sum(1) < 0).any()
    truth = torch.rand(3, 3, 4, 5, generator=rng, dtype=F64)
    y = operator.A(truth) + torch.eye(11, dtype=F64)[0]  # noise where nothing is measured
    f = make(operator, y, network(), 0.3)
    found = anderson(f, f.start(operator.normalized_measurement(y)), tol=1e-12, max_iter=300)
    assert found.status == ["converged"] * 3
    assert f.video(found.x).shape == truth.shape
    if f.consistency_relaxation == 0:
        torch.testing.assert_close(operator.A(f.video(found.x))[:, 1:], y[:, 1:])
    # One sample has converged already: the others go on alone, to where they went before.
    start = f.start(operator.normalized_measurement(y))
    start[1] = found.x[1]
    again = anderson(f, start, tol=1e-10, max_iter=300)
    assert again.status == ["converged"] * 3 and again.evaluations[1] < min(again.evaluations[::2])
    torch.testing.assert_close(f.video(again.x), f.video(found.x), rtol=0, atol=1e-6)


@every_map
def test_a_map_reads_nothing_of_an_operator_but_the_protocol(make):
    public = {name for name in dir(Physics) if not name.startswith("_")}

    class Guarded:
        def __init__(self, operator: SensingOperator):
            self._operator = operator

        def __getattr__(self, name: str):
            assert name in public, f"the map reads .{name}"
            return getattr(self._operator, name)

    operator = camera()
    y = operator.A(scene())
    f = make(Guarded(operator), y, Witness(), 0.3)
    f.select(torch.tensor([1]))
    f(f.start(operator.normalized_measurement(y)))
