"""`reconstruct` as a user meets it: files, report, table, JSON."""

from __future__ import annotations

import json

import h5py
import imageio.v3 as iio
import numpy as np
import pytest
import scipy.io
import tifffile
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from deqsci_cli import zoo
from deqsci_cli.errors import OutputExistsError, UsageError
from deqsci_cli.networks.registry import build

PROMISED = (
    "input",
    "output",
    "model",
    "status",
    "evaluations",
    "residual",
    "residual_trace",
    "seconds",
    "psnr",
    "ssim",
)


def report_of(folder):
    return json.loads((folder / "report.json").read_text())


def test_report_and_film_agree_with_other_libraries(run, capture, tmp_path):
    run("reconstruct", capture, "--model", "gap-tv", "-o", tmp_path / "o")
    report = report_of(tmp_path / "o")
    assert report["schema"] == "deqsci-report/2"
    first, second = report["measurements"]
    assert set(PROMISED) <= set(first)
    truth = scipy.io.loadmat(capture)["orig"].transpose(2, 0, 1) / 255
    film = tifffile.imread(first["output"]) / first["scale"]
    assert film.shape == (8, 32, 40)
    seen = film.clip(0, 1)
    peaks = [peak_signal_noise_ratio(t, f, data_range=1) for t, f in zip(truth, seen, strict=True)]
    frame_ssim = [
        structural_similarity(
            t, f, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        for t, f in zip(truth, seen, strict=True)
    ]
    assert first["psnr"] == pytest.approx(np.mean(peaks), abs=1e-3)
    assert first["ssim"] == pytest.approx(np.mean(frame_ssim), abs=1e-4)
    assert second["psnr"] is None and second["ssim"] is None
    assert first["status"] == "converged"
    assert first["residual"] == min(first["residual_trace"]) <= 3e-4
    assert len(first["residual_trace"]) == first["evaluations"]
    assert report["provenance"]["inputs"][0]["sha256"]


def test_with_symmetries_a_turned_capture_gives_the_turned_film(run, capture, tmp_path):
    # D(x) is half of x and a quarter of its left neighbour: it leans to the right.
    network = build("cnn", {"channels": 2, "depth": 2})
    state = {k: torch.zeros_like(v) for k, v in network.state_dict().items()}
    state["layers.0.weight"][:, 0, 1, 1] = torch.tensor([1.0, -1.0])
    state["layers.1.weight"][0, :, 1, 1] = torch.tensor([0.5, -0.5])
    state["layers.1.weight"][0, :, 1, 0] = torch.tensor([-0.25, 0.25])
    network.load_state_dict(state)
    card = zoo.Card("leaning", "", "cnn", {"channels": 2, "depth": 2}, {})
    zoo.save_model(tmp_path / "leaning", network, card, overwrite=False)
    parts = {name: scipy.io.loadmat(capture)[name] for name in ("meas", "mask")}
    turned = tmp_path / "turned.mat"
    scipy.io.savemat(turned, {name: np.rot90(part, 2) for name, part in parts.items()})
    distance = {}
    for count in (1, 4):
        out, films = tmp_path / str(count), []
        alike = ("--model", tmp_path / "leaning", "--symmetries", count, "--tol", "1e-6")
        run("reconstruct", capture, turned, *alike, "--measurements", "0", "-o", out)
        for record in report_of(out)["measurements"]:
            assert record["status"] == "converged"
            films.append(tifffile.imread(record["output"]) / record["scale"])
        distance[count] = np.abs(np.rot90(films[1], 2, (1, 2)) - films[0]).max()
    assert distance[4] < 1e-4 < 0.005 < distance[1]


def test_film_formats_hold_the_same_frames(run, capture, tmp_path):
    for kind in ("tif", "mat", "h5"):
        run("reconstruct", capture, "--model", "gap-tv", "-o", tmp_path / kind, "--format", kind)
    tif = tifffile.imread(tmp_path / "tif" / "scene_0.tif")
    mat = scipy.io.loadmat(tmp_path / "mat" / "scene_0.mat")["video"].transpose(2, 0, 1)
    with h5py.File(tmp_path / "h5" / "scene_0.h5") as file:
        h5 = file["video"][()]
    np.testing.assert_array_equal(tif, mat)
    np.testing.assert_array_equal(tif, h5)
    with tifffile.TiffFile(tmp_path / "tif" / "scene_0.tif") as file:
        assert file.is_imagej and file.series[0].axes == "TYX"


def test_previews(run, capture, tmp_path):
    run(
        *("reconstruct", capture, "--model", "gap-tv", "--measurements", "0"),
        *("-o", tmp_path / "o", "--preview", "gif,png,mp4"),
    )
    assert iio.imread(tmp_path / "o" / "scene_0.gif").shape[:3] == (8, 32, 40)
    assert iio.imread(tmp_path / "o" / "scene_0.mp4", plugin="pyav").shape[:3] == (8, 32, 40)
    assert iio.imread(tmp_path / "o" / "scene_0.png").ndim == 2
    again = ("reconstruct", capture, "--model", "gap-tv", "-o", tmp_path / "o", "--resume")
    run(*again, "--preview", "gif", "--contrast", "full", "--fps", "25", "--measurements", "0")
    assert iio.immeta(tmp_path / "o" / "scene_0.gif")["duration"] == 40
    film = tifffile.imread(tmp_path / "o" / "scene_0.tif") / 255
    shown = iio.imread(tmp_path / "o" / "scene_0.gif", mode="L")
    np.testing.assert_allclose(shown, np.clip(film, 0, 1) * 255, atol=0.51)
    run("reconstruct", capture, "--model", "gap-tv", "-o", tmp_path / "p", "--preview", "none")
    assert not list((tmp_path / "p").glob("*.gif"))


def test_json_lines_are_the_reports_records(run, capture, tmp_path):
    result = run("reconstruct", capture, "--model", "gap-tv", "-o", tmp_path / "o", "--json", "-q")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert lines == report_of(tmp_path / "o")["measurements"]


@pytest.mark.parametrize(
    ("text", "chosen"), [("0", [0]), ("1:", [1]), ("0:2", [0, 1]), ("-1", [1]), ("1,0", [1, 0])]
)
def test_measurements_are_chosen(run, capture, tmp_path, text, chosen):
    run(
        *("reconstruct", capture, "--model", "gap-tv", "-o", tmp_path / "o"),
        *("--measurements", text, "--max-iter", "1"),
    )
    assert [r["index"] for r in report_of(tmp_path / "o")["measurements"]] == chosen


def test_a_measurement_that_is_not_there(run_code, capture, tmp_path):
    code = run_code(
        *("reconstruct", capture, "--model", "gap-tv", "-o", tmp_path / "o"),
        *("--measurements", "7"),
    )
    assert code == 2


def test_dry_run_writes_nothing(run, capture, tmp_path):
    result = run("reconstruct", capture, "--model", "gap-tv", "-o", tmp_path / "o", "--dry-run")
    assert "scene_0.tif" in result.stdout
    assert not (tmp_path / "o").exists()


def test_quoted_glob_and_equal_names(run, capture, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "scene.mat").write_bytes(capture.read_bytes())
    run(
        *("reconstruct", tmp_path / "[ab]" / "*.mat", "--model", "gap-tv"),
        *("-o", tmp_path / "o", "--measurements", "0", "--max-iter", "1"),
    )
    outputs = {r["output"] for r in report_of(tmp_path / "o")["measurements"]}
    assert len(outputs) == 2


def test_overwrite_only_when_told(run, capture, tmp_path):
    arguments = ("reconstruct", capture, "--model", "gap-tv", "-o", tmp_path / "o")
    run(*arguments)
    with pytest.raises(OutputExistsError):
        run(*arguments)
    run(*arguments, "--overwrite", "--measurements", "1")
    assert [r["index"] for r in report_of(tmp_path / "o")["measurements"]] == [1]


def test_mask_in_a_file_of_its_own(run, capture, tmp_path):
    content = scipy.io.loadmat(capture)
    scipy.io.savemat(tmp_path / "m.mat", {"meas": content["meas"]})
    scipy.io.savemat(tmp_path / "cal.mat", {"aperture": content["mask"]})
    run(
        *("reconstruct", tmp_path / "m.mat", "--mask", tmp_path / "cal.mat", "--model", "gap-tv"),
        *("-o", tmp_path / "o", "--scale", "255"),
    )
    run("reconstruct", capture, "--model", "gap-tv", "-o", tmp_path / "p")
    np.testing.assert_array_equal(
        tifffile.imread(tmp_path / "o" / "m_0.tif"), tifffile.imread(tmp_path / "p" / "scene_0.tif")
    )


def test_float64_meets_a_tolerance_that_float32_cannot(run, capture, tmp_path):
    run(
        *("reconstruct", capture, "--model", "gap-tv", "-o", tmp_path / "o", "--dtype", "float64"),
        *("--tol", "1e-9", "--max-iter", "500", "--measurements", "0"),
    )
    assert report_of(tmp_path / "o")["measurements"][0]["residual"] <= 1e-9


def test_every_output_tells_where_it_comes_from(run, capture, tmp_path):
    run("reconstruct", capture, "--model", "gap-tv", "-o", tmp_path / "o", "--format", "h5")
    with h5py.File(tmp_path / "o" / "scene_1.h5") as file:
        origin = json.loads(file.attrs["provenance"])
    assert origin["measurement"] == 1 and origin["model"]["name"] == "gap-tv"
    assert origin["config"]["equilibrium"]["tol"] == 3e-4


def test_a_name_that_two_inputs_share_is_refused_when_it_cannot_be_told_apart(
    run, capture, tmp_path
):
    inputs = []
    for folder in ("x/a", "y/a"):
        (tmp_path / folder).mkdir(parents=True)
        inputs.append(tmp_path / folder / "scene.mat")
        inputs[-1].write_bytes(capture.read_bytes())
    with pytest.raises(UsageError, match="separate runs"):
        run("reconstruct", *inputs, "--model", "gap-tv", "-o", tmp_path / "o")


def test_a_region_of_interest(run, capture, tmp_path):
    """The model inside, gap-tv outside; the regions are told, and tiles change nothing."""
    common = ("reconstruct", capture, "--measurements", "0", "--preview", "none", "--verbose")
    run(*common, "--model", "gap-tv", "-o", tmp_path / "tv")
    pnp = ("--model", "pnp-ffdnet", "--max-iter", "3", "--roi", "0,0,8,8", "--tile", "8")
    result = run(*common, *pnp, "-o", tmp_path / "roi")
    assert "8x8+0+0" in result.stdout and "max_iter" in result.stdout
    (record,) = report_of(tmp_path / "roi")["measurements"]
    (region,) = record["roi"]
    assert (region["height"], region["evaluations"]) == (8, record["evaluations"])
    films = [tifffile.imread(tmp_path / name / "scene_0.tif") for name in ("roi", "tv")]
    assert np.array_equal(films[0][:, 24:], films[1][:, 24:])
    assert not np.array_equal(films[0][:, :8, :8], films[1][:, :8, :8])
    again = run(*common, *pnp[:-1], "none", "-o", tmp_path / "roi", "--resume")
    assert "1 skipped" in again.stderr


def test_a_region_or_a_tile_that_is_none(run, capture, tmp_path):
    with pytest.raises(UsageError, match="is no rectangle"):
        run("reconstruct", capture, "-o", tmp_path / "o", "--roi", "1,2,3")
    with pytest.raises(UsageError, match="is no tile"):
        run("reconstruct", capture, "-o", tmp_path / "o", "--tile", "small")
