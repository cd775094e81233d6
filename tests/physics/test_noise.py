"""The sensor's noise against its statistics."""

from __future__ import annotations

import math

import numpy as np
import pytest

from deqsci_cli.errors import UsageError
from deqsci_cli.physics.noise import SensorNoise


def noisy(sensor: SensorNoise, measurement: np.ndarray, full_range: float = 8.0) -> np.ndarray:
    return sensor.apply(measurement, np.random.default_rng(0), full_range=full_range)


@pytest.mark.parametrize(("peak", "level"), [(50, 2.0), (1000, 4.0), (7, 0.3)])
def test_shot_noise_has_the_variance_of_a_poisson_process(peak, level):
    n = 200_000
    out = noisy(SensorNoise(peak=peak), np.full((400, 500), level)).astype(np.float64)
    mean, variance = level, level / peak
    assert abs(out.mean() - mean) < 5 * math.sqrt(variance / n)
    # Variance of a sample variance: (mu4 - s^4) / n, with mu4 = 3 s^4 + s^2 / peak^2.
    spread = math.sqrt((2 * variance**2 + variance / peak**2) / n)
    assert abs(out.var() - variance) < 5 * spread
    # Photons are whole numbers.
    np.testing.assert_allclose(out * peak, np.rint(out * peak), atol=1e-3)


def test_read_noise_has_its_standard_deviation_and_may_go_below_zero():
    out = noisy(SensorNoise(read=0.05), np.zeros((300, 300))).astype(np.float64)
    assert abs(out.std() - 0.05) < 5 * 0.05 / math.sqrt(2 * out.size)
    assert abs(out.mean()) < 5 * 0.05 / math.sqrt(out.size)
    assert out.min() < 0


@pytest.mark.parametrize("bits", [1, 3, 8])
@pytest.mark.parametrize("saturation", [None, 5.0])
def test_a_converter_of_n_bits_has_2_to_the_n_levels(bits, saturation):
    clean = np.linspace(-1, 9, 20_001).reshape(1, -1)
    out = noisy(SensorNoise(bits=bits, saturation=saturation), clean)
    end = saturation or 8.0
    levels = np.unique(out)
    np.testing.assert_allclose(levels, np.linspace(0, end, 2**bits), rtol=1e-6)
    inside = (clean >= 0) & (clean <= end)
    step = end / (2**bits - 1)
    assert np.abs(out - clean)[inside].max() <= step / 2 + 1e-6


def test_saturation_clips_after_the_noise():
    clean = np.full((100, 100), 2.9)
    out = noisy(SensorNoise(read=0.5, saturation=3.0), clean)
    assert out.max() == 3.0 and 0.3 < (out == 3.0).mean() < 0.6


def test_a_sensor_without_noise_changes_nothing():
    clean = np.random.default_rng(1).random((2, 5, 6), dtype=np.float32) * 8
    out = noisy(SensorNoise(), clean)
    assert out.dtype == np.float32 and out is not clean
    np.testing.assert_array_equal(out, clean)


def test_the_same_seed_gives_the_same_noise():
    clean = np.random.default_rng(1).random((20, 20)) * 8
    sensor = SensorNoise(peak=100, read=0.1, bits=10)
    np.testing.assert_array_equal(noisy(sensor, clean), noisy(sensor, clean))


@pytest.mark.parametrize(
    "options",
    [
        {"peak": 0}, {"peak": -3}, {"peak": math.nan}, {"peak": math.inf},
        {"read": -0.1}, {"read": math.nan}, {"read": math.inf},
        {"saturation": 0}, {"saturation": math.nan}, {"saturation": math.inf},
        {"bits": 0}, {"bits": 33},
    ],
    ids=str,
)  # fmt: skip
def test_impossible_sensors_are_refused(options):
    with pytest.raises(UsageError):
        SensorNoise(**options)
