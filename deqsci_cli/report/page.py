"""`report.html`: one file that shows what a run made, opens from disk and needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from deqsci_cli.errors import UsageError
from deqsci_cli.io.provenance import plain
from deqsci_cli.report.players import player_of
from deqsci_cli.report.plots import HUES, Curves, need_matplotlib, plot
from deqsci_cli.report.report import Failure, Record
from deqsci_cli.report.scores import Score
from deqsci_cli.report.sentences import headings

if TYPE_CHECKING:
    from jinja2 import Environment

#: captures whose films are shown; the table has all
PLAYERS = 24

# Small enough to mail, and a little left for what the table and the scripts take.
_BYTES = 2_850_000
_SCRIPTS = ("film.js", "chart.js", "tools.js", "player.js", "page.js")
# Frames a second.
_SPEEDS = (1, 2, 5, 10, 20, 30)


@dataclass(frozen=True, eq=False)
class Pictures:
    """What is to be seen of a scene.

    Attributes:
        measurement: `(H, W)`, or None where it is not at hand.
        truth: `(k, H, W)`, k <= T, or None.
        films: `(T, H, W)` each, in the order of the scene's; None for one that is not shown.
        missing: what could not be shown, as sentences.
        step: of a long recording, one of so many frames is among these pictures.
    """

    measurement: np.ndarray | None
    truth: np.ndarray | None
    films: tuple[np.ndarray | None, ...]
    missing: tuple[str, ...] = ()
    step: int = 1


@dataclass(frozen=True)
class FilmView:
    """One reconstruction of a scene.

    Attributes:
        label: what made it.
        figures: how it went; None for a film of unknown origin.
        link: to its file, as a page's address; None where it was not written.
    """

    label: str
    figures: Record | Score | None
    link: str | None = None


@dataclass(frozen=True)
class Scene:
    """One measurement, and what was made of it.

    Attributes:
        title: what it is called.
        films: what was made.
        pictures: brings them; None where they will not be wanted, after the first `PLAYERS`.
        tol: the tolerance that was asked for, to be marked; None for none.
        key: which measurement it is of, by its content; None where nothing tells.
    """

    title: str
    films: tuple[FilmView, ...]
    pictures: Callable[[], Pictures] | None = None
    tol: float | None = None
    key: Hashable = None


@dataclass(frozen=True)
class Page:
    """What a page holds.

    Attributes:
        title: its heading.
        summary: a sentence below it.
        scenes: one for each measurement.
        facts: config and provenance.
        failures: what came to nothing.
        means: rows of `scores.mean_scores`, if there are.
        plots: more of them, as `plots` makes them.
    """

    title: str
    summary: str
    scenes: Sequence[Scene]
    facts: dict[str, Any]
    failures: Sequence[Failure] = ()
    means: Sequence[dict[str, object]] = ()
    plots: Sequence[str] = ()


def need_page() -> None:
    """Say so before any computing if a page cannot be made.

    Raises:
        UsageError: jinja2 or matplotlib is not installed.
    """
    need_matplotlib()
    if find_spec("jinja2") is None:
        raise UsageError("a page needs the package jinja2", hint='pip install "deqsci[report]"')


def render(page: Page) -> str:
    """The page as HTML, under 3 MB for ten captures of 256x256x8."""
    shown = page.scenes[:PLAYERS]
    charts = [_charts(scene) for scene in shown]
    share = (_BYTES - sum(len(svg) for each in charts for svg in each)) / max(1, len(shown))
    players = [player_of(scene, each, share) for scene, each in zip(shown, charts, strict=True)]
    figures = [film.figures for scene in page.scenes for film in scene.films]
    environment = _environment()
    script = _script(environment)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    text: str = environment.get_template("page.html").render(
        page=page,
        headings=headings(figures),
        players=players,
        speeds=_SPEEDS,
        script=script,
        script_sha256=digest,
        style=environment.get_template("page.css").render(hues=HUES),
        with_figures=any(f is not None for f in figures),
        with_fit=any(isinstance(f, Record) for f in figures),
        with_truth=any(f is not None and f.psnr is not None for f in figures),
        with_links=any(film.link for scene in page.scenes for film in scene.films),
        with_labels=any(len(scene.films) > 1 for scene in page.scenes),
        facts=json.dumps(plain(page.facts), indent=2, ensure_ascii=False),
    )
    # A file name may hold bytes that are no text.
    return text.encode("utf-8", "replace").decode()


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("deqsci_cli.report"),
        autoescape=lambda name: str(name).endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _script(environment: Environment) -> str:
    """All scripts as one, after the colours that they show intensities in."""
    from matplotlib import colormaps

    shades = np.arange(256, dtype=np.uint8)
    tables = {"grey": np.repeat(shades[:, None], 3, axis=1)}
    tables |= {name: colormaps[name](shades, bytes=True)[:, :3] for name in ("viridis", "inferno")}
    colours = {name: table.tobytes().hex() for name, table in tables.items()}
    parts = [environment.get_template(name).render() for name in _SCRIPTS]
    return "\n".join(['"use strict";', f"const COLOURS = {json.dumps(colours)};", *parts])


def _charts(scene: Scene) -> list[str]:
    """How the films came about, and how good they are, for all of a scene's films together."""

    def curves(name: str) -> Curves:
        found = {}
        for film in scene.films:
            if values := getattr(film.figures, name, None):
                found[film.label] = (range(1, 1 + len(values)), values)
        return found

    kinds: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
        ("residual_trace", "evaluations", "residual", {"log": True, "level": scene.tol}),
        ("psnr_trace", "evaluations", "PSNR (dB)", {}),
        ("frame_psnr", "frame", "PSNR (dB)", {}),
    )
    return [
        plot(lines, xlabel, ylabel, **how)
        for name, xlabel, ylabel, how in kinds
        if (lines := curves(name))
    ]
