"""`--resume` keeps a film if nothing that decides it has changed, and only then."""

from __future__ import annotations

import json
import pickle
import shutil
from dataclasses import fields, replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import torch

from deqsci_cli import zoo
from deqsci_cli.engine.batch import films, origin, work
from deqsci_cli.engine.batch.config import ReconstructConfig
from deqsci_cli.engine.batch.job import Order, Task
from deqsci_cli.engine.batch.manifest import place_of, read_entry
from deqsci_cli.engine.batch.plan import plan
from deqsci_cli.engine.batch.work import split
from deqsci_cli.engine.reconstruct import reconstruct
from deqsci_cli.errors import InputError, ModelError, UsageError
from deqsci_cli.io import Look, read_film
from deqsci_cli.io.read_options import ReadOptions
from deqsci_cli.networks.registry import build


def save_network(folder: Path, seed: int, **options: int) -> None:
    """A small network as a model; the same seed gives the same weights."""
    torch.manual_seed(seed)
    chosen = {"channels": 2, "depth": 2} | options
    card = zoo.Card("small", "", "cnn", chosen, {"consistency_relaxation": 1.0})
    zoo.save_model(folder, build("cnn", chosen), card, overwrite=True)


def save_capture(path: Path, seed: int, mask: np.ndarray | None) -> None:
    rng = np.random.default_rng(seed)
    content = {"meas": rng.random((12, 14))}
    if mask is not None:
        content["mask"] = mask
    scipy.io.savemat(path, content)


@pytest.fixture
def config(tmp_path):
    mask = (np.random.default_rng(9).random((12, 14, 3)) < 0.5).astype(float)
    scipy.io.savemat(tmp_path / "mask.mat", {"mask": mask})
    save_capture(tmp_path / "a.mat", 0, mask)
    save_network(tmp_path / "model", 0)
    return ReconstructConfig(
        inputs=(tmp_path / "a.mat",),
        out=tmp_path / "o",
        model=str(tmp_path / "model"),
        read_options=ReadOptions(mask=tmp_path / "mask.mat", scale=1.0),
        equilibrium={"max_iter": 2},
        previews=(),
        device="cpu",
    )


def resumed(config: ReconstructConfig) -> bool:
    """Whether `--resume` has kept the film."""
    return reconstruct(replace(config, resume=True)).skipped == 1


def other_content(name: str):
    def change(config, at):
        scipy.io.savemat(at / name, {"mask": np.ones((12, 14, 3)), "meas": np.ones((12, 14))})
        return config

    return change


def setting(**changed):
    return lambda config, _: replace(config, **changed)


def read_options(**changed):
    return lambda config, _: replace(config, read_options=replace(config.read_options, **changed))


def side_file(option: str, key: str):
    def change(config, at):
        content = (np.random.default_rng(4).random((12, 14)) > 0.1).astype(float)
        scipy.io.savemat(at / f"{key}.mat", {key: content})
        return read_options(**{option: str(at / f"{key}.mat")})(config, at)

    return change


def camera_file(text: str):
    def change(config, at):
        (at / "lab.toml").write_text(text)
        return read_options(camera=at / "lab.toml")(config, at)

    return change


def network(**changed):
    def change(config, at):
        save_network(at / "model", **changed)
        return config

    return change


DECIDES = {
    "the capture": other_content("a.mat"),
    "the mask": other_content("mask.mat"),
    "the mask's place": read_options(mask=None),
    "weights": network(seed=1),
    "an option of the network": network(seed=0, depth=3),
    "another model": setting(model="gap-tv"),
    "a setting of the solver": setting(equilibrium={"max_iter": 3}),
    "the solver": setting(equilibrium={"max_iter": 2, "solver": "picard"}),
    "a region of interest": setting(roi="2,2,5,6"),
    "what moves": setting(roi="auto"),
    "scale": read_options(scale=2.0),
    "nan": read_options(nan="zero"),
    "the black level": read_options(dark="1"),
    "a dark frame": side_file("dark", "dark"),
    "a flat field": side_file("flat", "flat"),
    "a map of bad pixels": side_file("bad_pixels", "bad_pixels"),
    "gains": read_options(frame_gains="1,0.9,1"),
    "saturation": read_options(saturation="0.9"),
    "noise": read_options(noise="0.1"),
    "a camera": camera_file("orientation = 'flip-rows'"),
    "axes": read_options(axes="HWT"),
    "dtype": setting(dtype="float64"),
    "seed": setting(seed=1),
    "format": setting(format="h5"),
    "a recording": setting(sequence=True),
}
# In which the run differs, but no pixel.
LEAVES = {
    "nothing": lambda config, _: config,
    "batches": setting(batch_size=3),
    "tiles": setting(equilibrium={"max_iter": 2, "tile": "8"}),
    "a page": setting(page=True),
    "fail fast": setting(fail_fast=True),
    "the model's place": lambda config, at: replace(
        config, model=str(shutil.copytree(at / "model", at / "moved"))
    ),
    "the mask's name": lambda config, at: replace(
        config,
        read_options=replace(config.read_options, mask=shutil.copy(at / "mask.mat", at / "m2.mat")),
    ),
}


@pytest.mark.parametrize("what", DECIDES)
def test_what_decides_a_film_has_it_made_again(config, tmp_path, what):
    reconstruct(config)
    assert not resumed(DECIDES[what](config, tmp_path))


@pytest.mark.parametrize("what", LEAVES)
def test_what_does_not_keeps_it(config, tmp_path, what):
    reconstruct(config)
    before = (tmp_path / "o" / "a.tif").stat().st_mtime_ns
    assert resumed(LEAVES[what](config, tmp_path))
    assert (tmp_path / "o" / "a.tif").stat().st_mtime_ns == before


def test_a_model_without_weights_is_known_by_its_options(config, tmp_path):
    card = zoo.read_card(zoo.find("gap-tv"))
    (tmp_path / "tv").mkdir()
    zoo.write_card(tmp_path / "tv", card, overwrite=False)
    config = replace(config, model=str(tmp_path / "tv"))
    reconstruct(config)
    changed = replace(card, options={**card.options, "iterations": card.options["iterations"] + 1})
    zoo.write_card(tmp_path / "tv", changed, overwrite=True)
    assert not resumed(config)


def test_another_version_makes_films_again(config, monkeypatch):
    reconstruct(config)
    monkeypatch.setattr(origin, "__version__", "0.0.0")
    assert not resumed(config)


def test_every_setting_either_decides_or_is_known_not_to():
    """A field that is added must be thought of here, and in `origin.py`."""
    decides = {"model", "read_options", "equilibrium", "dtype", "seed", "format"}
    decides |= {"roi", "sequence"}
    per_film = {"inputs", "measurements", "folders"}
    leaves = {
        "out", "device", "previews", "look", "page", "overwrite", "resume", "fail_fast",
        "batch_size", "cluster", "found", "lists",
    }  # fmt: skip
    assert {f.name for f in fields(ReconstructConfig)} == decides | per_film | leaves


def test_replaced_weights_are_not_taken_for_the_old_ones(config, tmp_path):
    """One process, one folder, two sets of weights: each film is that of its own."""
    reconstruct(config)
    old = read_film(tmp_path / "o" / "a.tif").frames
    save_network(tmp_path / "model", 1)
    reconstruct(replace(config, out=tmp_path / "p"))
    new = read_film(tmp_path / "p" / "a.tif")
    work._reconstructor.cache_clear()
    reconstruct(replace(config, out=tmp_path / "q"))
    fresh = read_film(tmp_path / "q" / "a.tif")
    assert np.array_equal(new.frames, fresh.frames) and not np.array_equal(new.frames, old)
    assert new.provenance["model"] == fresh.provenance["model"]


def test_weights_that_change_while_a_run_goes_on(config, tmp_path):
    """A worker that loads later than the plan finds that the model is another one."""
    order, task = planned(config)
    save_network(tmp_path / "model", 1)
    work._reconstructor.cache_clear()
    (failure,) = work.work(task)
    assert failure.exit_code == ModelError.exit_code and "model has changed" in failure.error
    assert not (tmp_path / "o" / "a.tif").exists()
    assert order.fingerprint != zoo.load(str(tmp_path / "model")).fingerprint


@pytest.mark.parametrize("name", ["a.mat", "mask.mat"])
def test_files_that_change_while_a_run_goes_on(config, tmp_path, name):
    _, task = planned(config)
    other_content(name)(config, tmp_path)
    (failure,) = work.work(task)
    assert failure.exit_code == InputError.exit_code and f"{name}: the file has changed" in (
        failure.error
    )
    assert not (tmp_path / "o" / "a.tif").exists()


def planned(config: ReconstructConfig) -> tuple[Order, Task]:
    found = plan(config, zoo.look_up(config.model))
    order = Order(
        run="run", model=config.model, fingerprint=found.model.fingerprint,
        settings=found.settings, read_options=config.read_options, beside=found.beside,
        device="cpu", dtype="float32", seed=0, isolate=config.several, replace=False,
        origin=found.origin, stamp={"model": {"name": "small"}},
    )  # fmt: skip
    return order, split(order, found.jobs, config.batch_size)[0]


def test_a_task_names_no_other_inputs(config, tmp_path):
    many = []
    for n in range(60):
        many.append(tmp_path / f"capture-number-{n}.mat")
        shutil.copy(tmp_path / "a.mat", many[-1])
    config = replace(config, inputs=tuple(many), batch_size=1)
    _, task = planned(config)
    sent = pickle.dumps(task)
    assert b"capture-number-0.mat" in sent and b"capture-number-1" not in sent
    assert len(sent) < 2000


class TestOneFilmOneInput:
    """A name is one input's for good."""

    def day(self, config, tmp_path, name: str, seed: int) -> ReconstructConfig:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        save_capture(folder / "run.mat", seed, None)
        return replace(config, inputs=(folder / "run.mat",), resume=True)

    def test_another_input_is_refused(self, config, tmp_path):
        reconstruct(self.day(config, tmp_path, "day1", 1))
        first = (tmp_path / "o" / "run.tif").read_bytes()
        with pytest.raises(UsageError, match=r"belongs to .*day1.*day2"):
            reconstruct(self.day(config, tmp_path, "day2", 2))
        assert (tmp_path / "o" / "run.tif").read_bytes() == first

    def test_so_is_one_of_another_format(self, config, tmp_path):
        reconstruct(self.day(config, tmp_path, "day1", 1))
        other = tmp_path / "day1" / "run.h5"
        with h5py.File(other, "w") as file:
            file["meas"] = np.ones((12, 14))
        with pytest.raises(UsageError, match="belongs to"):
            reconstruct(replace(config, inputs=(other,), resume=True))

    def test_the_same_capture_elsewhere_is_the_same_input(self, config, tmp_path):
        config = self.day(config, tmp_path, "day1", 1)
        reconstruct(config)
        (tmp_path / "day1").rename(tmp_path / "moved")
        moved = replace(config, inputs=(tmp_path / "moved" / "run.mat",))
        assert reconstruct(moved).skipped == 1

    def test_a_changed_input_keeps_its_name(self, config, tmp_path):
        reconstruct(self.day(config, tmp_path, "day1", 1))
        assert reconstruct(self.day(config, tmp_path, "day1", 2)).skipped == 0

    def test_a_damaged_entry_of_this_input(self, config, tmp_path):
        config = self.day(config, tmp_path, "day1", 1)
        reconstruct(config)
        film = tmp_path / "o" / "run.tif"
        place_of(film).write_text("{")
        assert reconstruct(config).skipped == 0 and read_entry(film) is not None

    def test_a_damaged_entry_of_another_input(self, config, tmp_path):
        reconstruct(self.day(config, tmp_path, "day1", 1))
        film = tmp_path / "o" / "run.tif"
        place_of(film).write_text("{")
        before = film.read_bytes()
        with pytest.raises(UsageError, match="damaged"):
            reconstruct(self.day(config, tmp_path, "day2", 2))
        assert film.read_bytes() == before


class TestPreviews:
    """They are made of the film, at any time, with the same bytes."""

    def test_added_later(self, config, tmp_path, monkeypatch):
        reconstruct(replace(config, out=tmp_path / "at once", previews=("gif", "png")))
        reconstruct(config)
        monkeypatch.setattr(films, "write_film", None)  # no film may be written again
        report = reconstruct(replace(config, previews=("gif", "png"), resume=True))
        assert report.skipped == 0 and len(report.measurements) == 1
        for name in ("a.gif", "a.png", "a.tif"):
            at_once, later = (tmp_path / out / name for out in ("at once", "o"))
            assert at_once.read_bytes() == later.read_bytes()
        assert reconstruct(replace(config, previews=("png",), resume=True)).skipped == 1

    def test_another_look_makes_them_again_and_not_the_film(self, config, tmp_path, monkeypatch):
        config = replace(config, previews=("gif", "png"))
        reconstruct(config)
        monkeypatch.setattr(films, "write_film", None)  # no film may be written again
        before = {name: (tmp_path / "o" / name).read_bytes() for name in ("a.gif", "a.png")}

        def changed(look):
            report = reconstruct(replace(config, look=look, resume=True))
            now = {name: (tmp_path / "o" / name).read_bytes() for name in before}
            return report.skipped, [name for name in before if now[name] != before[name]]

        assert changed(Look()) == (1, [])
        assert changed(Look(fps=25.0)) == (0, ["a.gif"])  # a sheet of pictures has no speed
        assert changed(Look("full", 25.0)) == (0, ["a.gif", "a.png"])
        assert changed(Look("0,1", 25.0)) == (1, ["a.gif", "a.png"])  # the same in other words
        assert changed(Look()) == (0, [])

    def test_one_that_is_damaged_is_made_again(self, config, tmp_path):
        config = replace(config, previews=("png",))
        reconstruct(config)
        whole = (tmp_path / "o" / "a.png").read_bytes()
        (tmp_path / "o" / "a.png").write_bytes(whole[:50])
        reconstruct(replace(config, resume=True))
        assert (tmp_path / "o" / "a.png").read_bytes() == whole


def test_a_package_that_is_missing_is_told_before_anything_is_computed(
    config, tmp_path, monkeypatch
):
    from deqsci_cli.io import preview

    monkeypatch.setattr(preview, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="needs the package av"):
        reconstruct(replace(config, previews=("gif", "mp4")))
    assert not (tmp_path / "o").exists()


def test_a_run_that_comes_to_nothing_leaves_nothing(config, tmp_path):
    (tmp_path / "broken.mat").write_text("no capture")
    report = reconstruct(replace(config, inputs=(tmp_path / "broken.mat",)))
    assert len(report.failures) == 1 and not (tmp_path / "o").exists()
    save_capture(tmp_path / "nan.mat", 0, None)
    content = scipy.io.loadmat(tmp_path / "nan.mat")
    content["meas"][3, 3] = np.nan
    scipy.io.savemat(tmp_path / "nan.mat", {"meas": content["meas"]})
    bad = replace(config, inputs=(tmp_path / "nan.mat",))
    assert len(reconstruct(bad).failures) == 1 and not (tmp_path / "o").exists()
    # The corrected command is not refused.
    mended = reconstruct(replace(bad, read_options=replace(config.read_options, nan="zero")))
    assert len(mended.measurements) == 1
    assert json.loads((tmp_path / "o" / "report.json").read_text())["failures"] == []


def test_a_file_that_fails_is_told_once(config, tmp_path):
    """Whatever the number of its measurements."""
    scipy.io.savemat(tmp_path / "nan.mat", {"meas": np.full((12, 14, 3), np.nan)})
    (failure,) = reconstruct(replace(config, inputs=(tmp_path / "nan.mat",))).failures
    assert "NaN" in failure.error
