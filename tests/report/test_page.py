"""The page's pictures and text: what is shown is what was made, it stays small, names are text."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

from deqsci_cli.io.contrast import to_8_bits
from deqsci_cli.report.page import PLAYERS, FilmView, Page, Pictures, Scene, render
from deqsci_cli.report.pictures import encode
from deqsci_cli.report.report import Failure, Record


def decode(uri: str) -> np.ndarray:
    kind, _, data = uri.partition(",")
    assert kind == "data:image/webp;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("L"))


def record(**changes) -> Record:
    facts = {
        "input": "a.mat", "index": 0, "output": "a.tif", "previews": (), "model": "pnp",
        "status": "converged", "evaluations": 3, "residual": 1e-3,
        "residual_trace": (0.1, 0.01, 1e-3),
        "seconds": 1.0, "scale": 1.0, "scale_rule": "", "psnr": 30.0, "ssim": 0.9,
        "psnr_trace": (20.0, 28.0, 30.0), "frame_psnr": (30.0, None), "frame_ssim": (0.9, 0.9),
    }  # fmt: skip
    return Record(**facts | changes)


def scenes(count: int, film: np.ndarray, label: str = "pnp") -> list[Scene]:
    pictures = Pictures(film.sum(0), film, (film,))
    return [
        Scene(f"s{n}", (FilmView(label, record()),), lambda: pictures, tol=1e-3)
        for n in range(count)
    ]


def test_pictures_are_the_frames():
    x, y = np.meshgrid(np.linspace(0, 3, 64), np.linspace(0, 3, 48))
    frames = np.stack([(1 + np.sin(x * y + t)) / 2 for t in range(3)])
    grey = to_8_bits(frames)
    found = encode([grey], 1e6)
    assert found.size is None and found.error == 0
    for uri, frame in zip(found.uris[0], grey, strict=True):
        np.testing.assert_array_equal(decode(uri), frame)


def test_compressed_pictures_are_as_near_as_they_say():
    rng = np.random.default_rng(0)
    noise = (128 + 20 * rng.standard_normal((2, 120, 100))).clip(0, 255).astype(np.uint8)
    whole = sum(map(len, encode([noise], 1e9).uris[0]))
    found = encode([noise], 0.7 * whole)
    assert found.size is None and found.error > 0
    shown = np.stack([decode(uri).astype(float) for uri in found.uris[0]])
    within = np.abs(shown - noise) <= found.error
    assert within.mean() == pytest.approx(0.95, abs=0.03)
    assert peak_signal_noise_ratio(noise, shown.astype(np.uint8)) > 30


def test_pictures_become_smaller_until_they_fit():
    noise = np.random.default_rng(0).integers(0, 256, (4, 300, 200)).astype(np.uint8)
    whole = sum(map(len, encode([noise], 1e9).uris[0]))
    for budget in (whole // 2, whole // 5, whole // 20):
        found = encode([noise], budget)
        assert sum(map(len, found.uris[0])) <= budget
        assert found.size is None or decode(found.uris[0][0]).shape == found.size
    assert encode([noise], 1).size == (64, 43)  # the smallest, if nothing fits


def test_what_is_not_finite_and_a_dark_measurement_are_shown():
    assert to_8_bits(np.array([np.nan, np.inf, -1.0, 0.5])).tolist() == [0, 255, 0, 128]
    dark = Pictures(np.zeros((4, 4)), None, (np.full((2, 4, 4), np.nan),))
    render(Page("t", "s", [Scene("s", (FilmView("m", record()),), lambda: dark)], {}))


def test_ten_captures_of_noise_are_below_3_mb_and_say_so():
    film = np.random.default_rng(0).random((8, 256, 256)).astype(np.float32)
    text = render(Page("t", "s", scenes(10, film), {}))
    assert len(text.encode()) < 3e6
    assert re.search(r"Shown at (\d+)×\1 of 256×256 pixels", text)


def test_the_table_has_all_and_the_players_only_the_first():
    text = render(Page("t", "s", scenes(PLAYERS + 3, np.zeros((2, 4, 4))), {}))
    assert text.count('<section class="player') == PLAYERS
    assert f">s{PLAYERS + 2}<" in text
    assert f"first {PLAYERS} of {PLAYERS + 3} measurements" in text


def test_names_are_text():
    hostile = """<script>alert('x')</script>"&$a_1$\udcff"""
    film = np.zeros((2, 4, 4))
    made = FilmView(hostile, record(model=hostile), "./" + "x.tif")
    scene = Scene(hostile, (made, made), lambda: Pictures(None, None, (film, film), (hostile,)))
    failure = Failure(hostile, hostile, hostile, 3)
    text = render(Page(hostile, hostile, [scene], {hostile: hostile}, [failure]))
    text.encode("utf-8")  # not all names are
    assert "alert('x')</script>" not in text
    assert len(re.findall("<script", text)) == 1
    assert "$a_1$" in text


def test_a_film_without_figures():
    scene = Scene(
        "s", (FilmView("film", None),), lambda: Pictures(None, None, (np.zeros((1, 4, 4)),))
    )
    text = render(Page("t", "s", [scene], {}))
    assert "PSNR" not in text.split("<script>")[0].split("</style>")[1] and "<svg" not in text


def test_a_page_is_the_same_for_the_same_run():
    pages = [render(Page("t", "s", scenes(1, np.zeros((2, 4, 4))), {})) for _ in range(2)]
    assert pages[0] == pages[1]
