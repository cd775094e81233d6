"""What users add by name is found and used: solvers, starts, maps, denoisers of other packages."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deqsci_cli.equilibrium.maps import GAPMap
from deqsci_cli.equilibrium.model import solve
from deqsci_cli.equilibrium.registries import MAPS, SOLVERS, STARTS
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.equilibrium.solvers import picard
from deqsci_cli.errors import ModelError, UsageError
from deqsci_cli.networks.registry import ARCHITECTURES, build
from deqsci_cli.physics.sensing import SensingOperator
from deqsci_cli.reconstructor import Reconstructor, reconstruct
from deqsci_cli.registry import Registry

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
REGISTRIES = (SOLVERS, STARTS, MAPS, ARCHITECTURES)


@pytest.fixture(autouse=True)
def as_it_was():
    """The registries after a test are those before it."""
    before = [dict(registry) for registry in REGISTRIES]
    yield
    for registry, known in zip(REGISTRIES, before, strict=True):
        registry.clear()
        registry.update(known)


@pytest.fixture
def camera() -> tuple[SensingOperator, Tensor]:
    rng = torch.Generator().manual_seed(0)
    operator = SensingOperator((torch.rand(3, 8, 8, generator=rng) < 0.5).float())
    return operator, operator.A(torch.rand(2, 3, 8, 8, generator=rng))


def shrink(video: Tensor, sigma: float) -> Tensor:
    return 0.9 * video + 0.05


def test_ones_own_solver_start_and_map_are_used_with_the_settings_that_they_name(camera):
    operator, y = camera
    told = {}

    @SOLVERS.register("half-steps")
    def half_steps(f, x0, *, max_iter, memory, on_iteration):
        told["solver"] = max_iter, memory
        return picard(f, x0, tol=1e-9, max_iter=max_iter, relaxation=0.5, on_iteration=on_iteration)

    @STARTS.register("grey")
    def grey(operator, measurement):
        return torch.full_like(operator.A_adjoint(measurement), 0.5)

    @MAPS.register("twice")
    class Twice(GAPMap):
        def denoise(self, video):
            told["map"] = self.sigma, self.consistency_relaxation
            return super().denoise(super().denoise(video))

    settings = EquilibriumSettings(
        map="twice", solver="half-steps", start="grey", sigma=0.07, consistency_relaxation=1.0,
        max_iter=4, memory=3,
    )  # fmt: skip
    found = solve(shrink, operator, y, settings)
    assert told == {"solver": (4, 3), "map": (0.07, 1.0)} and found.evaluations == [4, 4]
    x = torch.full((2, 3, 8, 8), 0.5)
    for _ in range(4):  # by hand; what is returned is f(x) of the last x
        fx = shrink(shrink(operator.project(x, y), 0), 0)
        x = 0.5 * (x + fx)
    torch.testing.assert_close(found.x, fx)


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda r: r.kind)
def test_a_name_is_given_once(registry):
    taken = next(iter(registry))
    with pytest.raises(ValueError, match=f"there is a {registry.kind} '{taken}' already"):
        registry.register(taken)(shrink)
    for _ in range(2):  # a cell of a notebook that is run again
        registry.register("mine")(shrink)
    assert registry.find("mine") is shrink
    with pytest.raises(UsageError, match=f"no {registry.kind} 'mien'.*did you mean mine"):
        registry.find("mien")


class Mean(nn.Module):
    """A denoiser of another library: a module, but none of ours."""

    def __init__(self, size: int = 3):
        super().__init__()
        self.weight = nn.Parameter(torch.full((1, 1, size, size), 1 / size**2))

    def forward(self, frames: Tensor, sigma: Tensor | float) -> Tensor:
        return nn.functional.conv2d(frames, self.weight, padding="same")


class Frames(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Mean()

    def forward(self, video: Tensor, sigma: Tensor | float) -> Tensor:
        return self.inner(video.flatten(0, 1).unsqueeze(1), sigma).view_as(video)


@pytest.mark.parametrize("r", [0.0, 1.0])
@pytest.mark.parametrize("make", [lambda: shrink, Frames], ids=["function", "module"])
@pytest.mark.parametrize("more", [{}, {"symmetries": 2}, {"warmup": ((0.2, 2),)}], ids=str)
def test_any_callable_serves_as_a_denoiser(camera, make, r, more):
    operator, y = camera
    settings = EquilibriumSettings(consistency_relaxation=r, max_iter=5, **more)
    found = solve(make(), operator, y, settings)
    assert found.x.shape == (2, 3, 8, 8) and torch.isfinite(found.x).all()
    f = GAPMap(operator, y, make(), 0.1, r)
    assert f.video(f(f.start(found.x))).shape == found.x.shape


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_arrays_are_reconstructed_by_any_callable(camera, dtype):
    operator, y = camera
    settings = EquilibriumSettings(max_iter=3)
    run = Reconstructor(Frames(), settings, device="cpu", dtype=dtype)
    found = run(y.numpy(), operator.mask[0].numpy())
    assert found.x.shape == (2, 3, 8, 8) and torch.isfinite(found.x).all()
    alone = reconstruct(y[0].numpy(), operator.mask[0].numpy(), shrink, device="cpu")
    assert alone.status == ["converged"]


def test_a_denoiser_that_returns_another_shape_is_told(camera):
    with pytest.raises(UsageError, match=r"made \(2, 3, 4, 4\) of a video \(2, 3, 8, 8\)"):
        solve(lambda video, sigma: video[..., ::2, ::2], *camera, EquilibriumSettings())


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package that offers two denoisers, one of which cannot be imported."""
    (tmp_path / "blurring.py").write_text(
        "import torch\n"
        "def blur(width: int = 3):\n"
        "    def denoise(video, sigma):\n"
        "        return torch.nn.functional.avg_pool2d(video, width, 1, width // 2)\n"
        "    return denoise\n"
    )
    info = tmp_path / "blurring-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: blurring\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[deqsci.denoisers]\nblur = blurring:blur\nbroken = not_there_at_all:x\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("blurring", None)


def test_a_denoiser_of_an_installed_package_is_an_architecture(camera, package):
    operator, y = camera
    network = build("blur", {"width": 5})
    video = torch.rand(1, 3, 8, 8)
    expected = torch.nn.functional.avg_pool2d(video, 5, 1, 2)
    torch.testing.assert_close(network(video, 0.1), expected)
    assert solve(network, operator, y, EquilibriumSettings(max_iter=3)).x.shape == (2, 3, 8, 8)
    with pytest.raises(ModelError, match="'width' must be a whole number"):
        build("blur", {"width": "wide"})
    with pytest.raises(UsageError, match=r"did you mean blur\?.*video, blur, broken"):
        build("blurr")
    with pytest.raises(UsageError, match="'broken' cannot be loaded: No module") as refused:
        build("broken")
    assert "not_there_at_all" in str(refused.value.hint)


def test_without_a_group_nothing_of_other_packages_is_looked_for(package):
    assert Registry("thing").names() == []


def test_the_example_of_deepinv_runs_or_says_that_it_is_not_installed(capsys):
    try:
        runpy.run_path(str(EXAMPLES / "deepinv_denoiser.py"), run_name="__main__")
    except SystemExit as end:
        assert end.code == 0
        assert "deepinv is not installed" in capsys.readouterr().out
    else:
        assert float(capsys.readouterr().out.split(" dB")[0]) > 20


def test_the_example_of_deepinv_works_with_a_library_of_that_name(tmp_path, monkeypatch, capsys):
    (tmp_path / "deepinv").mkdir()
    (tmp_path / "deepinv" / "__init__.py").write_text("")
    (tmp_path / "deepinv" / "models.py").write_text(
        "from deqsci_cli.networks.tv import TotalVariation\n"
        "class TVDenoiser:\n"
        "    def __init__(self, n_it_max):\n"
        "        self.tv = TotalVariation(n_it_max)\n"
        "    def __call__(self, frames, sigma):\n"
        "        assert frames.shape[1] == 1\n"
        "        return self.tv(frames, sigma)\n"
    )
    for name in [n for n in sys.modules if n.partition(".")[0] == "deepinv"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        runpy.run_path(str(EXAMPLES / "deepinv_denoiser.py"), run_name="__main__")
    finally:
        sys.modules.pop("deepinv", None)
        sys.modules.pop("deepinv.models", None)
    assert float(capsys.readouterr().out.split(" dB")[0]) > 20


def test_numbers_of_numpy_are_no_matter(camera):
    operator, y = camera
    assert solve(shrink, operator, y, EquilibriumSettings(sigma=np.float32(0.1))).x.shape[0] == 2


@pytest.mark.parametrize("registry", (SOLVERS, STARTS, MAPS), ids=lambda registry: registry.kind)
def test_what_is_told_without_an_import_is_what_is_registered(registry):
    assert set(registry.homes) == set(registry)
    for name, home in registry.homes.items():
        registry.check(name)
        assert registry.find(name).__module__ == home


def test_a_name_is_taken_before_its_module_is_imported():
    registry = Registry("start", homes={"grey": "deqsci_cli.equilibrium.solvers"})
    assert registry.names() == ["grey"] and not registry
    registry.check("grey")
    with pytest.raises(UsageError, match=r"no start 'gray' \(did you mean grey"):
        registry.check("gray")
