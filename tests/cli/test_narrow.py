"""Tables at a terminal of 80 and of 40 columns: no line is longer, and no word is cut in two."""

from __future__ import annotations

import re
import shutil

import pytest

from deqsci_cli import zoo
from deqsci_cli.cli import console

FAST = ("--model", "gap-tv", "--max-iter", 3, "--preview", "none", "-q")


@pytest.fixture
def at(run, monkeypatch):
    """Run a command at a terminal of a width; its lines."""

    def invoke(width, *arguments):
        monkeypatch.setattr(console.out, "_width", width)
        lines = [line.rstrip() for line in run(*arguments).stdout.splitlines()]
        assert max(map(len, lines)) <= width
        return lines

    return invoke


def test_80_columns_hold_the_films_of_a_run(at, capture, tmp_path):
    """And what share was seen, where one has not seen all."""
    odd = capture.with_name("night_0123.mat")
    shutil.copy(capture, odd)
    columns = ["film", "status", "evals", "residual", "score", "seconds", "dB", "SSIM"]
    lines = at(80, "reconstruct", odd, "-o", tmp_path / "o", *FAST)
    assert lines[1].split() == columns
    assert [line.split()[0] for line in lines[2:]] == ["night_0123_0.tif", "night_0123_1.tif", "*"]
    assert len(lines[2].split()) == 8 and lines[2].split()[1] == "max_iter"
    lines = at(80, "reconstruct", capture, "-o", tmp_path / "p", *FAST, "--saturation", 900)
    assert lines[1].split() == [*columns[:6], "seen", *columns[6:]]
    assert re.search(r" [0-9]{2}\.[0-9]% ", lines[2])


def test_40_columns_have_a_line_for_each_figure(at, capture, tmp_path):
    lines = at(40, "reconstruct", capture, "-o", tmp_path / "o", *FAST)
    facts = [line.split(maxsplit=1) for line in lines]
    assert facts[0] == ["scene_0.tif"] and [name for name, *_ in facts].count("status") == 2
    assert ["status", "max_iter"] in facts and ["evals", "3"] in facts


@pytest.mark.parametrize("width", [80, 40])
def test_the_list_of_models(at, width):
    """Every word of every card."""
    lines = at(width, "models")
    for card in zoo.cards():
        start = next(n for n, line in enumerate(lines) if line.split(",")[0] == card.name)
        told = " ".join(" ".join(lines[start : start + 10]).split())
        assert card.summary in told and f"licence of the weights: {card.licence}" in told


@pytest.mark.parametrize("name", zoo.released())
@pytest.mark.parametrize("width", [80, 40])
def test_a_card(at, name, width):
    """The licence comes first; numbers are whole; how it was trained is told when asked for."""
    card, lines = zoo.read_card(zoo.find(name)), at(width, "models", "show", name)
    squeezed = " ".join(" ".join(lines).split())
    assert lines[0].strip() == name and lines[1].split()[0] == "licence"
    assert card.licence in squeezed and card.summary in squeezed
    for scene in card.figures.get("benchmark, first measurement, default settings", {}).values():
        assert {str(scene["psnr"]), scene["status"]} <= set(squeezed.split())
    if card.training:
        data = card.training["data"]
        assert data not in squeezed
        history = " ".join(" ".join(at(width, "models", "show", name, "--history")).split())
        assert data in history
