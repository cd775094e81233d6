"""The public API: every name of `__all__`, imported when it is first used, with its types."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import deqsci_cli
from deqsci_cli import zoo
from deqsci_cli.errors import InputError, ModelError

REPOSITORY = Path(__file__).resolve().parents[1]
SMALL = deqsci_cli.EquilibriumSettings(max_iter=5)


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def scene():
    """A measurement `(16, 20)` by NumPy alone, its mask and its film of three frames."""
    rng = np.random.default_rng(0)
    mask = (rng.random((3, 16, 20)) < 0.5).astype(np.float32)
    film = np.broadcast_to(np.linspace(0.2, 0.8, 20, dtype=np.float32), mask.shape)
    return np.einsum("thw,thw->hw", mask, film), mask, film


def test_every_public_name_is_there_and_type_checkers_are_told_of_the_same():
    tree = ast.parse(Path(deqsci_cli.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    typed = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert {*typed, "__version__"} == set(deqsci_cli.__all__) <= set(dir(deqsci_cli))
    for name, (module, own_name) in typed.items():
        __import__(module)
        assert getattr(deqsci_cli, name) is getattr(sys.modules[module], own_name), name
        assert inspect.getdoc(getattr(deqsci_cli, name)), name
    with pytest.raises(AttributeError, match="no attribute 'reconstuct'"):
        deqsci_cli.reconstuct  # noqa: B018


def test_nothing_is_imported_before_it_is_used():
    seen = "import sys, deqsci_cli as d; dir(d); d.__version__; {}; print('torch' in sys.modules)"
    assert run(seen.format("d.load_capture")) == "False"
    assert run(seen.format("d.reconstruct")) == "True"


def test_arrays_in_a_film_out_in_five_lines():
    code = (
        "import deqsci_cli as d\n"
        "capture = d.load_capture('sample_data/wheel.mat')\n"
        "y, mask = capture.measurements[0][:32, :32], capture.mask[:, :32, :32]\n"
        "print(d.reconstruct(y, mask).status)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY
    )
    assert done.stdout == "['converged']\n", done.stderr


def half(video, sigma):
    return 0.5 * video + 0.25


@pytest.mark.parametrize(
    "model",
    ["gap-tv", zoo.find("gap-tv"), str(zoo.find("gap-tv")), zoo.load("gap-tv"), half],
    ids=["name", "path", "path as text", "model", "callable"],
)
def test_a_model_is_named_lies_in_a_folder_is_loaded_or_is_a_function(scene, model):
    y, mask, _ = scene
    one = deqsci_cli.reconstruct(y, mask, model, SMALL)
    assert type(one.video) is np.ndarray and one.video.shape == mask.shape
    two = deqsci_cli.reconstruct(np.stack([y, y / 2]), mask, model, SMALL)
    assert two.video.shape == (2, *mask.shape)
    np.testing.assert_array_equal(two.video[0], one.video)
    for result, count in ((one, 1), (two, 2)):
        figures = (result.status, result.residual, result.evaluations, result.residual_trace)
        assert [len(figure) for figure in figures] == [count] * 4
        for residual, evaluations, trace in zip(*figures[1:], strict=True):
            assert len(trace) == evaluations and residual == min(trace)


def test_the_residual_is_that_of_the_map(scene):
    """Of r = 1, whose map is written down here: project, then denoise."""
    y, mask, _ = scene
    settings = deqsci_cli.EquilibriumSettings(
        consistency_relaxation=1.0, solver="picard", start="adjoint", max_iter=3, tol=1e-12
    )
    found = deqsci_cli.reconstruct(y, mask, half, settings, dtype="float64")
    gram = np.where((mask**2).sum(0) > 0, (mask**2).sum(0), 1)
    x, trace = mask * y, []
    for _ in range(3):
        fx = 0.5 * (x + mask * ((y - (mask * x).sum(0)) / gram)) + 0.25
        trace.append(np.linalg.norm(fx - x) / np.linalg.norm(fx))
        x = fx
    np.testing.assert_allclose(found.video, x, atol=1e-6)
    np.testing.assert_allclose(found.residual_trace[0], trace, rtol=1e-5)


def test_a_path_is_a_folder_and_never_a_name(scene, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="no model lies here"):
        deqsci_cli.reconstruct(*scene[:2], Path("gap-tv"))
    with pytest.raises(ModelError, match="did you mean gap-tv"):
        deqsci_cli.reconstruct(*scene[:2], "gap-vt")


def test_simulated_measurements(scene):
    y, mask, film = scene
    np.testing.assert_allclose(deqsci_cli.simulate(film, mask), y, rtol=1e-6)
    both = deqsci_cli.simulate(np.stack([film, film / 2]), mask)
    np.testing.assert_allclose(both, [y, y / 2], rtol=1e-6)
    noise = deqsci_cli.SensorNoise(read=0.1)
    noisy = deqsci_cli.simulate(film, mask, noise, seed=1)
    np.testing.assert_array_equal(noisy, deqsci_cli.simulate(film, mask, noise, seed=1))
    assert not np.array_equal(noisy, deqsci_cli.simulate(film, mask, noise, seed=2))
    assert np.std(noisy - y) == pytest.approx(0.1, rel=0.15)
    for wrong in (film[0], film[:2], film[:, 1:], film[None, None]):
        with pytest.raises(InputError, match="the film is"):
            deqsci_cli.simulate(wrong, mask)
