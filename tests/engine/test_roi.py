"""Regions of interest: what moves is found, and a region has the whole picture's answer."""

from __future__ import annotations

import json
from dataclasses import replace

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.measure import label, regionprops

from deqsci_cli.engine.batch.config import ReconstructConfig
from deqsci_cli.engine.reconstruct import reconstruct
from deqsci_cli.engine.regions import Box, blend, boxes_of
from deqsci_cli.engine.roi import Roi, read_roi, reconstruct_regions
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.errors import InputError, UsageError
from deqsci_cli.io import read_film, write_capture
from deqsci_cli.physics.moving import find_moving, frames_against_picture, otsu_threshold
from deqsci_cli.reconstructor import Reconstructor

T, H, W = 8, 72, 96


def still_scene() -> np.ndarray:
    """A picture rich in detail, `(H, W)`."""
    noise = np.random.default_rng(3).standard_normal((H, W))
    rough = ndimage.gaussian_filter(noise, 1.2) + 2 * ndimage.gaussian_filter(noise, 6)
    return (0.5 + 0.18 * rough / rough.std()).clip(0, 1)


def moving_scene() -> tuple[np.ndarray, np.ndarray]:
    """A disc that crosses the picture, and where it ever is."""
    film = np.repeat(still_scene()[None], T, 0)
    y, x = np.mgrid[:H, :W]
    discs = np.stack([(y - 36) ** 2 + (x - 24 - 3 * t) ** 2 < 81 for t in range(T)])
    film[discs] = 0.95
    return film.astype(np.float32), discs.any(0)


@pytest.fixture(scope="module")
def mask():
    return (np.random.default_rng(0).random((T, H, W)) < 0.5).astype(np.float32)


@pytest.fixture(scope="module")
def cheap():
    torch.set_num_threads(1)
    return Reconstructor("gap-tv", device="cpu")


def coded(film: np.ndarray, mask: np.ndarray, noise: float = 0.0) -> np.ndarray:
    grain = noise * np.random.default_rng(5).standard_normal(mask.shape[1:])
    return ((film * mask).sum(0) + grain).astype(np.float32)


class TestWhatMoves:
    """Found where the frames explain the measurement better than one picture does."""

    @pytest.mark.parametrize("noise", [0, 0.05])
    def test_a_disc_is_found_and_little_else(self, mask, cheap, noise):
        film, where = moving_scene()
        y = coded(film, mask, noise)
        found = find_moving(cheap(y[None], mask).x[0].numpy(), y, mask)
        assert found[where].mean() > 0.95
        assert found[~ndimage.binary_dilation(where, iterations=12)].mean() < 0.02

    @pytest.mark.parametrize("noise", [0, 0.05])
    def test_nothing_moves_in_a_scene_at_rest_though_its_cheap_film_does(self, mask, cheap, noise):
        y = coded(np.repeat(still_scene()[None], T, 0).astype(np.float32), mask, noise)
        film = cheap(y[None], mask).x[0].numpy()
        assert (film.std(0) > otsu_threshold(film.std(0))).mean() > 0.1
        assert not find_moving(film, y, mask).any()

    def test_pixels_that_are_closed_tell_nothing(self, mask, cheap):
        film, where = moving_scene()
        closed = mask.copy()
        closed[:, 30:40] = 0
        y = coded(film, closed)
        found = find_moving(cheap(y[None], closed).x[0].numpy(), y, closed)
        assert np.isfinite(frames_against_picture(film, y, closed)).all()
        assert found[where].mean() > 0.5

    def test_the_true_film_predicts_better_than_a_picture_only_where_it_moves(self, mask):
        film, where = moving_scene()
        better = frames_against_picture(film, coded(film, mask), mask)
        assert np.median(better[where]) > 10 * np.median(better[:20])

    @pytest.mark.parametrize("seed", range(4))
    def test_the_threshold_is_that_of_another_library(self, seed):
        rng = np.random.default_rng(seed)
        values = np.concatenate([rng.normal(0.1, 0.05, 500), rng.normal(0.6, 0.1, 60 * seed + 9)])
        width = np.ptp(values) / 256
        assert otsu_threshold(values) == pytest.approx(threshold_otsu(values), abs=1.01 * width)


class TestRectangles:
    """Around connected parts; apart from each other."""

    def test_parts_far_from_each_other_are_those_of_another_library(self):
        marked = np.zeros((300, 300), bool)
        for row, column in ((20, 30), (110, 250), (280, 100)):
            marked[row : row + 9, column : column + 14] = True
        marked[29, 44] = True  # touches a corner
        boxes = [(b.top, b.left, b.bottom, b.right) for b in boxes_of(marked)]
        assert boxes == [p.bbox for p in regionprops(label(marked, connectivity=2))]

    @pytest.mark.parametrize("seed", range(5))
    def test_they_hold_all_that_is_marked_and_are_together_where_that_costs_less(self, seed):
        marked = np.random.default_rng(seed).random((200, 240)) < 2e-4
        boxes, left = boxes_of(marked), marked.copy()
        crops = [box.crop(marked.shape) for box in boxes]
        for box, crop in zip(boxes, crops, strict=True):
            left[box.slices] = False
            assert crop.fits(marked.shape) and crop.top <= box.top and crop.right >= box.right
        assert not left.any()
        for i, box in enumerate(boxes):
            for j in range(i):
                around = box.around(boxes[j]).crop(marked.shape)
                assert around.area > crops[i].area + crops[j].area

    def test_two_that_touch_with_their_margins_stay_apart_where_the_whole_is_larger(self):
        marked = np.zeros((400, 400), bool)
        marked[:200, :20] = marked[230:250, 50:400] = True
        assert [box.area for box in boxes_of(marked)] == [4000, 7000]

    def test_a_crop_has_its_margin_but_at_the_edge_of_the_picture(self):
        crop = Box(4, 40, 10, 12).crop((100, 60))
        assert (crop.top, crop.left) == (0, 24) and (crop.bottom, crop.right) == (32, 60)

    def test_a_blend_is_all_inside_and_has_no_seam(self):
        film, box = np.zeros((2, 90, 90)), Box(30, 40, 20, 10)
        crop = box.crop((90, 90))
        blend(film, np.ones((2, crop.height, crop.width)), box, crop)
        assert (film[:, 30:50, 40:50] == 1).all() and film[:, 30:50].max() == 1
        steps = [np.abs(np.diff(film, axis=axis)).max() for axis in (1, 2)]
        assert max(steps) < 0.12
        outside = np.ones((90, 90), bool)
        outside[crop.slices] = False
        assert not film[:, outside].any()


@pytest.fixture(scope="module")
def run():
    """A denoiser that is quick, settles, and is unlike total variation: a mean over neighbours."""

    def mean(video: torch.Tensor, sigma: float) -> torch.Tensor:
        around = torch.nn.functional.avg_pool2d(video, 3, 1, 1, count_include_pad=False)
        return 0.3 * video + 0.7 * around

    settings = EquilibriumSettings(consistency_relaxation=1.0, tol=1e-5, max_iter=200)
    return Reconstructor(mean, settings, device="cpu")


class TestFilms:
    """The model's in the region, total variation's elsewhere."""

    def test_a_region_has_the_answer_of_the_whole_picture(self, run, cheap, mask):
        y = coded(moving_scene()[0], mask)[None]
        box = Box(24, 32, 20, 24)
        found = reconstruct_regions(run, Roi((box,)), y, mask)
        whole, around = run(y, mask).x[0], cheap(y, mask).x[0]
        inside = found.x[0][:, 24:44, 32:56]
        assert float((inside - whole[:, 24:44, 32:56]).abs().max()) < 1e-3
        assert float((inside - around[:, 24:44, 32:56]).abs().max()) > 1e-2
        rows, columns = box.crop((H, W)).slices
        outside = torch.ones(H, W, dtype=torch.bool)
        outside[rows, columns] = False
        assert torch.equal(found.x[0][:, outside], around[:, outside])
        ((region,),) = found.regions
        assert (region.top, region.left, region.height, region.width) == (24, 32, 20, 24)
        assert found.facts(0)["residual"] == region.residual < 1e-5 and region.status == "converged"

    def test_what_is_told_is_of_the_worst_region(self, run, mask):
        y = coded(moving_scene()[0], mask)[None]
        found = reconstruct_regions(run, Roi((Box(0, 0, 9, 9), Box(56, 80, 9, 9))), y, mask)
        assert found.residual[0] == max(region.residual for region in found.regions[0])

    def test_a_scene_at_rest_is_total_variations_alone(self, run, cheap, mask):
        y = coded(np.repeat(still_scene()[None], T, 0), mask)[None]
        found = reconstruct_regions(run, Roi(None), y, mask)
        assert found.regions == [()] and torch.equal(found.x, cheap(y, mask).x)
        assert found.evaluations == cheap(y, mask).evaluations

    def test_pixels_that_are_not_seen_and_regions_where_nothing_is(self, run, mask):
        y = coded(moving_scene()[0], mask)[None]
        seen = np.ones(y.shape, bool)
        seen[:, :40, :40] = False
        roi = Roi((Box(0, 0, 8, 8), Box(40, 60, 9, 9)))
        found = reconstruct_regions(run, roi, y, mask, seen=seen)
        assert [region.top for region in found.regions[0]] == [40]


class TestSaying:
    """What `--roi` may say."""

    def test_a_picture(self, tmp_path):
        picture = np.zeros((100, 120), np.uint8)
        picture[10:30, 50:90] = 255
        iio.imwrite(tmp_path / "region.png", picture)
        roi = read_roi(str(tmp_path / "region.png"))
        assert roi.boxes == (Box(10, 50, 20, 40),)
        with pytest.raises(UsageError, match=r"100x120, the picture 72x96"):
            roi.check((H, W))

    @pytest.mark.parametrize("text", ["1,2,3", "1,2,0,4", "-1,2,3,4", "7", "1,2,3,4,5"])
    def test_no_rectangle(self, text):
        with pytest.raises(UsageError, match="is no rectangle"):
            read_roi(text)

    def test_a_file_that_is_not_there_and_one_with_nothing_inside(self, tmp_path):
        with pytest.raises(InputError):
            read_roi(str(tmp_path / "none.png"))
        iio.imwrite(tmp_path / "black.png", np.zeros((9, 9), np.uint8))
        with pytest.raises(UsageError, match="region is empty"):
            read_roi(str(tmp_path / "black.png"))

    def test_beyond_the_picture(self):
        with pytest.raises(UsageError, match="beyond the picture of 72x96"):
            read_roi("60,0,13,5").check((H, W))


@pytest.fixture
def config(tmp_path, mask):
    film = moving_scene()[0]
    still = np.repeat(still_scene()[None], T, 0)
    measurements = np.stack([coded(film, mask), coded(still, mask)])
    write_capture(
        tmp_path / "scene.h5", measurements=measurements, mask=mask, truth=None, scale=1,
        provenance={}, overwrite=False,
    )  # fmt: skip
    return ReconstructConfig(
        inputs=(tmp_path / "scene.h5",),
        out=tmp_path / "o",
        model="pnp-ffdnet",
        roi="auto",
        equilibrium={"max_iter": 2},
        previews=(),
        device="cpu",
    )


def test_films_and_their_report(config, tmp_path):
    told = []
    report = reconstruct(config, told.append)
    moving, still = json.loads((tmp_path / "o" / "report.json").read_text())["measurements"]
    (region,) = moving["roi"]
    assert region["left"] < 24 and region["left"] + region["width"] > 40
    assert region["evaluations"] == moving["evaluations"] == 2
    assert still["roi"] == [] and report.measurements[1].roi == ()
    assert any("nothing moves, the film is gap-tv's alone" in str(event) for event in told)
    assert read_film(tmp_path / "o" / "scene_0.tif").frames.shape == (T, H, W)


def test_a_rectangle_that_does_not_fit_is_the_failure_of_its_capture(config, tmp_path):
    report = reconstruct(replace(config, roi="0,0,73,5"))
    (failure,) = report.failures
    assert "beyond the picture" in failure.error and not report.measurements
