"""The other commands: simulate, evaluate, convert, inspect, models, train."""

from __future__ import annotations

import json
from dataclasses import fields

import h5py
import imageio.v3 as iio
import numpy as np
import pytest
import scipy.io
import tifffile
from PIL import Image
from typer.main import get_command

from deqsci_cli.cli.app import app
from deqsci_cli.engine.batch.plan import ReconstructConfig
from deqsci_cli.errors import InputError, OutputExistsError, UsageError


@pytest.fixture
def video(tmp_path, moving_scene):
    """Twenty frames as a TIFF stack that tifffile alone wrote."""
    film = np.concatenate([moving_scene, moving_scene[::-1], moving_scene[:4]])
    path = tmp_path / "clip.tif"
    tifffile.imwrite(path, np.rint(film * 255).astype(np.uint8), photometric="minisblack")
    return path


def test_simulated_measurement_is_the_sum_of_coded_frames(run, video, tmp_path):
    run("simulate", video, "-o", tmp_path / "c.mat", "--frames", "4", "--start", "2", "--seed", "3")
    content = scipy.io.loadmat(tmp_path / "c.mat")
    truth, mask, meas = (content[k].astype(float) for k in ("orig", "mask", "meas"))
    assert meas.shape == (32, 40, 4) and mask.shape == (32, 40, 4) and truth.shape == (32, 40, 16)
    np.testing.assert_array_equal(truth.transpose(2, 0, 1), tifffile.imread(video)[2:18])
    for n in range(4):
        coded = (truth[..., 4 * n : 4 * n + 4] * mask).sum(2)
        np.testing.assert_allclose(meas[..., n], coded, atol=1e-3)


def test_simulation_is_decided_by_its_seed(run, video, tmp_path):
    def meas(name, seed):
        run(
            *("simulate", video, "-o", tmp_path / name, "--seed", seed, "--count", "1"),
            *("--read-noise", "0.01", "--peak", "500", "--bits", "10", "--saturation", "4"),
        )
        with h5py.File(tmp_path / name) as file:
            return file["meas"][()]

    first = meas("a.h5", 1)
    np.testing.assert_array_equal(first, meas("b.h5", 1))
    assert not np.array_equal(first, meas("c.h5", 2))
    assert first.max() <= 4 * 255 * (1 + 1e-6) and len(np.unique(first)) <= 1024


@pytest.mark.parametrize(
    ("crop", "top", "left"),
    [("20x24+3+7", 3, 7), ("20x24+0+0", 0, 0), ("20x24+12+16", 12, 16), ("20x24", 6, 8)],
)
@pytest.mark.parametrize("size", [None, (11, 30)])
def test_a_crop_has_the_pixels_of_its_place(run, video, tmp_path, crop, top, left, size):
    """Those of the file, resampled as Pillow does it where another size is asked for."""
    resize = ("--resize", f"{size[0]}x{size[1]}") if size else ()
    run("simulate", video, "-o", tmp_path / "c.mat", "--frames", "4", "--crop", crop, *resize)
    found = scipy.io.loadmat(tmp_path / "c.mat")["orig"].transpose(2, 0, 1)
    expected = tifffile.imread(video)[:, top : top + 20, left : left + 24]
    if size is None:
        np.testing.assert_array_equal(found, expected)
        return
    frames = [Image.fromarray(frame.astype(np.float32)) for frame in expected]
    resampled = [frame.resize(size[::-1], Image.Resampling.BICUBIC) for frame in frames]
    np.testing.assert_allclose(found, np.clip(resampled, 0, 255), atol=0.01)


def test_crop_resize_and_a_given_mask(run, video, tmp_path):
    rng = np.random.default_rng(0)
    mask = rng.integers(0, 114, (5, 16, 12)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "mask.tif", mask, photometric="minisblack")
    run(
        *("simulate", video, "-o", tmp_path / "c.h5", "--mask", tmp_path / "mask.tif"),
        *("--crop", "30x36+1+2", "--resize", "16x12"),
    )
    with h5py.File(tmp_path / "c.h5") as file:
        np.testing.assert_array_equal(file["mask"][()], mask)
        assert file["meas"].shape == (4, 16, 12)
        coded = (file["orig"][:5] / 255 * mask).sum(0)
        np.testing.assert_allclose(file["meas"][0] / 255, coded, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--frames", "30"), InputError),
        (("--crop", "99x99"), InputError),
        (("--crop", "wide"), UsageError),
        (("--mask-kind", "round"), UsageError),
        (("--bits", "0"), UsageError),
        (("--density", "0"), UsageError),
        (("--count", "0"), UsageError),
    ],
)
def test_impossible_simulations_leave_nothing(run, video, tmp_path, arguments, error):
    with pytest.raises(error):
        run("simulate", video, "-o", tmp_path / "c.mat", *arguments)
    assert not (tmp_path / "c.mat").exists()


def test_evaluate_agrees_with_the_report(run, capture, tmp_path):
    run("reconstruct", capture, "--model", "gap-tv", "-o", tmp_path / "o", "--measurements", "0")
    record = json.loads((tmp_path / "o" / "report.json").read_text())["measurements"][0]
    result = run("evaluate", tmp_path / "o" / "scene_0.tif", "--truth", capture, "--json")
    line = json.loads(result.stdout)
    assert line["psnr"] == pytest.approx(record["psnr"], abs=1e-4)
    assert line["ssim"] == pytest.approx(record["ssim"], abs=1e-5)
    assert line["frames"] == 8


def test_evaluate_looks_at_the_measurements_own_part_of_the_truth(run, video, tmp_path):
    run("simulate", video, "-o", tmp_path / "c.mat", "--frames", "8")
    run("reconstruct", tmp_path / "c.mat", "--model", "gap-tv", "-o", tmp_path / "o")
    records = json.loads((tmp_path / "o" / "report.json").read_text())["measurements"]
    for record in records:
        result = run("evaluate", record["output"], "--truth", tmp_path / "c.mat", "--json")
        assert json.loads(result.stdout)["psnr"] == pytest.approx(record["psnr"], abs=1e-4)


def test_evaluate_goes_on_after_a_film_that_cannot_be_read(deqsci, capture, tmp_path):
    deqsci("reconstruct", capture, "--model", "gap-tv", "-o", "o", "--measurements", "0")
    (tmp_path / "broken.tif").write_bytes(b"II*\0")
    result = deqsci("evaluate", "broken.tif", "o/scene_0.tif", "--truth", capture)
    assert result.returncode == 1
    assert "broken.tif" in result.stderr and "scene_0.tif" in result.stdout


@pytest.mark.parametrize("ending", ["h5", "tif"])
def test_convert_there_and_back(run, capture, tmp_path, ending):
    middle, back = tmp_path / f"c.{ending}", tmp_path / "back.mat"
    run("convert", capture, middle)
    run("convert", middle, back)
    before, after = scipy.io.loadmat(capture), scipy.io.loadmat(back)
    for key in ("meas", "mask", "orig"):
        np.testing.assert_array_equal(before[key], after[key])
    with pytest.raises(OutputExistsError):
        run("convert", capture, middle)


def test_convert_needs_one_output(run, capture):
    with pytest.raises(UsageError):
        run("convert", capture)


def test_inspect_tells_what_a_capture_holds(run, capture):
    facts = json.loads(run("inspect", capture, "--json").stdout)
    assert {a["name"] for a in facts["arrays"]} == {"meas", "mask", "orig"}
    mask = scipy.io.loadmat(capture)["mask"]
    assert facts["capture"]["closed_pixels"] == int((mask.max(2) == 0).sum())
    assert facts["capture"]["mask_open"] == pytest.approx(mask.mean())
    assert facts["capture"]["scale"] == 255
    assert "truth for 8 frames" in run("inspect", capture).stdout


def test_inspect_of_a_file_that_is_no_capture(run, tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {"numbers": np.arange(5.0)})
    result = run("inspect", tmp_path / "a.mat")
    assert "numbers" in result.stdout and "not read as a capture" in result.stderr


def test_models_lists_and_shows(run):
    assert "gap-tv" in run("models").stdout
    card = json.loads(run("models", "show", "pnp", "--json").stdout)
    assert card["name"] == "pnp-video" and card["parameters"] > 800_000
    assert len(card["sha256"]) == 64


def test_the_list_tells_the_default_and_every_licence(run):
    cards = [json.loads(line) for line in run("models", "--json").stdout.splitlines()]
    listed = {card["name"]: card for card in cards}
    # What `reconstruct` takes, in the command line and from Python.
    option = next(p for p in get_command(app).commands["reconstruct"].params if p.name == "model")
    field = next(f for f in fields(ReconstructConfig) if f.name == "model")
    assert option.default == field.default
    assert [name for name, card in listed.items() if card["default"]] == [
        json.loads(run("models", "show", option.default, "--json").stdout)["name"]
    ]
    shown = run("models").stdout
    assert shown.count("(default)") == 1
    for card in listed.values():
        assert "default" not in card["summary"] and card["licence"]
        assert card["licence"].split()[0] in shown
        assert not card["training"] or "not for commercial use" in card["licence"]
    head = run("models", "show", "rnn").stdout.splitlines()[:4]
    assert any("not for commercial use" in line for line in head)


def test_train_then_reconstruct_with_the_result(run, capture, tmp_path):
    clips = tmp_path / "clips"
    clips.mkdir()
    picture = (np.indices((40, 40)).sum(0) % 16 * 15).astype(np.uint8)
    iio.imwrite(clips / "a.png", picture)
    arguments = ("train", clips, "--validation", clips, "-o", tmp_path / "mine")
    size = ("--architecture", "cnn", "--steps", "2", "--batch-size", "2", "--patch-size", "16")
    run(*arguments, *size)
    with pytest.raises(OutputExistsError):
        run(*arguments, *size)
    run(
        *("reconstruct", capture, "--model", tmp_path / "mine", "-o", tmp_path / "o"),
        *("--max-iter", "2", "--measurements", "0"),
    )
    assert (tmp_path / "o" / "scene_0.tif").is_file()


def test_a_mask_that_lies_wrong_is_told(tmp_path, capture, deqsci):
    content = scipy.io.loadmat(capture)
    content["mask"] = content["mask"][::-1]
    scipy.io.savemat(capture, {k: v for k, v in content.items() if k[0] != "_"})
    run = deqsci(
        "reconstruct", capture, "--model", "gap-tv", "-o", "o", "--report", "--preview", "none"
    )
    assert run.returncode == 0 and "warning: the mask fits" in run.stderr
    record = json.loads((tmp_path / "o" / "report.json").read_text())["measurements"][0]
    assert record["mask_score"] > 0.7 and record["seen"] == 1 and record["warnings"]
    assert "flip-rows" in (tmp_path / "o" / "report.html").read_text()
    told = deqsci("inspect", capture, "--mask", capture)
    assert told.returncode == 0 and "flipped up-down" in told.stdout


def test_adapting_says_what_does_not_fit(tmp_path, capture, run):
    with pytest.raises(InputError, match="pieces of 64x64 pixels"):
        run("adapt", capture, "-o", tmp_path / "mine")
    with pytest.raises(UsageError, match="no weights to adapt"):
        run("adapt", capture, "-o", tmp_path / "mine", "--model", "gap-tv")
    assert not (tmp_path / "mine").exists()


def test_a_camera_is_calibrated_and_used(tmp_path, capture, run):
    """A black level is found from the capture, told in a file, and undone by it."""
    content = {k: v for k, v in scipy.io.loadmat(capture).items() if k[0] != "_"}
    content["meas"] = content["meas"] + 30
    dark = tmp_path / "dark.mat"
    scipy.io.savemat(dark, content)
    lab = tmp_path / "lab.h5"
    told = run("calibrate", dark, "--fit", "offset", "-o", lab, "--report", "--json")
    found = json.loads(told.stdout)
    assert found["black_level"] == pytest.approx(30, abs=3)
    assert "black level" in lab.with_suffix(".html").read_text()
    common = ("--model", "gap-tv", "--preview", "none", "--json")
    plain = run("reconstruct", dark, "-o", tmp_path / "a", *common)
    mended = run("reconstruct", dark, "--camera", lab, "-o", tmp_path / "b", *common)
    before, after = (json.loads(r.stdout.splitlines()[0])["psnr"] for r in (plain, mended))
    assert after > before + 1
    with pytest.raises(UsageError, match="nothing to calibrate from"):
        run("calibrate", dark, "-o", tmp_path / "c.h5")
    with pytest.raises(UsageError, match="--frames makes"):
        run("calibrate", dark, "--frames", dark, "-o", tmp_path / "c.h5")


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (("calibrate", "--frames", "a.tif", "-o", "c.h5", "--mask", "m.mat"), "--mask"),
        (("calibrate", "--frames", "a.tif", "-o", "c.h5", "--scale", "3"), "--scale"),
        (("convert", "a.ckpt", "-o", "m", "--architecture", "cnn", "--axes", "HWT"), "--axes"),
        (("evaluate", "a.tif", "--truth", "b.tif", "--tol", "1e-3"), "--tol"),
        (("simulate", "a.gif", "-o", "c.h5", "--mask", "m.mat", "--density", ".2"), "--density"),
    ],
)
def test_an_option_without_a_meaning_is_refused(run, command, option):
    with pytest.raises(UsageError, match=f"^{option} "):
        run(*command)


def test_pixels_that_tell_nothing_stay_so_in_another_format(run, capture, tmp_path):
    """Not as numbers that would be believed: the films are the same."""
    content = scipy.io.loadmat(capture)
    meas = content["meas"].astype(float)
    meas[3:6, 4, 0] = np.nan
    bad = np.zeros(meas.shape[:2], np.uint8)
    bad[10, 7:9] = 1
    arrays = {name: content[name] for name in ("mask", "orig")}
    scipy.io.savemat(tmp_path / "lab.mat", arrays | {"meas": meas})
    scipy.io.savemat(tmp_path / "bad.mat", {"bad_pixels": bad})
    camera = ("--nan", "zero", "--bad-pixels", tmp_path / "bad.mat")
    told = run("convert", tmp_path / "lab.mat", tmp_path / "c.h5", *camera).stderr
    assert "7 pixels that tell nothing are written as NaN" in told
    common = ("--model", "gap-tv", "--preview", "none", "--json")
    told = run("reconstruct", tmp_path / "lab.mat", "-o", tmp_path / "a", *camera, *common)
    again = run("reconstruct", tmp_path / "c.h5", "-o", tmp_path / "b", *camera[:2], *common)
    for lines in zip(told.stdout.splitlines(), again.stdout.splitlines(), strict=True):
        before, after = map(json.loads, lines)
        assert after["seen"] == before["seen"] < 1
        assert after["psnr"] == pytest.approx(before["psnr"], abs=0.01)
