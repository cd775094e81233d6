"""load_capture against files that other libraries wrote."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
import scipy.io
import tifffile

from deqsci_cli.errors import InputError, UsageError
from deqsci_cli.io import Capture, load_capture, read_film


def matlab(stack):
    return stack.transpose(1, 2, 0)


def assert_is(capture, scene, truth=True):
    assert capture.scale == 255
    np.testing.assert_allclose(capture.measurements, scene.meas / 255.0, rtol=1e-6)
    np.testing.assert_array_equal(capture.mask, scene.mask)
    assert capture.measurements.dtype == capture.mask.dtype == np.float32
    assert (capture.frames, capture.count, capture.shape) == (4, 2, (11, 17))
    if truth:
        np.testing.assert_allclose(capture.truth, scene.video / 255.0, rtol=1e-6)
        np.testing.assert_array_equal(capture.truth_of(1), capture.truth[4:8])
        # y = sum of mask times frame must hold in the units that come out
        seen = np.einsum("thw,nthw->nhw", capture.mask, capture.truth.reshape(2, 4, 11, 17))
        np.testing.assert_allclose(capture.measurements, seen, atol=1e-5)


@pytest.mark.parametrize("compressed", [True, False])
def test_matlab_5(tmp_path, scene, compressed):
    path = tmp_path / "a.mat"
    variables = {"meas": scene.meas, "mask": scene.mask, "orig": scene.video}
    scipy.io.savemat(path, {k: matlab(v) for k, v in variables.items()}, do_compression=compressed)
    assert_is(load_capture(path), scene)


def test_matlab_73(tmp_path, scene, v73):
    path = tmp_path / "a.mat"
    v73(
        path,
        {"meas": matlab(scene.meas), "mask": matlab(scene.mask), "orig": matlab(scene.video)},
    )
    assert_is(load_capture(path), scene)


def test_matlab_73_single_measurement_and_single_mask(tmp_path, v73):
    rng = np.random.default_rng(0)
    meas, mask = rng.random((11, 17)), rng.random((11, 17, 1))
    v73(tmp_path / "a.mat", {"meas": meas, "mask": mask})
    capture = load_capture(tmp_path / "a.mat", mask_key="mask", measurement_key="meas")
    assert (capture.count, capture.frames, capture.shape) == (1, 1, (11, 17))
    np.testing.assert_allclose(capture.mask[0], mask[..., 0], rtol=1e-6)


def test_one_of_everything_is_never_squeezed(tmp_path):
    mask = np.ones((11, 17, 1))
    scipy.io.savemat(tmp_path / "a.mat", {"meas": np.full((11, 17), 0.5), "mask": mask})
    capture = load_capture(tmp_path / "a.mat")
    assert capture.mask.shape == (1, 11, 17)
    assert capture.measurements.shape == (1, 11, 17)
    scipy.io.savemat(tmp_path / "b.mat", {"meas": np.full((11, 17, 1), 0.5), "mask": mask})
    assert load_capture(tmp_path / "b.mat").measurements.shape == (1, 11, 17)


@pytest.mark.parametrize("layout", ["THW", "HWT"])
def test_plain_hdf5_in_either_layout(tmp_path, scene, layout):
    turn = matlab if layout == "HWT" else (lambda stack: stack)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["meas"], file["mask"] = turn(scene.meas), turn(scene.mask)
        file["orig"] = turn(scene.video)
    assert_is(load_capture(tmp_path / "a.h5"), scene)
    assert_is(load_capture(tmp_path / "a.h5", axes=layout), scene)


def test_the_ending_does_not_matter(tmp_path, scene):
    with h5py.File(tmp_path / "a.tif", "w") as file:
        file["meas"], file["mask"], file["orig"] = scene.meas, scene.mask, scene.video
    assert_is(load_capture(tmp_path / "a.tif"), scene)


def test_tiff_with_mask_of_its_own(tmp_path, scene):
    tifffile.imwrite(tmp_path / "y.tif", scene.meas, photometric="minisblack", metadata=None)
    tifffile.imwrite(tmp_path / "m.tif", scene.mask, imagej=True, metadata={"axes": "TYX"})
    capture = load_capture(tmp_path / "y.tif", mask=tmp_path / "m.tif")
    assert_is(capture, scene, truth=False)
    assert capture.truth is None and capture.truth_of(0) is None
    assert [v.stamp.path.name for v in capture.versions] == ["y.tif", "m.tif"]
    assert list(capture.beside) == ["mask"]


def test_matlab_measurement_with_hdf5_mask(tmp_path, scene):
    scipy.io.savemat(tmp_path / "y.mat", {"snapshot": matlab(scene.meas)})
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["calibration/anything"] = scene.mask
    assert_is(load_capture(tmp_path / "y.mat", mask=tmp_path / "m.h5"), scene, truth=False)


def test_other_known_names_whatever_their_case(tmp_path, scene):
    names = {"Y": matlab(scene.meas), "Phi": matlab(scene.mask), "GT": matlab(scene.video)}
    scipy.io.savemat(tmp_path / "a.mat", {**names, "junk": np.zeros((11, 17))})
    assert_is(load_capture(tmp_path / "a.mat"), scene)


def test_keys_by_option(tmp_path, scene):
    names = {"a": matlab(scene.meas), "b": matlab(scene.mask), "c": matlab(scene.video)}
    scipy.io.savemat(tmp_path / "a.mat", names)
    with pytest.raises(InputError, match=r"a \(11, 17, 2\).*--measurement-key"):
        load_capture(tmp_path / "a.mat")
    capture = load_capture(tmp_path / "a.mat", measurement_key="a", mask_key="b", truth_key="c")
    assert_is(capture, scene)
    with pytest.raises(InputError, match="did you mean --mask-key b"):
        load_capture(tmp_path / "a.mat", measurement_key="a", mask_key="bb")


def test_single_arrays_of_fitting_rank_are_found(tmp_path, scene):
    scipy.io.savemat(tmp_path / "a.mat", {"p": scene.meas[0], "q": matlab(scene.mask), "t": 3})
    capture = load_capture(tmp_path / "a.mat")
    np.testing.assert_array_equal(capture.mask, scene.mask)
    assert capture.count == 1


def test_no_mask_names_the_option(tmp_path, scene):
    scipy.io.savemat(tmp_path / "a.mat", {"meas": scene.meas[0]})
    with pytest.raises(InputError, match="--mask"):
        load_capture(tmp_path / "a.mat")


def test_fewer_truth_frames_than_frames(tmp_path, scene):
    names = {"meas": matlab(scene.meas), "mask": matlab(scene.mask)}
    scipy.io.savemat(tmp_path / "a.mat", {**names, "orig": matlab(scene.video[:6])})
    capture = load_capture(tmp_path / "a.mat")
    assert [len(capture.truth_of(i)) for i in (0, 1)] == [4, 2]
    scipy.io.savemat(tmp_path / "a.mat", {**names, "orig": matlab(scene.video[:4])})
    capture = load_capture(tmp_path / "a.mat")
    assert len(capture.truth_of(0)) == 4 and capture.truth_of(1) is None
    with pytest.raises(IndexError):
        capture.truth_of(2)


def test_too_much_truth(tmp_path, scene):
    scipy.io.savemat(
        tmp_path / "a.mat",
        {
            "meas": scene.meas[0],
            "mask": matlab(scene.mask),
            "orig": matlab(scene.video),
        },
    )
    capture = load_capture(tmp_path / "a.mat")
    np.testing.assert_allclose(capture.truth, scene.video[:4] / 255.0, rtol=1e-6)
    assert "8 frames" in capture.notes[0] and "first 4" in capture.notes[0]


class TestAxes:
    def write(self, path, meas, mask):
        with h5py.File(path, "w") as file:
            file["meas"], file["mask"] = meas, mask

    def test_sizes_that_never_agree_tell_both(self, tmp_path):
        self.write(tmp_path / "a.h5", np.ones((11, 17)), np.ones((4, 17, 11)))
        with pytest.raises(InputError, match=r"\(11, 17\).*\(4, 17, 11\)"):
            load_capture(tmp_path / "a.h5")

    def test_two_layouts_agree_and_time_is_shortest(self, tmp_path):
        rng = np.random.default_rng(1)
        meas, mask = rng.random((4, 11, 4)), rng.random((4, 11, 4))
        # (4, 11, 4): pictures 11 x 4 or 4 x 11, and no axis is the shortest
        self.write(tmp_path / "a.h5", meas, mask)
        with pytest.raises(InputError, match="--axes"):
            load_capture(tmp_path / "a.h5")
        capture = load_capture(tmp_path / "a.h5", axes="hwt")
        np.testing.assert_array_equal(capture.mask, mask.transpose(2, 0, 1).astype(np.float32))
        self.write(tmp_path / "b.h5", rng.random((3, 11, 4)), rng.random((3, 11, 4)))
        assert load_capture(tmp_path / "b.h5").shape == (11, 4)

    def test_cube_is_ambiguous(self, tmp_path):
        self.write(tmp_path / "a.h5", np.ones((8, 8)), np.ones((8, 8, 8)))
        with pytest.raises(InputError, match="--axes THW"):
            load_capture(tmp_path / "a.h5")

    def test_one_layout_for_all_is_preferred(self, tmp_path):
        meas, mask = np.random.default_rng(1).random((8, 8, 8)), np.ones((4, 8, 8))
        self.write(tmp_path / "a.h5", meas, mask)
        capture = load_capture(tmp_path / "a.h5", scale=1)
        np.testing.assert_array_equal(capture.measurements, meas.astype(np.float32))

    def test_any_permutation_by_option(self, tmp_path, scene):
        turned = [stack.transpose(2, 0, 1) for stack in (scene.meas, scene.mask)]
        self.write(tmp_path / "a.h5", *turned)
        capture = load_capture(tmp_path / "a.h5", axes="WTH")
        np.testing.assert_array_equal(capture.mask, scene.mask)
        flat = scene.meas[0].T
        self.write(tmp_path / "b.h5", flat, turned[1])
        capture = load_capture(tmp_path / "b.h5", axes="WTH", scale=1)
        np.testing.assert_array_equal(capture.measurements[0], scene.meas[0])

    @pytest.mark.parametrize("axes", ["THH", "HW", "CTHW", ""])
    def test_nonsense_is_a_usage_error(self, tmp_path, axes):
        self.write(tmp_path / "a.h5", np.ones((11, 17)), np.ones((4, 11, 17)))
        with pytest.raises(UsageError, match="--axes"):
            load_capture(tmp_path / "a.h5", axes=axes)


class TestValidation:
    def capture(self, meas, mask, truth=None):
        return Capture("x", meas, mask, truth, 1.0, "", ())

    def test_not_finite_tells_how_many(self, tmp_path):
        meas = np.ones((11, 17))
        meas[2, 3], meas[4, 5] = np.nan, np.inf
        scipy.io.savemat(tmp_path / "a.mat", {"meas": meas, "mask": np.ones((11, 17, 4))})
        with pytest.raises(InputError, match="measurement has 2 values"):
            load_capture(tmp_path / "a.mat")
        mask = np.ones((11, 17, 4))
        mask[0, 0, 0] = np.nan
        scipy.io.savemat(tmp_path / "a.mat", {"meas": np.ones((11, 17)), "mask": mask})
        with pytest.raises(InputError, match="mask has 1 values"):
            load_capture(tmp_path / "a.mat")

    def test_past_single_precision(self, tmp_path):
        meas = np.ones((11, 17))
        meas[2, 3] = 1e300
        scipy.io.savemat(tmp_path / "a.mat", {"meas": meas, "mask": np.ones((11, 17, 4))})
        with pytest.raises(InputError, match="measurement has 1 values"):
            load_capture(tmp_path / "a.mat", scale=1)

    def test_negative_and_closed_masks(self):
        meas = np.ones((1, 5, 7), np.float32)
        mask = np.ones((2, 5, 7), np.float32)
        mask[0, 1, 2] = -1
        with pytest.raises(InputError, match="1 values that are negative"):
            self.capture(meas, mask)
        with pytest.raises(InputError, match="closed"):
            self.capture(meas, np.zeros_like(mask))

    def test_closed_mask_in_a_file(self, tmp_path):
        scipy.io.savemat(
            tmp_path / "a.mat", {"meas": np.ones((11, 17)), "mask": np.zeros((11, 17, 4))}
        )
        with pytest.raises(InputError, match="closed"):
            load_capture(tmp_path / "a.mat")

    def test_shapes(self):
        ones = np.ones
        with pytest.raises(InputError, match=r"\(5, 7\).*\(7, 5\)"):
            self.capture(ones((1, 5, 7)), ones((2, 7, 5)))
        with pytest.raises(InputError, match=r"\(5, 7\)"):
            self.capture(ones((5, 7)), ones((2, 5, 7)))
        with pytest.raises(InputError, match="different size"):
            self.capture(ones((1, 5, 7)), ones((2, 5, 7)), ones((2, 7, 5)))


class TestScale:
    def load(self, tmp_path, meas, mask, truth=None, **options):
        variables = {"meas": meas, "mask": matlab(mask)}
        if truth is not None:
            variables["orig"] = matlab(truth)
        scipy.io.savemat(tmp_path / "s.mat", variables)
        return load_capture(tmp_path / "s.mat", **options)

    @pytest.mark.parametrize(
        ("dtype", "highest", "scale"),
        [
            (np.uint8, 40, 255),
            (np.uint16, 255, 255),
            (np.uint16, 256, 1023),
            (np.uint16, 4095, 4095),
            (np.uint16, 40000, 65535),
            (np.float64, 0.3, 1),
            (np.float64, 1.0005, 1),
            (np.float64, 1.1, 255),
            (np.float32, 255, 255),
            (np.float64, 900.5, 1023),
            (np.float64, 65535, 65535),
        ],
    )
    def test_with_truth(self, tmp_path, scene, dtype, highest, scale):
        truth = np.linspace(0, highest, 4 * 11 * 17).reshape(4, 11, 17).astype(dtype)
        meas = (truth * scene.mask).sum(0).astype(np.float64)
        capture = self.load(tmp_path, meas, scene.mask, truth)
        assert capture.scale == scale
        assert str(scale) in capture.scale_rule
        assert capture.truth.min() >= 0 and capture.truth.max() <= 1
        np.testing.assert_allclose(capture.measurements[0], meas / scale, rtol=1e-5)

    @pytest.mark.parametrize("white", [1, 255, 1023, 4095, 65535])
    def test_without_truth_behind_a_normalised_mask(self, tmp_path, scene, white):
        rng = np.random.default_rng(2)
        frames = rng.random((4, 11, 17)) * 0.7 + 0.3
        meas = (frames * scene.mask).sum(0) * white
        assert self.load(tmp_path, meas, scene.mask).scale == white

    def test_without_truth_behind_a_grey_mask_in_counts(self, tmp_path):
        rng = np.random.default_rng(3)
        mask = rng.integers(0, 114, (14, 40, 50)).astype(np.uint8)
        frames = np.full((14, 40, 50), 0.8)
        meas = (frames * mask).sum(0)
        assert self.load(tmp_path, meas, mask).scale == pytest.approx(1.2, rel=1e-6)
        # A nearly closed pixel full of noise must not make the picture dark.
        mask[:, 7, 9], mask[3, 7, 9] = 0, 1
        meas = (frames * mask).sum(0)
        meas[7, 9] = 500.0
        assert self.load(tmp_path, meas, mask).scale == pytest.approx(1.2, rel=1e-6)

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
    def test_without_truth_the_brightness_decides_for_every_type(self, tmp_path, scene, dtype):
        """Frames of an even grey, stored at any gain, come out at half of the range or more."""
        total = scene.mask.sum(0, dtype=np.float64)
        highest = min(np.iinfo(dtype).max, 5000) if np.issubdtype(dtype, np.integer) else 5000
        for gain in np.geomspace(
            2 if highest < 5000 or dtype == np.uint16 else 1e-3, highest / 4, 40
        ):
            meas = (total * gain).astype(dtype)
            grey = float((meas[total > 0] / total[total > 0]).max())
            capture = self.load(tmp_path, meas, scene.mask)
            assert 0.95 * grey < capture.scale <= 2 * grey * 1.001, capture.scale_rule
            np.testing.assert_allclose(capture.measurements[0] * capture.scale, meas, rtol=1e-5)

    def test_an_8_bit_camera_fills_its_range(self, tmp_path, scene):
        """It scales the sum of all frames to its own peak: white is 255 * 255 / max(sum)."""
        coded = (scene.video[:4].astype(float) * scene.mask).sum(0)
        meas = np.rint(coded * 255 / coded.max()).astype(np.uint8)
        white = 255 * 255 / coded.max()
        assert 0.8 * white < self.load(tmp_path, meas, scene.mask).scale < 2 * white

    def test_option_wins(self, tmp_path, scene):
        capture = self.load(tmp_path, scene.meas[0], scene.mask, scene.video[:4], scale=510)
        assert capture.scale == 510
        np.testing.assert_allclose(capture.measurements[0], scene.meas[0] / 510, rtol=1e-6)
        assert "--scale" in capture.scale_rule

    @pytest.mark.parametrize("scale", [0, -1, float("nan"), float("inf")])
    def test_impossible_option(self, tmp_path, scene, scale):
        with pytest.raises(UsageError, match="--scale"):
            self.load(tmp_path, scene.meas[0], scene.mask, scale=scale)

    @pytest.mark.parametrize("scale", [1e39, 1e38, 1e-38, 1e-300, 1e300])
    def test_out_of_single_precision(self, tmp_path, scene, scale):
        with pytest.raises(UsageError, match="--scale"):
            self.load(tmp_path, scene.meas[0], scene.mask, scale=scale)
        own = {"scale": scale, "provenance": json.dumps({"command": "simulate"})}
        arrays = {"meas": scene.meas[0], "mask": matlab(scene.mask)}
        scipy.io.savemat(tmp_path / "own.mat", arrays | own)
        with pytest.raises(InputError, match="records the scale") as told:
            load_capture(tmp_path / "own.mat")
        assert told.value.path == tmp_path / "own.mat"
        with pytest.raises(InputError, match="records the scale"):
            read_film(tmp_path / "own.mat", key="mask")

    @pytest.mark.parametrize("factor", [1e36, 1e39, 1e200])
    def test_a_measurement_out_of_single_precision(self, tmp_path, scene, factor):
        with pytest.raises(InputError, match="single precision"):
            self.load(tmp_path, scene.meas[0] * factor, scene.mask)

    def test_a_scale_that_leaves_nothing_or_far_too_much(self, tmp_path, scene):
        with pytest.raises(UsageError, match=r"--scale nothing is left"):
            self.load(tmp_path, scene.meas[0], scene.mask, scale=1e30)
        # What the scale makes infinite is the scale's fault.
        with pytest.raises(UsageError, match=r"--scale the measurement is past"):
            self.load(tmp_path, scene.meas[0] * 1e20, scene.mask, scale=1e-20)
        (told,) = self.load(tmp_path, scene.meas[0], scene.mask, scale=1).notes
        assert "times as bright as white" in told
        assert self.load(tmp_path, 0 * scene.meas[0], scene.mask, scale=1e30).notes == ()

    def test_option_that_the_truth_contradicts(self, tmp_path, scene):
        with pytest.raises(UsageError, match="--scale"):
            self.load(tmp_path, scene.meas[0], scene.mask, scene.video[:4], scale=1)

    def test_what_lies_below_black(self, tmp_path, scene):
        y = scene.meas[0].astype(float)
        with pytest.raises(InputError, match="below 0"):
            self.load(tmp_path, -y, scene.mask)
        wrapped = y * (60000 / y.max())
        wrapped = np.where(wrapped > 32767, wrapped - 65536, wrapped)  # 16 bits taken for signed
        assert any("far below 0" in note for note in self.load(tmp_path, wrapped, scene.mask).notes)
        assert not any("far below" in note for note in self.load(tmp_path, y, scene.mask).notes)

    def test_black(self, tmp_path, scene):
        capture = self.load(tmp_path, np.zeros((11, 17)), scene.mask)
        assert capture.scale == 1 and "black" in capture.scale_rule

    def test_a_foreign_variable_called_scale_means_nothing(self, tmp_path, scene):
        scipy.io.savemat(
            tmp_path / "a.mat",
            {"meas": scene.meas[0], "mask": matlab(scene.mask), "scale": 7.0},
        )
        assert load_capture(tmp_path / "a.mat").scale == 255


class TestSharedFiles:
    @pytest.mark.parametrize("name", ["drop8", "runner8"])
    def test_benchmarks_with_little_truth(self, shared_data, name):
        path = shared_data(f"bench/{name}_cacti.mat")
        capture = load_capture(path)
        assert (capture.count, capture.frames, capture.shape) == (5, 8, (256, 256))
        assert capture.scale == 255
        assert len(capture.truth_of(0)) == 8
        assert all(capture.truth_of(i) is None for i in range(1, 5))
        seen = (capture.mask * capture.truth).sum(0)
        assert np.abs(seen - capture.measurements[0]).max() < 1e-5

    def test_kobe_in_single_precision(self, shared_data):
        capture = load_capture(shared_data("bench/kobe8_cacti.mat"))
        assert capture.scale == 255 and capture.count == 1
        assert np.abs((capture.mask * capture.truth).sum(0) - capture.measurements[0]).max() < 1e-5

    @pytest.mark.parametrize(("name", "scale"), [("4fan14", 1.4946), ("4hand14", 0.5487)])
    def test_real_captures(self, shared_data, name, scale):
        path = shared_data(f"real/{name}_cacti.mat")
        capture = load_capture(path)
        assert (capture.count, capture.frames, capture.shape) == (1, 14, (256, 256))
        assert capture.truth is None
        assert capture.scale == pytest.approx(scale, rel=1e-3)
        raw = scipy.io.loadmat(path)
        np.testing.assert_array_equal(capture.mask[5], raw["mask"][:, :, 5])
        np.testing.assert_allclose(
            capture.measurements[0] * np.float32(capture.scale), raw["meas"], rtol=1e-5
        )
