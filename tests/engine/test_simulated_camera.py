"""A film coded with an imperfect camera, and the imperfections undone by the same camera's file."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.ndimage
import tifffile

from deqsci_cli.engine.simulate import SimulateConfig, simulate
from deqsci_cli.errors import InputError, UsageError
from deqsci_cli.io import describe, load_capture
from deqsci_cli.physics.noise import SensorNoise

T, H, W = 4, 24, 32
GAINS = (0.9, 1.1, 1.05, 0.95)


@pytest.fixture
def lab(tmp_path):
    """A grey mask, a dark frame, a flat field, a map of bad pixels and a film, as files."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:H, :W]
    frames = range(2 * T)
    film = [0.5 + 0.45 * np.sin((x - 2 * t) / 5) * np.cos((y + t) / 6) for t in frames]
    flat = 1000 * (1 - 0.3 * ((x - W / 2) ** 2 + (y - H / 2) ** 2) / (H * W))
    flat[3, 4] = 1  # deaf
    bad = np.zeros((H, W), np.uint8)
    bad[[5, 9, 17, 20], [7, 30, 2, 11]] = 1
    arrays = {
        "mask": scipy.ndimage.gaussian_filter(rng.random((T, H, W)), (0, 1, 1)) * 0.9,
        "dark": 20 + 3 * rng.random((3, H, W)),
        "flat": flat,
        "bad_pixels": bad,
        "film": np.stack(film),
    }
    for name, array in arrays.items():
        tifffile.imwrite(
            tmp_path / f"{name}.tif", array.astype(np.float32), photometric="minisblack"
        )
    turned = arrays["mask"].swapaxes(1, 2)
    tifffile.imwrite(tmp_path / "turned.tif", turned.astype(np.float32), photometric="minisblack")
    return tmp_path


def camera(lab: Path, **table: object) -> Path:
    path = lab / "lab.toml"
    lines = [f"{key} = {json.dumps(value)}" for key, value in table.items()]
    path.write_text("\n".join(lines))
    return path


IMPERFECTIONS = {
    "a black level": {"dark": 21},
    "a dark frame": {"dark": "dark.tif"},
    "a flat field": {"flat": "flat.tif"},
    "gains": {"frame_gains": GAINS},
    "bad pixels": {"bad_pixels": "bad_pixels.tif"},
    "clipping": {"saturation": 250},
    "an orientation": {"orientation": "rotate-180"},
    "a turn": {"mask": "turned.tif", "orientation": "transpose"},
    "a shift": {"shift": (0.4, -1.3)},
    "a rotation": {"rotation": 2.0},
    "a zoom": {"zoom": 1.03},
    "a blur": {"blur": 0.8},
    "another scale": {"scale": 1000, "dark": 90},
}
ALL = {
    "dark": "dark.tif",
    "flat": "flat.tif",
    "frame_gains": GAINS,
    "bad_pixels": "bad_pixels.tif",
    "saturation": 270,
    "mask": "turned.tif",
    "orientation": "rotate-90",
    "shift": (0.4, -0.3),
    "rotation": 1.0,
    "zoom": 1.01,
    "blur": 0.5,
    "scale": 255,
}


@pytest.mark.parametrize("table", [*IMPERFECTIONS.values(), ALL], ids=[*IMPERFECTIONS, "all"])
def test_the_same_camera_undoes_what_it_did(lab, table):
    table = {"mask": "mask.tif"} | table
    file = camera(lab, **table)
    simulate(SimulateConfig(lab / "film.tif", lab / "c.h5", camera=file))
    capture = load_capture(lab / "c.h5", camera=file)
    film = tifffile.imread(lab / "film.tif").reshape(2, T, H, W).astype(np.float64)
    expected = (capture.mask * film).sum(1)
    seen = np.ones(expected.shape, bool) if capture.unseen is None else capture.unseen == 0
    assert seen.mean() > 0.5
    np.testing.assert_allclose(capture.measurements[seen], expected[seen], rtol=1e-4, atol=1e-5)
    assert capture.notes == ()  # measurement, mask and truth agree
    # Without the camera they do not, or not everywhere: the mask is the one on file.
    with h5py.File(lab / "c.h5") as content:
        np.testing.assert_array_equal(content["mask"][()], tifffile.imread(lab / table["mask"]))
    if table["mask"] == "turned.tif":
        with pytest.raises(InputError, match="do not agree"):
            load_capture(lab / "c.h5", saturation="none")
        return
    plain = load_capture(lab / "c.h5", saturation="none")
    coded = (plain.mask * film).sum(1)
    off = np.abs(plain.measurements - coded) > 1e-3 * coded.max()
    assert off.mean() > (0.002 if "bad_pixels" in table else 0.1)


def test_what_the_camera_did_is_what_its_file_says(lab):
    """Against the formula, written out once more."""
    file = camera(
        lab, mask="mask.tif", dark="dark.tif", flat="flat.tif", frame_gains=GAINS, saturation=300,
        bad_pixels="bad_pixels.tif", scale=200, orientation="flip-rows",
    )  # fmt: skip
    simulate(SimulateConfig(lab / "film.tif", lab / "c.h5", camera=file))
    read = {p.stem: tifffile.imread(p).astype(np.float64) for p in lab.glob("*.tif")}
    mask = read["mask"][:, ::-1] * np.array(GAINS)[:, None, None]
    flat = read["flat"]
    flat[3, 4] = 0
    flat /= flat[flat > 0].mean()
    light = (mask * read["film"].reshape(2, T, H, W)).sum(1)
    expected = np.clip(read["dark"].mean(0) + 200 * flat * light, 0, 300)
    bad = read["bad_pixels"] > 0
    with h5py.File(lab / "c.h5") as content:
        recorded = content["meas"][()]
        np.testing.assert_allclose(recorded[:, ~bad], expected[:, ~bad], rtol=1e-5)
        assert recorded[:, bad].tolist() == [pytest.approx([0, 300, 0, 300])] * 2
        np.testing.assert_allclose(content["orig"][()], 200 * read["film"], rtol=1e-5)


def test_noise_follows_the_camera_and_options_go_before(lab):
    tifffile.imwrite(lab / "white.tif", np.full((T, H, W), 255, np.uint8), photometric="minisblack")
    file = camera(lab, mask="mask.tif", photons=40, noise=0.2, scale=255)

    def spread(**sensor: float) -> float:
        simulate(
            SimulateConfig(
                lab / "white.tif", lab / "c.h5", camera=file, noise=SensorNoise(**sensor),
                overwrite=True,
            )
        )  # fmt: skip
        capture = load_capture(lab / "c.h5", saturation="none")
        return float(np.mean((capture.measurements[0] - capture.mask.sum(0)) ** 2))

    light = tifffile.imread(lab / "mask.tif").sum(0).mean()
    assert spread() == pytest.approx(0.2**2 + light / 40, rel=0.2)
    assert spread(read=0.0) == pytest.approx(light / 40, rel=0.2)
    assert spread(peak=400) == pytest.approx(0.2**2 + light / 400, rel=0.2)
    assert spread(read=0.0, saturation=0.5) > 0.5  # nearly everything is clipped


def test_a_random_mask_fits_what_the_camera_does_to_it(lab):
    file = camera(lab, orientation="transpose", frames="2:6", frame_gains=GAINS)
    done = simulate(SimulateConfig(lab / "film.tif", lab / "c.h5", camera=file))
    assert (done.count, done.frames, done.shape) == (2, T, (H, W))
    capture = load_capture(lab / "c.h5", camera=file)
    with h5py.File(lab / "c.h5") as content:
        mask = content["mask"][()]
    assert mask.shape == (6, W, H)
    lit = mask[2:].swapaxes(1, 2) * np.array(GAINS)[:, None, None]
    np.testing.assert_allclose(capture.mask, lit, rtol=1e-6)


def test_what_is_told_of_it_afterwards(lab):
    file = camera(lab, mask="mask.tif", dark="dark.tif", blur=0.5, noise="auto", note="ours")
    done = simulate(SimulateConfig(lab / "film.tif", lab / "c.h5", camera=file))
    assert done.notes == ("the camera's noise is 'auto', so none is simulated",)
    summary = describe(lab / "c.h5")
    assert summary.imperfections == ("dark", "blur")
    record = summary.provenance
    assert record["config"]["camera"]["note"] == "ours"
    assert {Path(i["path"]).name for i in record["inputs"]} == {
        "film.tif", "lab.toml", "mask.tif", "dark.tif",
    }  # fmt: skip
    simulate(SimulateConfig(lab / "film.tif", lab / "d.h5", mask_file=lab / "mask.tif"))
    assert describe(lab / "d.h5").imperfections == ()


def test_a_camera_of_arrays(lab):
    read = {p.stem: tifffile.imread(p) for p in lab.glob("*.tif")}
    with h5py.File(lab / "lab.h5", "w") as content:
        for name in ("mask", "dark", "flat", "bad_pixels"):
            content[name] = read[name]
        content.attrs["camera"] = json.dumps({"shift": [0.3, 0.6], "saturation": 300})
    simulate(SimulateConfig(lab / "film.tif", lab / "c.h5", camera=lab / "lab.h5"))
    capture = load_capture(lab / "c.h5", camera=lab / "lab.h5")
    expected = (capture.mask * read["film"].reshape(2, T, H, W)).sum(1)
    seen = capture.unseen == 0
    np.testing.assert_allclose(capture.measurements[seen], expected[seen], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"mask": "mask.tif", "frame_gains": (1, 2)}, "2 gains for the 4 frames"),
        ({"mask": "turned.tif"}, "the mask has"),
        ({"mask": "mask.tif", "dark": "turned.tif"}, "do not agree"),
        ({"mask": "mask.tif", "frames": "2:9"}, "the mask has 4 frames"),
        ({"mask": "mask.tif", "photons": 1e300}, "photons"),
        ({"mask": "mask.tif", "saturation": -3}, "saturation"),
        ({"mask": "none.tif"}, "no such file"),
    ],
)
def test_cameras_that_cannot_code_this_film(lab, table, said):
    config = SimulateConfig(lab / "film.tif", lab / "c.h5", camera=camera(lab, **table))
    with pytest.raises((InputError, UsageError), match=said):
        simulate(config)
    assert not (lab / "c.h5").exists()


def test_no_file_of_the_camera_is_replaced(lab):
    file = camera(lab, mask="mask.tif", dark="dark.tif")
    before = {path: path.read_bytes() for path in lab.iterdir()}
    for name in ("dark.tif", "mask.tif"):
        with pytest.raises(UsageError, match="input"):
            simulate(SimulateConfig(lab / "film.tif", lab / name, camera=file, overwrite=True))
    assert {path: path.read_bytes() for path in lab.iterdir()} == before


def test_the_mask_or_the_option_tells_the_frames(lab):
    for table in ({"mask": "mask.tif"}, {"frames": "4"}):
        with pytest.raises(UsageError, match="--frames"):
            simulate(
                SimulateConfig(
                    lab / "film.tif", lab / "c.h5", camera=camera(lab, **table), frames=2
                )
            )
