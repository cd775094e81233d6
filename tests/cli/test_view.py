"""`--report` and `view`: pages of what lies there, tried in a browser as their reader would."""

from __future__ import annotations

import json
import shutil
import time

import numpy as np
import pytest
import scipy.io
import tifffile

from deqsci_cli.errors import InputError, OutputExistsError

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

HOSTILE = "<img src=x onerror=alert(1)>&'\""


@pytest.fixture
def folder(run, capture, tmp_path):
    """Two measurements of a capture, two of another of a hostile name, and their report."""
    other = tmp_path / f"{HOSTILE}.mat"
    content = scipy.io.loadmat(capture)
    scipy.io.savemat(other, {k: content[k] for k in ("mask", "orig")} | {"meas": content["meas"]})
    out = tmp_path / "o"
    run(
        *("reconstruct", capture, other, "--model", "gap-tv", "--max-iter", "6"),
        *("-o", out, "--preview", "none", "--report"),
    )
    return out


def test_a_run_and_view_make_the_same_page(run, folder):
    page = (folder / "report.html").read_text()
    shown = run("view", folder)  # replaces a page of our own
    assert shown.stdout.strip() == str(folder / "report.html")
    assert (folder / "report.html").read_text() == page
    assert page.count('<section class="player') == 4 and "coded measurement" in page


def test_view_of_one_film(run, folder):
    run("view", folder / "scene_1.tif")
    page = (folder / "scene_1.html").read_text()
    assert page.count('<section class="player') == 1 and "coded measurement" in page
    report = json.loads((folder / "report.json").read_text())
    assert f"{report['measurements'][1]['residual']:.1e}" in page


def test_view_of_a_film_without_a_report(run, folder, tmp_path):
    shutil.copy(folder / "scene_0.tif", tmp_path / "alone.tif")
    run("view", tmp_path / "alone.tif", "-o", tmp_path / "p.html")
    page = (tmp_path / "p.html").read_text()
    assert "coded measurement" not in page and '"measurement": 0' in page.replace("&#34;", '"')


@pytest.mark.parametrize("how", ["changed", "gone"])
def test_a_capture_that_is_not_the_same_any_more_is_not_shown(run, folder, capture, how):
    content = scipy.io.loadmat(capture)
    capture.unlink()
    if how == "changed":
        kept = {k: content[k] for k in ("mask", "orig")}
        scipy.io.savemat(capture, kept | {"meas": content["meas"] + 1})
    run("view", folder / "scene_0.tif")
    page = (folder / "scene_0.html").read_text()
    assert "coded measurement" not in page and "Its measurement is not shown" in page


def test_what_cannot_be_viewed(run, folder, tmp_path):
    (tmp_path / "r.json").write_text("{}")
    content = json.loads((folder / "report.json").read_text())
    (tmp_path / "s.json").write_text(json.dumps(content | {"config": {}}))
    (tmp_path / "n.tif").write_text("no film")
    for wrong in (*tmp_path.glob("?.json"), tmp_path / "n.tif", tmp_path):
        with pytest.raises(InputError):
            run("view", wrong)
    foreign = folder / "scene_0.html"
    foreign.write_text("somebody's notes")
    with pytest.raises(OutputExistsError):
        run("view", folder / "scene_0.tif")
    assert foreign.read_text() == "somebody's notes"


def test_a_page_is_refused_before_computing(run, capture, tmp_path):
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "report.html").write_text("")
    with pytest.raises(OutputExistsError):
        run("reconstruct", capture, "--model", "gap-tv", "-o", tmp_path / "o", "--report")
    assert [p.name for p in (tmp_path / "o").iterdir()] == ["report.html"]


@pytest.mark.parametrize("opened", [True, False])
def test_open_shows_the_page_in_the_browser(run, folder, monkeypatch, opened):
    asked = []
    monkeypatch.setattr("webbrowser.open", lambda address: asked.append(address) or opened)
    shown = run("view", folder, "--open")
    assert asked == [(folder / "report.html").as_uri()]
    assert ("no browser" in shown.stderr) == (not opened)


@pytest.fixture
def page(chromium, folder):
    """The run's page in the browser, its films at rest."""
    chromium.set_window_size(1280, 1000)
    chromium.get_log("browser")  # what was said of an earlier page
    chromium.get((folder / "report.html").as_uri())
    for button in chromium.find_elements("css selector", "[aria-label=pause]"):
        button.click()
    return chromium


# The intensities of the frame that a player shows of its film; the sliders tell black and white.
SEEN = """
const canvas = arguments[0].querySelector('.film canvas');
const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
const [black, white] = arguments[0].dataset.window.split(' ').map(Number);
return [...pixels].filter((_, i) => i % 4 == 0).map((v) => black + v / 255 * (white - black));
"""


def seen(page, player, shape):
    return np.array(page.execute_script(SEEN, player), float).reshape(shape)


def test_the_slider_and_the_keys_choose_the_frame(page, folder):
    film = tifffile.imread(folder / "scene_0.tif") / 255.0
    player = page.find_element("id", "scene-1")
    slider = player.find_element("class name", "frame")
    last = len(film) - 1

    def shows(index):
        errors = [np.abs(seen(page, player, film.shape[1:]) - f.clip(0, 1)).mean() for f in film]
        assert int(np.argmin(errors)) == index and min(errors) < 0.02
        assert player.find_element("tag name", "output").text == f"{index + 1} / {len(film)}"

    slider.send_keys("\ue011")  # Home, which the slider knows by itself
    shows(0)
    slider.send_keys("\ue014\ue014")  # right
    shows(2)
    player.find_element("tag name", "h2").click()
    body = page.find_element("tag name", "body")
    body.send_keys("\ue010")  # End
    shows(last)
    body.send_keys("\ue014")
    shows(0)  # and round
    body.send_keys("\ue012")  # left
    shows(last)


def test_a_film_plays_and_pauses(page):
    player = page.find_element("id", "scene-1")
    output = player.find_element("tag name", "output")
    player.find_element("class name", "play").click()
    shown = set()
    until = time.monotonic() + 10
    while len(shown) < 3 and time.monotonic() < until:
        shown.add(output.text)
    assert len(shown) >= 3
    page.find_element("tag name", "body").send_keys(" ")
    rest = output.text
    time.sleep(0.5)
    assert output.text == rest


def test_the_table_sorts(page, folder):
    records = json.loads((folder / "report.json").read_text())["measurements"]
    (button,) = [b for b in page.find_elements("css selector", "th button") if b.text == "residual"]

    def order():
        rows = page.find_elements("css selector", "#measurements tbody tr")
        return [row.find_element("tag name", "td").text for row in rows]

    by_residual = sorted(records, key=lambda r: r["residual"])
    names = [r["output"].rpartition("/")[2].removesuffix(".tif") for r in by_residual]
    values = {n: r["residual"] for n, r in zip(names, by_residual, strict=True)}
    button.click()
    assert [values[n] for n in order()] == sorted(values.values())
    button.click()
    assert [values[n] for n in order()] == sorted(values.values(), reverse=True)
    assert button.find_element("xpath", "..").get_attribute("aria-sort") == "descending"


def test_nothing_is_fetched_nothing_runs_and_nothing_is_wrong(page):
    fetched = page.execute_script(
        "return performance.getEntriesByType('resource').map((e) => e.name)"
    )
    assert all(name.startswith("data:") for name in fetched)
    assert page.get_log("browser") == []
    assert HOSTILE in page.find_element("id", "measurements").text
    assert page.execute_script("return document.querySelectorAll('img[src=x]').length") == 0


def test_it_fits_a_phone_and_knows_the_dark(page, tmp_path):
    metrics = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    assert page.execute_script("return document.documentElement.scrollWidth") <= 390

    def background(scheme):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        return page.execute_script("return getComputedStyle(document.body).backgroundColor")

    assert background("light") == "rgb(255, 255, 255)" and background("dark") == "rgb(20, 23, 27)"
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("suffix", ["mat", "h5", "tif"])
def test_a_capture_is_no_film(run, capture, tmp_path, suffix):
    """Its truth must not pass for one, neither on a page nor before its own truth."""
    file = tmp_path / f"again.{suffix}"
    run("convert", capture, file)
    for command in (("view", file), ("evaluate", file, "--truth", capture)):
        if command[0] == "view":
            with pytest.raises(InputError, match="this is a capture") as told:
                run(*command)
            assert told.value.path == file
        else:
            assert run(*command).exit_code == 3
    assert not list(tmp_path.glob("*.html"))
    # As the hint says:
    run("reconstruct", file, "-o", tmp_path / "o", "--model", "gap-tv", "--report", "--max-iter", 2)
    assert (tmp_path / "o" / "report.html").exists()
