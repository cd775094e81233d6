"""Measurements that follow one another become one film, in windows, and after a kill as well."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import tifffile
import torch
from typer.testing import CliRunner

from deqsci_cli import zoo
from deqsci_cli.cli.app import app
from deqsci_cli.engine.batch import window_work
from deqsci_cli.engine.batch.config import ReconstructConfig
from deqsci_cli.engine.batch.plan import plan
from deqsci_cli.engine.batch.sequence import natural
from deqsci_cli.engine.batch.windows import OVERLAP, window_size, windows
from deqsci_cli.engine.benchmark import BenchmarkConfig, benchmark
from deqsci_cli.engine.reconstruct import reconstruct
from deqsci_cli.engine.sweep import Sweep
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.errors import UsageError
from deqsci_cli.io.read_options import ReadOptions
from deqsci_cli.networks.registry import ARCHITECTURES
from deqsci_cli.reconstructor import reconstruct as reconstruct_arrays
from deqsci_cli.report.report import Record, Report
from deqsci_cli.report.viewing import view

T, H, W = 4, 20, 24
MASK = (np.random.default_rng(3).random((T, H, W)) < 0.5).astype(np.float32)


def scene(count: int) -> np.ndarray:
    """Smooth waves that pass by: (count T, H, W) in 0 … 1."""
    t = np.arange(count * T)[:, None, None]
    y, x = np.mgrid[:H, :W]
    return (0.5 + 0.4 * np.sin((x - 0.7 * t) / 4) * np.cos((y + 0.4 * t) / 5)).astype(np.float32)


def measure(video: np.ndarray) -> np.ndarray:
    return (video.reshape(-1, T, H, W) * MASK).sum(1)


def save(path: Path, video: np.ndarray, **changes: np.ndarray) -> Path:
    """A capture as MATLAB users have it, by scipy alone."""
    content = {"meas": measure(video) * 255, "mask": MASK, "orig": video * 255} | changes
    scipy.io.savemat(path, {k: np.asarray(v).transpose(1, 2, 0) for k, v in content.items()})
    return path


@pytest.fixture
def config(tmp_path):
    torch.set_num_threads(1)
    return ReconstructConfig(
        inputs=(save(tmp_path / "rec.mat", scene(9)),),
        out=tmp_path / "o",
        model="gap-tv",
        read_options=ReadOptions(scale=255.0),
        equilibrium={"max_iter": 4},
        previews=(),
        device="cpu",
        sequence=True,
    )


def blur(video: torch.Tensor, _: object) -> torch.Tensor:
    """A denoiser that sees a frame's neighbours: each axis by 1, 2, 1."""
    for axis in (1, 2, 3):
        first, last = video.narrow(axis, 0, 1), video.narrow(axis, video.shape[axis] - 1, 1)
        wide = torch.cat([first, video, last], axis)
        parts = [wide.narrow(axis, start, video.shape[axis]) for start in range(3)]
        video = (parts[0] + 2 * parts[1] + parts[2]) / 4
    return video


@pytest.fixture
def blurring(config, tmp_path, monkeypatch):
    """The recording by that denoiser."""
    monkeypatch.setitem(ARCHITECTURES, "blur", lambda: blur)
    (tmp_path / "blur").mkdir()
    card = zoo.Card("blur", "", "blur", {}, {"consistency_relaxation": 0.0, "tol": 1e-5})
    zoo.write_card(tmp_path / "blur", card, overwrite=False)
    return replace(config, model=str(tmp_path / "blur"), equilibrium={})


@pytest.fixture
def folder(tmp_path):
    """The same recording, a measurement a file; in the order of the alphabet 10 comes before 2."""
    (tmp_path / "day").mkdir()
    video = scene(12)
    return tmp_path / "day", [
        save(tmp_path / "day" / f"y{n + 1}.mat", video[n * T : (n + 1) * T]) for n in range(12)
    ]


def only(report: Report) -> Record:
    assert report.failures == []
    (record,) = report.measurements
    return record


def film(out: Path, name: str = "rec") -> np.ndarray:
    return tifffile.imread(out / f"{name}.tif") / np.float32(255)


def hidden(out: Path) -> list[str]:
    return sorted(p.name for p in (out / ".manifest").iterdir())


class TestFilm:
    def test_of_one_measurement_it_is_the_ordinary_film(self, config, tmp_path):
        one = replace(config, inputs=(save(tmp_path / "one.mat", scene(1)),))
        alone = only(reconstruct(replace(one, sequence=False, out=tmp_path / "p")))
        record = only(reconstruct(one))
        np.testing.assert_array_equal(film(one.out, "one"), film(tmp_path / "p", "one"))
        for name in ("misfit", "held_out", "mask_score", "seen", "psnr", "ssim", "residual_trace"):
            assert getattr(record, name) == getattr(alone, name), name

    def test_it_is_the_library_s(self, blurring):
        record = only(reconstruct(blurring))
        settings = EquilibriumSettings(tol=1e-5)
        found = reconstruct_arrays(
            measure(scene(9)), MASK, blur, settings, device="cpu", sequence=True
        )
        assert found.video.shape == (9 * T, H, W) and found.status == ["converged"]
        assert found.evaluations == [record.evaluations]
        np.testing.assert_allclose(film(blurring.out), found.video, atol=1e-4)

    def test_without_a_view_in_time_it_is_the_measurements_films(self, config, tmp_path):
        """Total variation of each frame alone: together or apart is one fixed point."""
        fine = replace(config, equilibrium={"tol": 1e-6, "max_iter": 300})
        together, apart = reconstruct(fine), replace(fine, sequence=False, out=tmp_path / "p")
        reconstruct(apart)
        films = [film(tmp_path / "p", f"rec_{n}") for n in range(9)]
        assert only(together).status == "converged"
        np.testing.assert_allclose(film(config.out), np.concatenate(films), atol=1e-4)

    def test_a_denoiser_that_sees_time_gains_at_the_borders(self, blurring, tmp_path):
        apart = reconstruct(replace(blurring, sequence=False, out=tmp_path / "p")).measurements
        together = only(reconstruct(blurring))
        apart_psnr = np.concatenate([record.frame_psnr for record in apart])
        gain = np.array(together.frame_psnr) - apart_psnr
        borders = [n * T + side for n in range(1, 9) for side in (-1, 0)]
        assert gain[borders].mean() > gain.mean() > 0

    def test_a_folder_is_one_in_natural_order(self, config, folder, tmp_path):
        path, files = folder
        of_file = replace(config, inputs=(save(tmp_path / "day.mat", scene(12)),))
        shuffled = tuple(sorted(files))
        assert list(shuffled) != files
        of_folder = replace(config, inputs=shuffled, folders=(path,), out=tmp_path / "p")
        reconstruct(of_file)
        record = only(reconstruct(of_folder))
        assert [Path(one.input).name for one in record.recording] == [p.name for p in files]
        assert record.input == str(path) and len(record.sources) == 12
        np.testing.assert_allclose(film(tmp_path / "p", "day"), film(config.out, "day"), atol=1e-6)

    def test_names_as_people_count(self):
        names = ["a10", "a2", "A1b10", "a1b9", "b1", "1"]
        expected = ["1", "a1b9", "A1b10", "a2", "a10", "b1"]
        assert [p.name for p in sorted(map(Path, names), key=natural)] == expected

    def test_a_part(self, config):
        record = only(reconstruct(replace(config, measurements="2:6")))
        assert [one.index for one in record.recording] == [2, 3, 4, 5] and record.index == 2
        assert film(config.out).shape == (4 * T, H, W)

    @pytest.mark.parametrize("kind", ["h5", "mat"])
    def test_other_formats(self, config, kind):
        from deqsci_cli.io import read_film

        reconstruct(config)
        reconstruct(replace(config, format=kind, overwrite=True))
        frames = read_film(config.out / f"rec.{kind}").frames
        np.testing.assert_allclose(frames, film(config.out), atol=1e-7)


class TestFigures:
    def test_each_measurement_has_its_own(self, config):
        from skimage.metrics import peak_signal_noise_ratio

        record = only(reconstruct(config))
        frames, truth = film(config.out).clip(0, 1), scene(9)
        expected = [
            peak_signal_noise_ratio(t, f, data_range=1) for t, f in zip(truth, frames, strict=True)
        ]
        np.testing.assert_allclose(record.frame_psnr, expected, atol=1e-3)
        for n, one in enumerate(record.recording):
            assert one.psnr == pytest.approx(np.mean(expected[n * T : (n + 1) * T]), abs=1e-3)
        assert record.psnr == pytest.approx(np.mean(expected), abs=1e-3)
        assert record == only(Report.read(config.out / "report.json"))

    def test_truth_of_the_first_ones(self, config, tmp_path):
        path = save(tmp_path / "rec.mat", scene(9), orig=scene(9)[: 2 * T + 1] * 255)
        record = only(reconstruct(replace(config, inputs=(path,))))
        assert [one.psnr is None for one in record.recording] == [False] * 3 + [True] * 6
        assert len(record.frame_psnr) == 2 * T + 1

    def test_unseen_pixels_are_their_measurement_s(self, config, tmp_path):
        meas = measure(scene(9)) * 255
        meas[4, 3:9, 5:11] = np.nan
        path = save(tmp_path / "rec.mat", scene(9), meas=meas)
        options = replace(config.read_options, nan="zero", truth=False)
        record = only(reconstruct(replace(config, inputs=(path,), read_options=options)))
        shares = [36 / (H * W) if n == 4 else 0 for n in range(9)]
        assert [one.unseen.get("not a number", 0) for one in record.recording] == shares
        assert record.seen == pytest.approx(1 - np.mean(shares))
        assert np.abs(film(config.out) - scene(9)).mean() < 0.1

    def test_noise_settings(self, config):
        options = replace(config.read_options, noise="0.3")
        record = only(reconstruct(replace(config, read_options=options)))
        assert any("noisy" in note for note in record.notes)


class TestErrors:
    def failure(self, config) -> str:
        report = reconstruct(config)
        assert report.measurements == []
        (failure,) = report.failures
        return failure.error

    def test_another_mask(self, config, folder):
        path, files = folder
        save(files[4], scene(1), mask=1 - MASK, meas=measure(scene(1)), orig=np.zeros((1, H, W)))
        options = replace(config.read_options, truth=False)
        mixed = replace(config, inputs=tuple(files), folders=(path,), read_options=options)
        assert "y5.mat: its mask is another" in self.failure(mixed)

    def test_another_size(self, config, folder):
        path, files = folder
        small = {"meas": measure(scene(1))[:, 2:], "mask": MASK[:, 2:], "orig": scene(1)[:, 2:]}
        save(files[4], scene(1), **small)
        told = self.failure(replace(config, inputs=tuple(files), folders=(path,)))
        assert f"y5.mat: it has {T} frames of {H - 2} x {W}" in told

    def test_a_file_that_cannot_be_read_leaves_no_gap(self, config, folder):
        path, files = folder
        files[4].write_bytes(b"nothing")
        assert "y5.mat" in self.failure(replace(config, inputs=tuple(files), folders=(path,)))

    @pytest.mark.parametrize("part", ["0,2", "::2", "3,2,1"])
    def test_measurements_that_do_not_follow(self, config, part):
        with pytest.raises(UsageError, match="follow one another"):
            reconstruct(replace(config, measurements=part, fail_fast=True))

    def test_a_link_in_place_of_its_pieces(self, config, tmp_path):
        (tmp_path / "o" / ".manifest").mkdir(parents=True)
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "o" / ".manifest" / "rec.tif.pieces").symlink_to(tmp_path / "elsewhere")
        assert "is a link" in self.failure(config)


class TestWindows:
    @pytest.mark.parametrize("count", [1, 5, 6, 7, 33, 1000])
    @pytest.mark.parametrize(("size", "overlap"), [(1, 0), (2, 0), (4, 1), (5, 2), (6, 2), (32, 2)])
    def test_every_measurement_is_kept_once_with_its_neighbours(self, count, size, overlap):
        cut = windows(count, size)
        kept = [n for window in cut for n in range(window.start, window.stop)]
        assert kept == list(range(count))
        if count > size:
            for window in cut:
                assert window.first == max(0, window.start - overlap)
                assert window.last == min(count, window.stop + overlap)
                assert window.last - window.first <= size

    def test_their_size_is_that_of_the_pictures(self):
        assert window_size((8, 64, 64), None) == window_size((8, 128, 128), None) == 32
        assert window_size((8, 256, 256), None) == 16
        assert window_size((8, 2048, 2048), None) == 1 + 2 * OVERLAP
        assert window_size((8, 64, 64), 7) == 7

    def test_a_seam_is_not_seen(self, blurring, tmp_path):
        whole = only(reconstruct(blurring))
        cut = only(reconstruct(replace(blurring, batch_size=6, out=tmp_path / "p")))
        assert any("5 windows" in note for note in cut.notes)
        assert abs(cut.psnr - whole.psnr) < 0.05
        apart = reconstruct(replace(blurring, sequence=False, out=tmp_path / "q"))
        films = [film(tmp_path / "q", f"rec_{n}") for n in range(len(apart.measurements))]
        together, seams = film(blurring.out), film(tmp_path / "p") - film(blurring.out)
        assert np.linalg.norm(seams) < 1e-3 * np.linalg.norm(together)
        # Measurements apart are not like that: the test can fail.
        assert np.linalg.norm(np.concatenate(films) - together) > 1e-2 * np.linalg.norm(together)

    def test_another_window_decides_the_film(self, config):
        reconstruct(config)
        assert reconstruct(replace(config, resume=True)).skipped == 1
        assert reconstruct(replace(config, batch_size=6, resume=True)).skipped == 0
        assert reconstruct(replace(config, batch_size=6, resume=True)).skipped == 1


RECORDING, PIECES = (f"deqsci_cli.engine.batch.{name}" for name in ("recording", "pieces"))
#: at which call of a function, before or after it, a run is killed; and the pieces that it leaves
MOMENTS = {
    "before the first piece": ((RECORDING, "write_piece", 1, "before"), 0),
    "between two pieces": ((RECORDING, "write_piece", 3, "after"), 3),
    "within a piece": ((PIECES, "asdict", 2, "after"), 1),
    "before the film": ((RECORDING, "write_film_parts", 1, "before"), 5),
    "after the film": ((RECORDING, "write_film_parts", 1, "after"), 5),
}


def of_killed(path: Path, out: Path, **more: object) -> ReconstructConfig:
    """What the runs that are killed are asked for, see `killed_recordings.config`."""
    return ReconstructConfig(
        inputs=(path,), out=out, model="gap-tv", read_options=ReadOptions(scale=255.0),
        equilibrium={"max_iter": 4}, previews=("png",), device="cpu", sequence=True, batch_size=6,
        **more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """The folder in which runs were killed, and the memory of longer ones."""
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    folder = tmp_path_factory.mktemp("killed")
    save(folder / "rec.mat", scene(9))
    program = Path(__file__).parent / "killed_recordings.py"
    moments = json.dumps({name: how for name, (how, _) in MOMENTS.items()})
    done = subprocess.run(
        [sys.executable, program, folder, moments], env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    reconstruct(of_killed(folder / "rec.mat", folder / "whole"))
    return folder, json.loads(done.stdout)


class TestKilled:
    @pytest.mark.parametrize("moment", MOMENTS)
    def test_it_goes_on_at_the_window(self, killed, tmp_path, monkeypatch, moment):
        folder, _ = killed
        out, whole = shutil.copytree(folder / moment, tmp_path / "o"), folder / "whole"
        solve, solved = window_work._timed, []
        monkeypatch.setattr(window_work, "_timed", lambda *a: solved.append(1) or solve(*a))
        again = of_killed(folder / "rec.mat", out, resume=True)
        record = only(reconstruct(again))
        assert len(solved) == len(windows(9, 6)) - MOMENTS[moment][-1]
        for name in ("rec.tif", "rec.png"):
            assert (out / name).read_bytes() == (whole / name).read_bytes()
        same = {"seconds": 0.0, "output": "", "previews": ()}
        expected = only(Report.read(whole / "report.json"))
        assert replace(record, **same) == replace(expected, **same)
        assert hidden(out) == hidden(whole) == ["rec.tif.json"]

    @pytest.mark.parametrize("what", ["settings", "content", "a damaged piece"])
    def test_what_is_left_of_another_film_is_not_used(self, killed, tmp_path, what):
        out = shutil.copytree(killed[0] / "between two pieces", tmp_path / "o")
        path = Path(shutil.copy(killed[0] / "rec.mat", tmp_path / "rec.mat"))
        frames = sorted((out / ".manifest" / "rec.tif.pieces").glob("*.frames"))
        assert len(frames) == 3
        again = of_killed(path, out, resume=True)
        if what == "settings":
            again = replace(again, equilibrium={"max_iter": 5})
        elif what == "content":
            save(path, scene(9)[:, ::-1])
        else:
            data = bytearray(frames[1].read_bytes())
            data[100] ^= 64
            frames[1].write_bytes(data)
        reconstruct(again)
        reconstruct(replace(again, resume=False, out=tmp_path / "whole"))
        found, whole = ((o / "rec.tif").read_bytes() for o in (out, tmp_path / "whole"))
        assert found == whole

    @pytest.mark.skipif(sys.platform != "linux", reason="memory is told in kilobytes there")
    def test_a_long_recording_takes_no_more_memory(self, killed):
        """All of 400 measurements of 32x32x4 together would take 200 MB more than 50."""
        folder, (few, many) = killed
        assert tifffile.imread(folder / "long400" / "long.tif").shape == (1600, 32, 32)
        assert many < few + 20_000, (few, many)


def test_a_page_plays_it_as_one(config, folder):
    pytest.importorskip("jinja2")
    path, files = folder
    reconstruct(replace(config, inputs=tuple(files), folders=(path,), page=True))
    html = (config.out / "report.html").read_text()
    assert f"{W}×{H}×{12 * T}" in html and "coded measurement" in html and "truth" in html
    assert view([config.out / "day.tif"]).exists()


def test_previews_added_later_are_the_same(config, tmp_path):
    long = replace(
        config, inputs=(save(tmp_path / "rec.mat", scene(70)),), equilibrium={"max_iter": 1}
    )
    reconstruct(replace(long, previews=("gif",), out=tmp_path / "at once"))
    reconstruct(long)
    reconstruct(replace(long, previews=("gif",), resume=True))
    at_once, later = (tmp_path / out / "rec.gif" for out in ("at once", "o"))
    assert at_once.read_bytes() == later.read_bytes()


def test_a_cluster_shares_recordings(config, folder, tmp_path):
    pytest.importorskip("distributed")
    path, files = folder
    both = replace(config, inputs=(*config.inputs, *files), folders=(path,))
    reconstruct(both)
    report = reconstruct(replace(both, out=tmp_path / "p", cluster="local:2"))
    assert report.failures == []
    for name in ("rec.tif", "day.tif"):
        assert (tmp_path / "p" / name).read_bytes() == (config.out / name).read_bytes()


def test_a_benchmark_of_recordings(config):
    """The same figures as the run's; truth of a part of the frames; a sweep is of measurements."""
    record = only(reconstruct(config))
    asked = BenchmarkConfig(
        captures=config.inputs,
        models=("gap-tv",),
        read_options=config.read_options,
        equilibrium=config.equilibrium,
        device="cpu",
        page=True,
        sequence=True,
    )
    result = benchmark(asked)
    (score,), (scene_,) = result.scores, result.scenes
    assert score.psnr == pytest.approx(record.psnr, abs=1e-4) and score.name == "rec"
    assert (score.frames, score.of) == (9 * T, 9 * T)
    assert scene_.pictures().films[0].shape == (9 * T, H, W)
    (part,) = benchmark(replace(asked, measurements="1:4")).scores
    assert part.name == "rec #1 to #3" and part.of == 3 * T
    with pytest.raises(UsageError, match="single measurements"):
        replace(asked, sweep=Sweep("noise", (0.0, 0.1)))


def test_without_the_flag_nothing_changes(config, folder):
    _, files = folder
    apart = plan(
        replace(config, sequence=False, inputs=(*config.inputs, *files)), zoo.look_up(config.model)
    )
    assert len(apart.jobs) == 9 + 12 and not any(job.recording for job in apart.jobs)


def test_the_command_line(config, folder, tmp_path):
    path, _ = folder
    options = ["--sequence", "--model", "gap-tv", "--max-iter", "3", "--scale", "255", "--json"]
    files = [str(config.inputs[0]), str(path), "-o", str(tmp_path / "o"), "--preview", "none"]
    done = CliRunner().invoke(app, ["reconstruct", *files, *options])
    assert done.exit_code == 0, done.output
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [len(record["recording"]) for record in records] == [9, 12]
    assert {"rec.tif", "day.tif", "report.json"} <= {p.name for p in (tmp_path / "o").iterdir()}
    planned = CliRunner().invoke(app, ["reconstruct", *files, *options, "--dry-run", "--overwrite"])
    assert "9 as one" in planned.stdout and "12 as one" in planned.stdout
