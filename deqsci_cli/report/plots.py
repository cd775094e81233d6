"""Plots, as SVG that is the same for the same figures and takes the colours of its page."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from deqsci_cli.errors import UsageError
from deqsci_cli.report.scores import Score, line_of, mean_scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

#: what a sweep's values are
AXES = {
    "tol": "tolerance",
    "noise": "read noise (of one frame's white)",
    "offset": "black level (of one frame's white)",
    "saturation": "share of the pixels that clip",
    "gains": "how far the lamp's gains are from 1",
    "shift": "how far the mask lay right and down (pixels)",
}

# Stands for the page's own colour of text until the SVG is written.
_INK = "#0a0b0c"
#: the colours of films, light enough for a dark page
HUES = ("#3b82d6", "#d9730d", "#2a9d5c", "#c94f44", "#8e5cc4", "#8a7a2b")
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "deqsci",
    "svg.fonttype": "none",
    "legend.frameon": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "grid.color"), _INK),
    **dict.fromkeys(("xtick.color", "ytick.color"), _INK),
}

_MOST_TICKS = 7
# Below this a logarithmic axis has powers of ten, as the table has them.
_PLAIN = 5e-4
# Decades along an axis: with more than the first only they are numbered, with more than the second
# one number is between two of them.
_MANY, _FEW = 2.0, 1.0

Values = Sequence[float | None]
Curves = Mapping[str, tuple[Values, Values]]


def need_matplotlib() -> None:
    """Say so before any computing if plots cannot be drawn.

    Raises:
        UsageError: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise UsageError("plots need the package matplotlib", hint='pip install "deqsci[report]"')


def plot(
    curves: Curves, xlabel: str, ylabel: str, *, log: bool = False, level: float | None = None
) -> str:
    """One diagram of a few curves.

    Args:
        curves: by name, x and y; None leaves a gap.
        xlabel: of the axis.
        ylabel: of the axis.
        log: whether y is on a logarithmic axis.
        level: to be marked by a line.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(4.8, 3), layout="constrained")
        axes = figure.subplots()
        _draw(axes, curves, xlabel, ylabel)
        if level is not None:
            axes.axhline(level, color=_INK, linestyle=":", linewidth=1)
        if log:
            axes.set(yscale="log")
            _ticks(axes.yaxis)
        return _svg(
            figure, f"{ylabel} against {xlabel}: {', '.join(map(_told, curves, curves.values()))}"
        )


def plot_sweep(scores: Sequence[Score], swept: str) -> str:
    """Mean PSNR against what was swept, and against seconds: a line for each model, told or not."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    rows = mean_scores(scores)
    names = [line_of(row["model"], row["told"]) for row in rows]

    def curves(x: str) -> Curves:
        lines = {n: [row for row, of in zip(rows, names, strict=True) if of == n] for n in names}
        return {n: tuple([row[k] for row in a] for k in (x, "psnr")) for n, a in lines.items()}  # type: ignore[misc]

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(9, 3.4), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        _draw(left, curves("value"), AXES[swept], "PSNR (dB), mean")
        _draw(right, curves("seconds"), "seconds a measurement, mean", "")
        right.set(xscale="log")
        _ticks(right.xaxis)
        if swept == "tol":
            left.set(xscale="log")
            left.invert_xaxis()
            _ticks(left.xaxis)
        return _svg(figure, f"mean PSNR against {AXES[swept]}, and against seconds")


def standalone(svg: str) -> str:
    """A plot as a file of its own, which has no page to stand on."""
    return svg.replace("<svg ", '<svg style="background: white" ', 1)


def _draw(axes: Axes, curves: Curves, xlabel: str, ylabel: str) -> None:
    from matplotlib.ticker import MaxNLocator

    lines = []
    axes.set_prop_cycle(color=HUES)
    for x, y in curves.values():
        xs = [float("nan") if v is None else v for v in x]
        ys = [float("nan") if v is None else v for v in y]
        lines += axes.plot(xs, ys, "o-", markersize=3, linewidth=1.4)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    counted = all(isinstance(x, range) for x, _ in curves.values())  # evaluations, frames
    axes.xaxis.set_major_locator(MaxNLocator(_MOST_TICKS, integer=counted))
    if len(curves) > 1:
        legend = axes.legend(lines, [str(number) for number in range(len(lines))])
        for text, name in zip(legend.get_texts(), curves, strict=True):
            text.set(parse_math=False, text=name)  # as it is: "$x$" would mean something


def _ticks(axis: Axis) -> None:
    """Numbers of one style along a logarithmic axis, so few that they do not run together."""
    from matplotlib.ticker import LogLocator, NullFormatter

    low, high = sorted(axis.get_view_interval())
    decades = math.log10(high / low)
    subs = (1.0,) if decades > _MANY else (1.0, 3.0) if decades > _FEW else (1.0, 2.0, 5.0)
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter("{x:g}" if low >= _PLAIN else "{x:.0e}")
    axis.set_minor_formatter(NullFormatter())


def _told(name: str, curve: tuple[Values, Values]) -> str:
    """A curve in words, for who does not see it."""
    known = [value for value in curve[1] if value is not None and math.isfinite(value)]
    if not known:
        return f"{name} has no values"
    return f"{name} from {known[0]:.3g} to {known[-1]:.3g}"


def _svg(figure: Any, description: str) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None}, transparent=True)
    svg = text.getvalue()
    svg = svg[svg.index("<svg ") :].replace(_INK, "currentColor")
    label = escape(description, {'"': "&quot;"})
    return svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
