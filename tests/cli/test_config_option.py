"""`--config` and the variables of the environment stand for options that are not given."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.io
import tifffile
import torch

from deqsci_cli import zoo
from deqsci_cli.errors import UsageError

FAST = ("--preview", "none", "--measurements", 0)


@pytest.fixture
def settings(tmp_path):
    """Write a config file."""

    def write(text):
        path = tmp_path / "run.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def config_of(folder):
    return json.loads((folder / "report.json").read_text())["config"]


def test_a_file_and_what_goes_before_it(run, capture, settings, tmp_path):
    file = settings(
        f'inputs = ["{capture}"]\nout = "{tmp_path / "o"}"\nmodel = "gap-tv"\nmax_iter = 3\n'
        'tol = 1\nmeasurements = 0\npreview = "none"\nno_truth = true\nformat = "h5"\nscale = 255\n'
    )
    run("reconstruct", "--config", file, "--max-iter", 2)
    found = config_of(tmp_path / "o")
    assert found["model"] == "gap-tv" and found["format"] == "h5" and found["previews"] == []
    assert (found["equilibrium"]["max_iter"], found["equilibrium"]["tol"]) == (2, 1.0)
    assert found["read_options"]["truth"] is False and found["read_options"]["scale"] == 255.0
    assert (tmp_path / "o" / "scene_0.h5").is_file()
    assert not (tmp_path / "o" / "scene_1.h5").exists()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("max_itr = 3", "did you mean 'max_iter'?"),
        ("max_iter = 'three'", "'max_iter' must be a whole number"),
        ("sequence = 1", "'sequence' must be true or false"),
        ("config = 'other.toml'", "unknown key 'config'"),
        ("film_format = 'h5'", "did you mean 'format'?"),
        ("max_iter = ", "the config cannot be read"),
    ],
)
def test_a_mistake_is_told_by_its_name(run, capture, settings, tmp_path, line, words):
    file = settings(line)
    with pytest.raises(UsageError) as told:
        run("reconstruct", capture, "-o", tmp_path / "o", "--config", file)
    assert words in str(told.value) and str(file) in str(told.value)
    assert told.value.exit_code == 2 and not (tmp_path / "o").exists()


def test_evaluate_and_simulate(run, capture, settings, moving_scene, tmp_path):
    benchmark = f'benchmark = "{capture}"\nmodels = "gap-tv"\nmax_iter = 3\njson = true\n'
    (line,) = run("evaluate", "--config", settings(benchmark)).stdout.splitlines()
    assert json.loads(line)["label"] == "gap-tv"
    tifffile.imwrite(tmp_path / "film.tif", np.rint(230 * moving_scene).astype(np.uint8))
    films = f'films = ["{tmp_path / "film.tif"}"]\ntruth = "{capture}"'
    assert "film.tif" in run("evaluate", "--config", settings(films)).stdout
    with pytest.raises(UsageError, match="--max-iter works only with --benchmark"):
        run("evaluate", capture, "--truth", capture, "--config", settings("max_iter = 3"))
    film = f'video = "{capture}"\nout = "{tmp_path / "c.mat"}"\nframes = 4\nread_noise = 0.01'
    run("simulate", "--config", settings(film))
    assert scipy.io.loadmat(tmp_path / "c.mat")["mask"].shape[-1] == 4


def test_the_environment(run, capture, settings, tmp_path, monkeypatch):
    camera = tmp_path / "lab.toml"
    camera.write_text("dark = 3", encoding="utf-8")
    monkeypatch.setenv("DEQSCI_CAMERA", str(camera))
    monkeypatch.setenv("DEQSCI_DEVICE", "cpu")
    file = settings('model = "gap-tv"\nmax_iter = 2\ndevice = "cuda:7"\n')
    run("reconstruct", capture, "-o", tmp_path / "o", *FAST, "--config", file)
    found = config_of(tmp_path / "o")
    assert found["device"] == "cpu" and found["read_options"]["camera"] == str(camera)
    with pytest.raises(UsageError, match="no device 'abacus'"):
        run("reconstruct", capture, "-o", tmp_path / "p", *FAST, "--device", "abacus")
    shown = run("reconstruct", "--help").stdout
    assert all(f"DEQSCI_{name}" in shown for name in ("CAMERA", "DEVICE", "THREADS"))


def test_files_that_are_made_do_not_take_the_camera_of_the_environment(
    run, capture, tmp_path, monkeypatch
):
    monkeypatch.setenv("DEQSCI_CAMERA", str(tmp_path / "none.h5"))
    run("convert", capture, tmp_path / "c.h5")


def test_threads(run, capture, tmp_path, monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setenv("DEQSCI_THREADS", "2")
    try:
        run("reconstruct", capture, "-o", tmp_path / "o", *FAST, "--model", "gap-tv", "--tol", 1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    monkeypatch.setenv("DEQSCI_THREADS", "0")
    assert run("reconstruct", capture, "-o", tmp_path / "p").exit_code == 2


def test_the_recipe_of_a_released_model(run, tmp_path):
    assert zoo.find_recipe("pnp") == zoo.models_folder() / "pnp-video" / "train.toml"
    assert str(zoo.find_recipe("own.toml")) == "own.toml"
    with pytest.raises(UsageError, match=r"has no recipe \(these have: pnp-cnn, .*rnn"):
        zoo.find_recipe("gap-tv")
    with pytest.raises(UsageError, match=r"neither a config nor a model \(did you mean pnp"):
        run("train", tmp_path, "--validation", tmp_path, "-o", tmp_path / "m", "--config", "pnq")
