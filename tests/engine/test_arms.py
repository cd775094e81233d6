"""Two measurements of one film: from the command line, and from the library."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.io
import tifffile
from skimage.metrics import peak_signal_noise_ratio
from typer.testing import CliRunner

from deqsci_cli import reconstruct
from deqsci_cli.cli.app import app
from deqsci_cli.engine.fit import fit_of
from deqsci_cli.errors import InputError, UsageError
from deqsci_cli.io import Capture, load_capture
from deqsci_cli.reconstructor import Reconstructor


def run(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def film(tmp_path, moving_scene):
    rng = np.random.default_rng(3)
    rough = np.clip(moving_scene + 0.1 * rng.standard_normal((32, 40)), 0, 1)  # it rests
    path = tmp_path / "film.tif"
    tifffile.imwrite(path, np.rint(rough * 255).astype(np.uint8), photometric="minisblack")
    return path


@pytest.fixture
def simulated(tmp_path, film):
    """One film in two captures: by one arm, and by two."""
    for arms in (1, 2):
        run("simulate", film, "-o", tmp_path / f"{arms}.mat", "--arms", arms, "--frames", 4, "-q")
    return tmp_path


def record(folder):
    return json.loads((folder / "report.json").read_text())["measurements"]


def test_simulated_arms_are_complementary_and_add_up_to_the_light(simulated):
    two, one = (scipy.io.loadmat(simulated / f"{arms}.mat") for arms in (2, 1))
    assert two["meas"].shape == (32, 40, 2, 2) and two["mask"].shape == (32, 40, 4, 2)
    np.testing.assert_array_equal(two["mask"].sum(-1), 1)
    np.testing.assert_array_equal(two["mask"][..., 0], one["mask"])
    np.testing.assert_array_equal(two["meas"][:, :, 0], one["meas"])
    light = two["orig"].reshape(32, 40, 2, 4).astype(int).sum(-1)
    np.testing.assert_array_equal(two["meas"].astype(int).sum(2), light)


def test_two_arms_are_better_than_one(simulated):
    for arms in (1, 2):
        run(
            *("reconstruct", simulated / f"{arms}.mat", "--model", "gap-tv", "--arms", arms),
            *("-o", simulated / f"o{arms}", "--format", "h5", "--preview", "none", "-q"),
        )
    one, two = record(simulated / "o1"), record(simulated / "o2")
    assert [r["status"] for r in two] == ["converged"] * 2
    for worse, better in zip(one, two, strict=True):
        assert better["psnr"] > worse["psnr"] + 1
        assert better["misfit"] < 0.02
        assert better["mask_score"] < 0.6 and not better["warnings"]
    truth = scipy.io.loadmat(simulated / "2.mat")["orig"].transpose(2, 0, 1) / 255
    capture = load_capture(simulated / "2.mat", arms="2")
    video = reconstruct(capture.measurements, capture.mask, "gap-tv").video
    psnr = [
        peak_signal_noise_ratio(t, v, data_range=1)
        for t, v in zip(truth[:4], video[0].clip(0, 1), strict=True)
    ]
    assert np.mean(psnr) == pytest.approx(two[0]["psnr"], abs=0.02)


def test_page_benchmark_inspect_and_convert_know_them(simulated):
    capture, out = simulated / "2.mat", simulated / "o"
    pytest.importorskip("matplotlib")
    common = ("--model", "gap-tv", "--arms", "2", "--measurements", "0")
    run("reconstruct", capture, *common, "-o", out, "--report", "--preview", "none", "-q")
    assert "is not shown" not in (out / "report.html").read_text()
    common = ("--models", *common[1:])
    run("evaluate", "--benchmark", capture, *common, "-o", simulated / "b", "-q")
    figures = json.loads((simulated / "b" / "benchmark.json").read_text())["scores"]
    assert figures[0]["psnr"] == pytest.approx(record(out)[0]["psnr"], abs=1e-3)
    facts = json.loads(run("inspect", capture, "--arms", "2", "--json").stdout)
    assert (facts["capture"]["arms"], facts["capture"]["frames"]) == (2, 4)
    run("convert", capture, simulated / "c.h5", "--arms", "2")
    run("convert", simulated / "c.h5", simulated / "d.mat", "--arms", "2")
    there, back = (scipy.io.loadmat(simulated / f"{name}.mat") for name in ("2", "d"))
    for name in ("meas", "mask", "orig"):
        np.testing.assert_array_equal(there[name], back[name])


def test_a_camera_that_tells_its_arms_is_simulated_with_them(simulated, film):
    (simulated / "lab.toml").write_text('arms = "complement"\nmask = "1.mat"')
    out = simulated / "e.h5"
    run("simulate", film, "-o", out, "--camera", simulated / "lab.toml", "-q")
    capture = load_capture(out, arms="2")
    mask = scipy.io.loadmat(simulated / "1.mat")["mask"].transpose(2, 0, 1)
    np.testing.assert_array_equal(capture.mask, [mask, 1 - mask])


@pytest.mark.parametrize(
    ("command", "match"),
    [
        (("simulate", "film.tif", "-o", "x.tif", "--arms", "2"), "TIFF has no axis"),
        (("simulate", "film.tif", "-o", "x.mat", "--arms", "3"), "3 arms is not simulated"),
        (
            ("calibrate", "2.mat", "-o", "x.h5", "--fit", "shift", "--arms", "2"),
            "calibrate takes captures of one arm",
        ),
        (("models", "diagnose", "gap-tv", "2.mat", "--arms", "2"), "diagnose takes"),
        (("adapt", "2.mat", "-o", "x", "--arms", "2"), "adapt takes"),
    ],
)
def test_what_is_not_done_with_arms_is_an_error(simulated, command, match, monkeypatch):
    monkeypatch.chdir(simulated)
    with pytest.raises(UsageError, match=match):
        run(*command)


def test_a_sweep_is_not_done_with_arms(simulated):
    result = run(
        *("evaluate", "--benchmark", simulated / "2.mat", "--arms", "2", "--models", "gap-tv"),
        *("--sweep", "noise=0.01", "-o", simulated / "s"),
    )
    assert result.exit_code and "a sweep takes captures of one arm" in result.output


def test_arrays_that_are_no_arms_are_refused():
    rng = np.random.default_rng(0)
    y, masks = rng.random((2, 8, 8)), rng.random((2, 3, 8, 8))
    for measurement, mask in ((y[0], masks), (y, masks[:1]), (y[None, None], masks)):
        with pytest.raises(InputError, match="must be"):
            reconstruct(measurement, mask, "gap-tv")
    with pytest.raises(InputError, match="where white is 1"):
        reconstruct(y * 1000, masks, "gap-tv")


def test_a_pixel_unseen_in_one_arm_is_told_by_the_other(moving_scene):
    """What such a pixel holds does not matter, and the film is nearly that without it."""
    rng = np.random.default_rng(1)
    mask = (rng.random(moving_scene.shape) < 0.5).astype(np.float32)
    masks = np.stack([mask, 1 - mask])
    y = (masks * moving_scene).sum(1)[None]
    seen = np.ones(y.shape, bool)
    seen[0, 0, 10:14, 10:14] = False
    model = Reconstructor("gap-tv", device="cpu")
    films = [model(np.where(seen, y, value), masks, seen=seen).x.numpy() for value in (0.0, 1e3)]
    np.testing.assert_array_equal(*films)
    assert np.abs(films[0][0] - moving_scene).mean() < 0.02


def test_a_fit_tells_which_arm_has_another_mask(moving_scene, tmp_path):
    big = np.tile(moving_scene, (1, 2, 2))
    rng = np.random.default_rng(1)
    mask = (rng.random(big.shape) < 0.5).astype(np.float32)
    masks = np.stack([mask, 1 - mask])
    y = (masks * big).sum(1)[None].astype(np.float32)
    right = Capture(tmp_path, y, masks, None, 1.0, "")
    assert fit_of(right, 0, big).misfit == pytest.approx(0, abs=1e-6)
    assert not fit_of(right, 0, big).warnings
    wrong = Capture(tmp_path, y, np.stack([mask, 1 - mask[:, ::-1]]), None, 1.0, "")
    (warning,) = fit_of(wrong, 0, big).warnings
    assert warning.startswith("arm 2: ") and "flipped up-down" in warning
