"""What several tests share: the repository, data that may be absent, a small coded scene."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = REPOSITORY.parent / "shared" / "data"


@pytest.fixture
def shared_data():
    """Benchmark scenes, real captures and published weights, which are not ours to carry along."""
    if not SHARED.is_dir():
        pytest.skip("the field's benchmark data are not on this machine")
    return SHARED


@pytest.fixture
def moving_scene():
    """A smooth scene that moves: `(8, 32, 40)` in [0, 1]."""
    y, x = np.mgrid[:32, :40]
    return np.stack(
        [0.5 + 0.4 * np.sin((x - 2 * t) / 5) * np.cos((y + t) / 6) for t in range(8)]
    ).astype(np.float32)


@pytest.fixture
def environment():
    """For subprocesses: one thread, so that tests run beside each other."""
    return os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    """A headless Chromium that tells what its console says."""
    webdriver = pytest.importorskip("selenium.webdriver")
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (browser and driver):
        pytest.skip("needs Chromium and its driver (Debian: chromium, chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    profile = tmp_path_factory.mktemp("chromium")
    for flag in (
        *("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run"),
        *("disable-background-networking", "disable-component-update", "disable-sync"),
        f"user-data-dir={profile}",
    ):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    made = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield made
    made.quit()
