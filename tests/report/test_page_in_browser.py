"""The page's tools in Chromium: what is measured in a film of known motion is what is known."""

from __future__ import annotations

import csv
import time

import numpy as np
import pytest

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

from deqsci_cli.io.contrast import PERCENTILES
from deqsci_cli.report.page import FilmView, Page, Pictures, Scene, render
from deqsci_cli.report.report import Record

T, H, W, SPEED = 12, 60, 80, 3
DARK, BRIGHT = 0.05, 0.45


def bar() -> np.ndarray:
    """A bright bar that moves to the right by 3 pixels a frame, before a slope downwards."""
    film = np.full((T, H, W), DARK) + np.linspace(0, 0.1, H)[None, :, None]
    for t in range(T):
        film[t, :, 10 + SPEED * t : 16 + SPEED * t] = BRIGHT
    return film.astype(np.float32)


def record(model: str, **changes) -> Record:
    facts = {
        "input": "a.mat", "index": 0, "output": "a.tif", "previews": (), "model": model,
        "status": "converged", "evaluations": 3, "residual": 1e-3,
        "residual_trace": (0.1, 0.01, 1e-3), "seconds": 1.0, "scale": 1.0, "scale_rule": "",
        "mask_score": 0.2, "mask_verdict": "fits", "held_out": 0.05, "seen": 1.0,
    }  # fmt: skip
    return Record(**facts | changes)


@pytest.fixture
def opened(chromium, tmp_path):
    """Opens the page of scenes; what it saves lies in `tmp_path`."""

    def open_page(*scenes: Scene):
        path = tmp_path / "page.html"
        path.write_text(render(Page("t", "s", scenes, {})), encoding="utf-8")
        chromium.execute_cdp_cmd(
            "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
        )
        chromium.set_window_size(1280, 1000)
        chromium.get_log("browser")  # what was said of an earlier page
        chromium.get(path.as_uri())
        chromium.execute_script("players.forEach((player) => player.go(0))")
        return chromium

    return open_page


def scene(*films: np.ndarray, truth=None, step=1, **changes) -> Scene:
    views = tuple(FilmView(f"model {n}", record(f"m{n}", **changes)) for n in range(len(films)))
    return Scene("bar", views, lambda: Pictures(films[0].sum(0), truth, films, (), step))


def find(page, selector):
    return page.find_element("css selector", selector)


def type_into(page, **fields):
    for name, value in fields.items():
        field = find(page, f"[name={name}]")
        field.clear()
        field.send_keys(str(value), "\ue007")


def saved(page, tmp_path, which):
    """The rows of a file that is saved by its button."""
    find(page, f".save-{which}").send_keys("\ue007")
    path = tmp_path / f"bar-{which}.csv"
    until = time.monotonic() + 10
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.05)
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.reader(stream))


def shown(page, selector, width=W):
    """The grey levels of a canvas."""
    script = """
    const c = document.querySelector(arguments[0]);
    return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]
      .filter((_, i) => i % 4 == 0);
    """
    return np.array(page.execute_script(script, selector)).reshape(-1, width)


def test_the_film_is_stretched_to_its_percentiles_and_the_sliders_undo_it(opened):
    film = bar()
    film[0, 0, 0] = 90.0  # a hot pixel
    page = opened(scene(film, film * 0.5))
    low, high = np.percentile(np.stack([film, film * 0.5]), PERCENTILES)

    def grey(values, black, white):
        return np.rint(((values - black) / (white - black)).clip(0, 1) * 255)

    assert np.abs(shown(page, ".film canvas") - grey(film[0], low, high)).max() <= 1
    find(page, ".full").send_keys("\ue007")
    assert np.abs(shown(page, ".film canvas") - grey(film[0], 0, 1))[1:].max() <= 1
    assert find(page, ".levels").text == "0 … 1"
    find(page, ".stretch").send_keys("\ue007")
    find(page, ".black").send_keys("\ue010")  # End: nothing but what is brighter than the range
    assert np.median(shown(page, ".film canvas")) == 0
    assert find(page, ".stretch").get_attribute("aria-pressed") == "false"


def test_a_line_gives_a_kymograph_whose_slope_is_the_speed(opened, tmp_path):
    page = opened(scene(bar()))
    type_into(page, x0=2, y0=30, x1=77, y1=30)
    rows = saved(page, tmp_path, "kymograph")
    assert rows[0][:5] == ["film", "frame", "position (pixels)", "x", "y"]
    table = np.array([[float(v) for v in row[1:]] for row in rows[1:]])
    assert len(table) == T * 76 and set(table[:, 3]) == {30.0}
    values = table[:, 4].reshape(T, 76)
    step = (BRIGHT - DARK) / 255
    np.testing.assert_allclose(values, bar()[:, 30, 2:78], atol=step)
    bright = values > (BRIGHT + DARK + 0.1) / 2
    centres = [table[:76, 1][row].mean() for row in bright]
    slope, start = np.polyfit(np.arange(T), centres, 1)
    assert slope == pytest.approx(SPEED) and start == pytest.approx(10 + 2.5 - 2)
    picture = shown(page, ".kymographs canvas", 76)
    assert picture.shape == (T, 76) and ((picture > 128) == bright).all()


def test_a_slanted_line_is_sampled_in_steps_of_a_pixel(opened, tmp_path):
    y, x = np.mgrid[:H, :W]
    film = np.broadcast_to((2 * x + 3 * y) / 400, (2, H, W)).astype(np.float32)
    page = opened(scene(film))
    type_into(page, x0=10, y0=20, x1=40, y1=60)  # the row is cut to the film
    assert find(page, "[name=y1]").get_attribute("value") == str(H - 1)
    rows = saved(page, tmp_path, "kymograph")[1:]
    at, x, y, value = np.array([[float(v) for v in row[2:]] for row in rows]).T
    length = np.hypot(30, 39)
    assert len(rows) == 2 * (int(length) + 1)
    np.testing.assert_allclose(np.hypot(x - 10, y - 20), at, atol=1e-4)
    np.testing.assert_allclose(value, (2 * x + 3 * y) / 400, atol=film.max() / 255)


def test_a_click_gives_the_trace_of_that_pixel(opened, tmp_path):
    from selenium.webdriver import ActionChains

    film, truth = bar(), bar()[:5] * 0.9
    page = opened(scene(film, truth=truth))
    canvas = find(page, ".film canvas")
    scale = canvas.size["width"] / W
    right = round((25.5 - W / 2) * scale), round((40.5 - H / 2) * scale)
    ActionChains(page).move_to_element_with_offset(canvas, *right).click().perform()
    assert [find(page, f"[name={n}]").get_attribute("value") for n in ("px", "py")] == ["25", "40"]
    header, *rows = saved(page, tmp_path, "trace")
    assert header[:3] == ["frame", "x", "y"] and [row[0] for row in rows[:2]] == ["1", "2"]
    exact = float(header[4].rpartition("±")[2].rstrip(")"))
    assert header[3].startswith("truth") and header[4].startswith("model 0")
    assert 0 < exact < 0.01
    np.testing.assert_allclose([float(r[4]) for r in rows], film[:, 40, 25], atol=exact)
    np.testing.assert_allclose([float(r[3]) for r in rows[:5]], truth[:, 40, 25], atol=exact)
    assert [row[3] for row in rows[5:]] == [""] * (T - 5)  # truth ends
    assert "column 25, row 40" in find(page, ".trace svg").get_attribute("aria-label")


def test_a_drag_is_a_line(opened):
    from selenium.webdriver import ActionChains

    page = opened(scene(bar()))
    canvas = find(page, ".film canvas")
    scale = canvas.size["width"] / W
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    at = lambda x, y: (round((x + 0.5 - W / 2) * scale), round((y + 0.5 - H / 2) * scale))  # noqa: E731
    hand = ActionChains(page, duration=20).move_to_element_with_offset(canvas, *at(20, 10))
    hand.click_and_hold().move_to_element_with_offset(canvas, *at(50, 25)).release().perform()
    fields = [find(page, f"[name={n}]").get_attribute("value") for n in ("x0", "y0", "x1", "y1")]
    assert fields == ["20", "10", "50", "25"]
    assert len(page.find_elements("css selector", ".marks line.front")) == 1


def test_values_of_compressed_pictures_are_as_near_as_the_page_says(opened, tmp_path):
    noise = np.random.default_rng(0).normal(0.4, 0.05, (8, 256, 256)).astype(np.float32)
    noise = (noise + np.roll(noise, 1, 1) + np.roll(noise, 1, 2)) / 3
    scenes = [scene(noise) for _ in range(10)]
    page = opened(*scenes)
    assert (tmp_path / "page.html").stat().st_size < 3e6
    honest = find(page, ".tools > .aside").text
    assert "compressed" in honest
    bound = float(honest.partition("±")[2].split()[0])
    type_into(page, x0=0, y0=100, x1=255, y1=100)
    rows = saved(page, tmp_path, "kymograph")[1:]
    values = np.array([float(row[-1]) for row in rows]).reshape(8, -1)
    if "Shown at" not in find(page, ".player").text:
        within = np.abs(values - noise[:, 100]) <= bound
        assert within.mean() > 0.9


def test_a_wipe_shows_one_film_left_and_the_other_right(opened):
    first, second = bar(), bar()[:, :, ::-1]
    page = opened(scene(first, second))
    find(page, ".wipe-on").send_keys(" ")
    divider = find(page, ".divider")
    whole = [shown(page, f".film:nth-of-type({n}) canvas") for n in (1, 2)]

    def wiped(split):
        picture = shown(page, ".wipe canvas")
        np.testing.assert_array_equal(picture[:, :split], whole[0][:, :split])
        np.testing.assert_array_equal(picture[:, split:], whole[1][:, split:])

    wiped(W // 2)
    divider.send_keys("\ue011")  # Home
    wiped(0)
    divider.send_keys("\ue010")  # End
    wiped(W)
    assert not find(page, ".film canvas").is_displayed()
    assert find(page, ".wipe figcaption").text == "model 0 to the left, model 1 to the right"


def test_the_strip_the_steps_and_the_end_without_a_loop(opened):
    page = opened(scene(bar()))
    output = find(page, ".controls output")
    find(page, ".strip [data-frame='7']").send_keys("\ue007")
    assert output.text == "8 / 12"
    find(page, ".back").send_keys(" ")
    find(page, ".back").send_keys(" ")
    assert output.text == "6 / 12"
    find(page, ".next").send_keys("\ue007")
    assert output.text == "7 / 12"
    assert find(page, ".strip [aria-current]").get_attribute("data-frame") == "6"
    find(page, ".loop").send_keys(" ")
    find(page, ".speed").send_keys("30")
    find(page, ".play").send_keys(" ")
    until = time.monotonic() + 10
    while output.text != "12 / 12" and time.monotonic() < until:
        time.sleep(0.05)
    assert find(page, ".play").get_attribute("aria-label") == "play" and output.text == "12 / 12"


def test_frames_of_a_long_recording_keep_their_numbers(opened, tmp_path):
    page = opened(scene(bar(), step=3))
    find(page, ".next").click()
    assert find(page, ".controls output").text == "4 / 34"
    type_into(page, px=1, py=1)
    assert [row[0] for row in saved(page, tmp_path, "trace")[1:4]] == ["1", "4", "7"]


def test_colours_are_those_of_matplotlib(opened):
    from matplotlib import colormaps

    page = opened(scene(bar()))
    grey = shown(page, ".film canvas")
    find(page, ".colours").send_keys("inferno")
    red = shown(page, ".film canvas")
    table = colormaps["inferno"](np.arange(256), bytes=True)[:, 0]
    np.testing.assert_array_equal(red, table[grey])


def test_a_film_that_the_data_contradict_never_looks_trusted(opened):
    doubt = "the mask probably does not belong to the measurement"
    page = opened(
        scene(bar()),
        scene(bar(), mask_score=0.93, warnings=(doubt,)),
        scene(bar(), status="diverged", mask_score=None),
        scene(bar(), status="max_iter"),
    )
    good, warned, diverged, left = (
        find(page, f"#scene-{n} figure.film figcaption").text for n in range(1, 5)
    )
    assert "does not contradict the mask" in good
    assert f"Warning: {doubt}." in warned and "does not contradict" not in warned
    assert "do not trust it" in diverged and "cannot be told" in diverged
    assert "did not converge" in left
    head = find(page, "header").text
    assert "1 of 4 films diverged" in head and "--max-iter" in head
    assert "1 of 4 films did not converge" in head and "1 of 4 films has a warning" in head
    assert "All films converged" not in head
    marked = page.find_elements("css selector", "figure.warned, figure.diverged")
    assert len(marked) == 2


def test_nothing_is_fetched_and_everything_has_a_name(opened):
    page = opened(scene(bar(), bar() * 0.9, truth=bar()))
    fetched = page.execute_script(
        "return performance.getEntriesByType('resource').map((e) => e.name)"
    )
    assert all(name.startswith("data:") for name in fetched)
    assert page.get_log("browser") == []
    type_into(page, px=30, py=10, x0=5, y0=5, x1=60, y1=40)
    tree = page.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = {"button", "slider", "spinbutton", "checkbox", "combobox", "image", "img"}
    nodes = [n for n in tree if not n["ignored"] and n["role"]["value"] in roles]
    unnamed = [n for n in nodes if not n.get("name", {}).get("value")]
    assert len(nodes) > 30 and unnamed == []
    assert page.execute_script("return document.documentElement.scrollWidth") <= 1280
