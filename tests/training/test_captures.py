"""Random captures: what they are made of, checked on clips whose every pixel says where it is."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.io
import torch
from scipy.ndimage import label

from deqsci_cli.errors import InputError, UsageError
from deqsci_cli.training.capture_settings import CaptureSettings
from deqsci_cli.training.captures import CaptureBatch, CaptureSampler
from deqsci_cli.training.motion import moving_camera, random_outline

#: a pixel (t, y, x) of clip n is worth 125 n + 25 t + 5 y + x: no two are alike
MAPS = np.arange(250, dtype=np.uint8).reshape(2, 5, 5, 5)
NOTHING = {
    "still_image_prob": 0.0,
    "downsample_prob": 0.0,
    "gain_range": (1.0, 1.0),
    "noise_range": (0.0, 0.0),
}


def noise_clip(frames: int = 6, side: int = 60, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (frames, side, side), dtype=np.uint8)


def sampler(
    clips=None, *, patch_size=16, batch_size=4, seed=5, share=(0, 1), **settings
) -> CaptureSampler:
    settings = {"frames": (3,)} | settings
    return CaptureSampler(
        [noise_clip()] if clips is None else clips,
        CaptureSettings(**settings),
        patch_size=patch_size,
        batch_size=batch_size,
        seed=seed,
        share=share,
    )


def assert_equal(found: CaptureBatch, expected: CaptureBatch) -> None:
    for name in ("video", "mask", "measurement"):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name


def missed(batch: CaptureBatch) -> torch.Tensor:
    """What of the measurements is not the coded video."""
    count = batch.measurement.shape[1]
    return batch.measurement - (batch.mask * batch.video).unflatten(1, (count, -1)).sum(2)


def test_shapes_and_ranges():
    batch = sampler(batch_size=5, gain_range=(2.0, 3.0))(0)
    assert batch.video.shape == batch.mask.shape == (5, 3, 16, 16)
    assert batch.measurement.shape == (5, 1, 16, 16)
    for part in (batch.video, batch.mask, batch.measurement):
        assert part.dtype == torch.float32
    assert float(batch.video.min()) >= 0 and float(batch.video.max()) == 1.0
    assert float(batch.mask.min()) >= 0 and float(batch.mask.max()) <= 1


def test_without_noise_the_measurement_is_the_coded_sum():
    sample = sampler(noise_range=(0.0, 0.0), masks=("binary", "grey", "shifting"))
    for step in range(5):
        assert float(missed(sample(step)).abs().max()) < 1e-6


def test_a_recording_is_consecutive_measurements_through_one_mask():
    clip = np.arange(12, dtype=np.uint8)[:, None, None] * np.full((1, 30, 30), 20, np.uint8)
    settings = {"frames": (2, 3), "measurements": (1, 2, 4), "frame_strides": (1,)}
    sample = sampler([clip], batch_size=6, **settings, **NOTHING)
    seen = set()
    for step in range(30):
        batch = sample(step)
        count = batch.measurement.shape[1]
        frames = batch.video.shape[1] // count
        seen.add((frames, count))
        assert float(missed(batch).abs().max()) < 1e-5
        steps = batch.video[:, :, 0, 0].diff(dim=1) * 255 / 20
        torch.testing.assert_close(steps, steps[:, :1].sign().expand_as(steps))
        masks = batch.mask.unflatten(1, (count, frames))
        assert torch.equal(masks, masks[:, :1].expand_as(masks))
    assert seen == {(t, n) for t in (2, 3) for n in (1, 2, 4)}
    with pytest.raises(InputError, match="12 frames"):
        sampler([noise_clip(11)], frames=(3,), measurements=(1, 4))
    with pytest.raises(UsageError, match="measurements"):
        CaptureSettings(measurements=(0,))


def test_noise_stays_below_its_bound_and_takes_any_level_up_to_it():
    sample = sampler(patch_size=48, batch_size=6, noise_range=(0.0, 0.02))
    rest = torch.cat([missed(sample(step)) for step in range(5)]).flatten(1)
    levels = rest.std(1)
    assert float(levels.max()) <= 0.02 * 1.06  # four standard errors of 2304 pixels
    assert float(levels.max()) > 0.015 and float(levels.min()) < 0.005
    assert bool((rest.mean(1).abs() < 5 * levels / 48).all())


def test_hot_pixels_stand_out_in_as_many_captures_as_asked():
    sample = sampler(batch_size=20, patch_size=32, noise_range=(0.0, 0.0), hot_pixel_prob=0.3)
    rest = torch.cat([missed(sample(step)) for step in range(10)]).flatten(1)
    hot = rest.abs() > 1e-5
    assert set(hot.sum(1).tolist()) == {0, 1, 2, 3}
    assert 36 <= int(hot.any(1).sum()) <= 84  # of 200, 0.3 of them: four standard errors
    assert float(rest[hot].min()) >= 1 and 4 < float(rest[hot].max()) <= 5
    calm = sampler(batch_size=20, patch_size=32, noise_range=(0.0, 0.0))
    assert torch.equal(sample(2).video, calm(2).video)


def test_a_capture_depends_on_seed_step_and_place_alone():
    sample = sampler(batch_size=6)
    first = sample(3)
    sample(4)
    assert_equal(sample(3), first)
    assert_equal(sampler(batch_size=6)(3), first)
    fewer = sampler(batch_size=2)(3)
    assert_equal(fewer, CaptureBatch(first.video[:2], first.mask[:2], first.measurement[:2]))
    for other in (sample(4), sampler(batch_size=6, seed=6)(3)):
        assert not torch.equal(other.video, first.video)
        assert not torch.equal(other.mask, first.mask)
    videos = {video.numpy().tobytes() for video in first.video}
    masks = {mask.numpy().tobytes() for mask in first.mask}
    assert len(videos) == len(masks) == 6


@pytest.mark.parametrize("count", [2, 3])
def test_a_batch_is_dealt_out(count):
    settings = {"batch_size": 6, "frames": (2, 4)}
    for step in range(4):
        whole = sampler(**settings)(step)
        parts = [sampler(share=(rank, count), **settings)(step) for rank in range(count)]
        for name in ("video", "mask", "measurement"):
            dealt = torch.stack([getattr(part, name) for part in parts], 1).flatten(0, 1)
            assert torch.equal(dealt, getattr(whole, name))
        shape = whole.video.shape
        probes = [
            sampler(share=(rank, count), **settings).probe(step, shape) for rank in range(count)
        ]
        whole_probe = sampler(**settings).probe(step, shape)
        assert torch.equal(torch.stack(probes, 1).flatten(0, 1), whole_probe)


def test_probes_are_normal_and_of_their_step():
    sample = sampler(batch_size=8)
    shape = torch.Size((8, 4, 16, 16))
    probe = sample.probe(3, shape)
    assert probe.shape == shape and torch.equal(probe, sample.probe(3, shape))
    assert abs(float(probe.mean())) < 0.05 and abs(float(probe.std()) - 1) < 0.05
    assert len({tuple(p.flatten()[:3].tolist()) for p in (*probe, *sample.probe(4, shape))}) == 16


def test_a_step_draws_its_number_of_frames():
    sample = sampler(frames=(2, 5))
    counts = [sample(step).video.shape[1] for step in range(40)]
    assert set(counts) == {2, 5} and 10 < counts.count(2) < 30


def test_kinds_of_masks():
    def kind(mask: torch.Tensor) -> str:
        if set(mask.unique().tolist()) != {0.0, 1.0}:
            return "grey"
        return "shifting" if torch.equal(mask[1:, :-1], mask[:-1, 1:]) else "binary"

    for chosen in (("binary",), ("grey",), ("shifting",), ("binary", "grey")):
        sample = sampler(masks=chosen)
        seen = [kind(mask) for step in range(6) for mask in sample(step).mask]
        assert set(seen) == set(chosen)
        assert min(seen.count(name) for name in chosen) >= 24 / len(chosen) / 2


def test_masks_are_pieces_of_a_camera_s_own(tmp_path):
    own = np.random.default_rng(1).integers(0, 200, (4, 18, 21), dtype=np.uint8)
    path = tmp_path / "camera.mat"
    scipy.io.savemat(path, {"mask": own.transpose(1, 2, 0)})
    sample = sampler(mask_file=path, frames=(2, 3), batch_size=6)  # its own number of frames wins
    windows = np.lib.stride_tricks.sliding_window_view(own, (16, 16), axis=(1, 2))
    known = {windows[:, y, x].tobytes(): (y, x) for y in range(3) for x in range(6)}
    seen = set()
    for step in range(10):
        batch = sample(step)
        assert batch.video.shape == (6, 4, 16, 16) and batch.measurement.dtype == torch.float32
        for mask in batch.mask * float(own.max()):
            seen.add(known[mask.round().numpy().astype(np.uint8).tobytes()])
            assert float((mask - mask.round()).abs().max()) < 1e-4
    assert len(seen) > 12
    with pytest.raises(InputError, match=r"camera\.mat: the mask is smaller than .* 19x19"):
        sampler(mask_file=path, patch_size=19)


def decode(video: torch.Tensor, pace: int) -> tuple[int, int, tuple[int, bool]]:
    """Clip, step in time and (turns, flip) of a piece of `MAPS`; fails where it is no piece.

    `pace` pixels are averaged on either axis; their mean is that of the corners, whose first
    is 3 less where there are four.
    """
    values = np.asarray(video, dtype=float) * 255 - (3 if pace == 2 else 0)
    whole = np.rint(values).astype(int)
    assert np.abs(values - whole).max() < 1e-3
    clip, t, y, x = np.unravel_index(whole, MAPS.shape)
    assert len(np.unique(clip)) == 1
    times = t[:, 0, 0]
    assert (t == times[:, None, None]).all()
    (speed,) = set(np.diff(times).tolist())
    assert (y == y[0]).all() and (x == x[0]).all()  # every frame is cut out and turned alike
    places = np.stack((y[0], x[0]))
    grid = pace * np.indices(y[0].shape)
    ways = []
    for turns in range(4):
        for flip in (False, True):
            turned = np.rot90(places[..., ::-1] if flip else places, turns, axes=(1, 2))
            if (turned - turned[:, :1, :1] == grid).all():
                ways.append((turns, flip))
    (way,) = ways
    return int(clip.flat[0]), speed, way


@pytest.mark.parametrize(("half", "patch_size", "pace"), [(0.0, 3, 1), (1.0, 2, 2)])
def test_videos_are_pieces_of_one_clip_at_one_speed(half, patch_size, pace):
    sample = sampler(
        list(MAPS), patch_size=patch_size, batch_size=8, **NOTHING | {"downsample_prob": half}
    )
    seen = [decode(video, pace) for step in range(25) for video in sample(step).video]
    clips, speeds, ways = (set(column) for column in zip(*seen, strict=True))
    assert clips == {0, 1} and speeds == {-2, -1, 1, 2}
    assert ways == {(turns, flip) for turns in range(4) for flip in (False, True)}


def test_every_place_and_time_is_taken():
    sample = sampler([MAPS[0]], patch_size=3, batch_size=8, frame_strides=(1,), **NOTHING)
    corners = [video.numpy().min() for step in range(60) for video in sample(step).video]
    firsts = {int(np.rint(255 * corner)) for corner in corners}
    assert firsts == {25 * t + 5 * y + x for t in range(3) for y in range(3) for x in range(3)}


def test_half_of_the_crops_at_half_resolution():
    # Of black and white chequers nothing but grey is left at half resolution.
    chequers = np.broadcast_to(255 * (np.indices((40, 40)).sum(0) % 2), (3, 40, 40))
    sample = sampler(
        [chequers.astype(np.uint8)],
        patch_size=8,
        batch_size=20,
        **NOTHING | {"downsample_prob": 0.5},
    )
    halves = [bool((video == 0.5).all()) for step in range(5) for video in sample(step).video]
    assert 35 < sum(halves) < 65
    small = sampler(
        [chequers[:, :15].astype(np.uint8)], patch_size=8, **NOTHING | {"downsample_prob": 1.0}
    )
    assert not bool((small(0).video == 0.5).any())  # 15 rows are not twice 8


@pytest.mark.parametrize("patch_size", [16, 17])
def test_crops_at_twice_the_resolution(patch_size):
    # A cubic spline gives a slope back exactly, but near the edges, behind which it is mirrored.
    slope = np.broadcast_to(4 * np.arange(40), (3, 40, 40)).astype(np.uint8)

    def steps(share):
        sample = sampler(
            [slope], patch_size=patch_size, batch_size=50, **NOTHING | {"upsample_prob": share}
        )
        inner = 255 * sample(0).video[:, 0, 5:-5, 5:-5]
        down, across = (inner.diff(dim=d).abs() for d in (1, 2))
        flat = torch.minimum(down.amax((1, 2)), across.amax((1, 2)))
        assert torch.allclose(flat, torch.zeros(50), atol=1e-3)
        return torch.maximum(down.mean((1, 2)), across.mean((1, 2)))

    assert torch.allclose(steps(0.0), torch.full((50,), 4.0), atol=1e-3)
    assert torch.allclose(steps(1.0), torch.full((50,), 2.0), atol=0.05)
    assert 15 < int((steps(0.5) < 3).sum()) < 35


def test_half_of_the_captures_are_of_one_frame():
    steps = np.broadcast_to(np.arange(0, 250, 50)[:, None, None], (5, 20, 20)).astype(np.uint8)
    sample = sampler([steps], batch_size=20, patch_size=8, **NOTHING | {"still_image_prob": 0.5})
    videos = torch.cat([sample(step).video for step in range(5)]) * 255
    still = ((videos - videos[:, :1]).abs() < 1e-3).flatten(1).all(1)
    assert 35 < int(still.sum()) < 65
    assert len(set(videos[still][:, 0, 0, 0].round().tolist())) == 5  # any frame


def test_a_moving_camera_pans_and_zooms_evenly():
    # Cubic splines follow a plane exactly, so that each value tells where it was taken.
    y, x = np.indices((64, 70), dtype=np.float32)
    speeds, zooms = [], []
    for seed in range(60):
        places = np.stack(
            [moving_camera(p, 5, 16, 1.5, np.random.default_rng(seed)) for p in (y, x)]
        ).astype(float)
        centres = places.mean((2, 3)) - [[63 / 2], [69 / 2]]
        moves = np.diff(centres)
        assert np.abs(moves - moves[:, :1]).max() < 1e-3 and np.abs(centres[:, 2]).max() < 1e-3
        speeds.append(np.hypot(*moves[:, 0]))
        scales = [places[0, :, 1:] - places[0, :, :-1], places[1, :, :, 1:] - places[1, :, :, :-1]]
        for scale in scales:
            assert np.abs(scale - scale[:, :1, :1]).max() < 1e-3
        assert np.abs(scales[0][:, 0, 0] - scales[1][:, 0, 0]).max() < 1e-3
        assert abs(scales[0][2, 0, 0] - 1) < 1e-3
        zooms.append(scales[0][4, 0, 0] - scales[0][0, 0, 0])
    resting = (np.array(speeds) < 1e-4) & (np.abs(zooms) < 1e-4)
    assert 6 <= resting.sum() <= 20
    assert 1.2 < max(speeds) <= 1.5 and 0.2 < np.median(np.array(speeds)[~resting]) < 0.6
    assert 0.03 < max(zooms) <= 0.051 and -0.051 <= min(zooms) < -0.03


def test_pictures_that_move_together():
    pictures = np.random.default_rng(0).random((2, 40, 44), dtype=np.float32)
    both = moving_camera(pictures, 4, 16, 2.0, np.random.default_rng(3))
    assert both.shape == (2, 4, 16, 16)
    for picture, film in zip(pictures, both, strict=True):
        alone = moving_camera(picture, 4, 16, 2.0, np.random.default_rng(3))
        assert np.array_equal(film, alone)


def test_an_outline_is_of_a_few_round_shapes():
    shares = []
    for seed in range(30):
        shape = random_outline((48, 64), np.random.default_rng(seed))
        assert shape.shape == (48, 64) and shape.dtype == np.float32
        assert float(shape.min()) >= 0 and float(shape.max()) <= 1 + 1e-6
        shares.append(float(shape.mean()))
        assert float(((shape > 0.1) & (shape < 0.9)).mean()) < 0.35  # most is in or out
        assert label(shape > 0.5)[1] < 25  # white noise would make hundreds
    assert 0.08 < min(shares) < 0.2 and 0.4 < max(shares) < 0.52


def test_objects_move_by_themselves_before_the_picture():
    """Of a clip that is dark and one that is bright each stays its own, and an edge moves."""
    clips = [np.full((3, 40, 40), grey, np.uint8) for grey in (40, 200)]
    calm = NOTHING | {"still_image_prob": 1.0, "max_pan": 3.0}
    sample = sampler(clips, batch_size=20, moving_object_prob=0.5, **calm)
    videos = torch.cat([sample(step).video for step in range(5)]) * 255
    assert float(videos.min()) > 39 and float(videos.max()) < 201
    mixed = [video for video in videos if float(video.max() - video.min()) > 100]
    # Half have an object, half of these one of the other grey, few of which lie outside.
    assert 10 < len(mixed) < 40
    changed = torch.stack([(video[0] - video[-1]).abs().max() for video in mixed])
    assert float((changed > 20).float().mean()) > 0.7
    none = sampler(clips, batch_size=20, **calm)(0).video
    assert float((none - none[:, :1, :1, :1]).abs().max()) < 1e-5


def test_brightness():
    grey = [np.full((4, 20, 20), 100, np.uint8)]
    sample = sampler(grey, batch_size=50, gain_range=(0.5, 2.0), downsample_prob=0.0)
    factors = sample(0).video.flatten(1) * 255 / 100
    assert float((factors - factors[:, :1]).abs().max()) < 1e-6  # one for all frames
    assert 0.5 <= float(factors.min()) < 0.7 and 1.8 < float(factors.max()) <= 2.0
    assert float(sampler(grey, gain_range=(3.0, 3.0))(0).video.min()) == 1.0  # white is the end


def test_a_clip_too_short_for_a_speed_is_taken_slower():
    sample = sampler([MAPS[0][:3]], patch_size=3, batch_size=8, frame_strides=(1, 4), **NOTHING)
    assert {abs(decode(video, 1)[1]) for video in sample(0).video} == {1}
    sample = sampler([MAPS[0][:3]], patch_size=3, batch_size=8, frame_strides=(4,), **NOTHING)
    assert {abs(decode(video, 1)[1]) for video in sample(0).video} == {1}


def test_clips_too_short_or_too_small_are_left_out():
    clips = [noise_clip(4), noise_clip(6, 15), MAPS[0]]
    sample = sampler(clips, patch_size=5, frames=(2, 5), batch_size=4, **NOTHING)
    assert [len(clip) for clip in sample.clips] == [6, 5]
    for frames, patch_size in ((7, 8), (6, 16)):
        with pytest.raises(
            InputError, match=f"no clip has {frames} frames .* {patch_size}x{patch_size}"
        ):
            sampler(clips, frames=(2, frames), patch_size=patch_size)


@pytest.mark.parametrize(
    "wrong",
    [{"frames": ()}, {"masks": ()}, {"frame_strides": ()}, {"frames": (8, 0)},
     {"frame_strides": (0,)},
     {"masks": ("binary", "gray")}, {"downsample_prob": -0.1}, {"downsample_prob": 1.1},
     {"upsample_prob": -0.1}, {"downsample_prob": 0.6, "upsample_prob": 0.5},
     {"still_image_prob": -0.1}, {"still_image_prob": 1.1}, {"max_pan": -1.0},
     {"gain_range": (0.0, 1.0)},
     {"gain_range": (1.2, 0.7)}, {"noise_range": (-0.01, 0.1)}, {"noise_range": (0.2, 0.1)}],
    ids=str,
)  # fmt: skip
def test_impossible_settings(wrong):
    with pytest.raises(UsageError):
        CaptureSettings(**wrong)


def test_an_unknown_mask_is_told_with_the_known_ones():
    with pytest.raises(UsageError, match=r"'gray'.*binary, grey, shifting"):
        CaptureSettings(masks=("gray",))


def greys(values, frames: int, side: int = 40) -> list[np.ndarray]:
    """A plain clip of each grey value."""
    return [np.full((frames, side, side), value, np.uint8) for value in values]


def filmed(sample: CaptureSampler, steps: int) -> np.ndarray:
    """The grey value of every capture of plain clips, `(steps * batch,)`."""
    videos = torch.cat([sample(step).video for step in range(steps)]) * 255
    assert float((videos - videos[:, :1, :1, :1]).abs().max()) < 1e-2
    return videos[:, 0, 0, 0].round().numpy().astype(int)


def test_pictures_serve_captures_by_a_moving_camera_beside_clips():
    clips = [*greys((10, 20, 30, 40), 1), *greys((200, 250), 50)]
    calm = NOTHING | {"still_image_prob": 0.5, "max_pan": 2.0}
    counts = {g: int(n) for g, n in zip(*np.unique(
        filmed(sampler(clips, batch_size=40, picture_prob=0.6, **calm), 25), return_counts=True
    ), strict=True)}  # fmt: skip
    # Of 1000 half are of a moving camera; 0.6 of those show one of four pictures, each as likely.
    assert set(counts) == {10, 20, 30, 40, 200, 250}
    assert all(35 < counts[grey] < 115 for grey in (10, 20, 30, 40))
    assert 230 < sum(counts[grey] for grey in (10, 20, 30, 40)) < 370  # 300, five deviations
    none = filmed(sampler(clips, batch_size=40, picture_prob=0.0, **calm), 5)
    assert set(none) == {200, 250}


def test_without_pictures_captures_are_what_they_were():
    clips = [noise_clip(6), noise_clip(7, seed=1)]
    for pictures in (0.0, 1.0):
        sample = sampler(clips, picture_prob=pictures, still_image_prob=0.7, moving_object_prob=0.5)
        assert_equal(sample(3), sampler(clips, still_image_prob=0.7, moving_object_prob=0.5)(3))


def test_pictures_alone_are_filmed_by_a_moving_camera():
    sample = sampler(greys((50, 100), 1), batch_size=20, **NOTHING | {"still_image_prob": 1.0})
    assert set(filmed(sample, 3)) == {50, 100}
    with pytest.raises(InputError, match="no clip has 3 frames") as caught:
        sampler(greys((50, 100), 1), still_image_prob=0.9)
    assert "captures.still_image_prob=1" in str(caught.value.hint)
    with pytest.raises(InputError, match="no clip has"):  # none is large enough
        sampler(greys((50,), 1, side=15), still_image_prob=1.0)
