"""Plots, as SVG that is the same for the same figures and takes the colours of its page."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from deqsci_cli.errors import UsageError
from deqsci_cli.report.scores import Score, line_of, mean_scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "deqsci",
    "svg.fonttype": "none",
    "legend.frameon": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "grid.color"), _INK),
    **dict.fromkeys(("xtick.color", "ytick.color"), _INK),
}

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
        figure = Figure(figsize=(4.6, 2.8))
        axes = figure.add_axes((0.18, 0.17, 0.79, 0.8))
        _draw(axes, curves, xlabel, ylabel)
        if log:
            axes.set(yscale="log")
            axes.yaxis.set_major_formatter("{x:.0e}")  # as the table has it
        if level is not None:
            axes.axhline(level, color=_INK, linestyle=":", linewidth=1)
        return _svg(figure)


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
        _logarithmic(right)
        if swept == "tol":
            _logarithmic(left)
            left.invert_xaxis()
        return _svg(figure)


def standalone(svg: str) -> str:
    """A plot as a file of its own, which has no page to stand on."""
    return svg.replace("<svg ", '<svg style="background: white" ', 1)


def _draw(axes: Axes, curves: Curves, xlabel: str, ylabel: str) -> None:
    lines = []
    for x, y in curves.values():
        xs = [float("nan") if v is None else v for v in x]
        ys = [float("nan") if v is None else v for v in y]
        lines += axes.plot(xs, ys, "o-", markersize=3, linewidth=1.4)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    if len(curves) > 1:
        legend = axes.legend(lines, [str(number) for number in range(len(lines))])
        for text, name in zip(legend.get_texts(), curves, strict=True):
            text.set(parse_math=False, text=name)  # as it is: "$x$" would mean something


def _logarithmic(axes: Axes) -> None:
    """A logarithmic x axis with so few numbers that they do not run into each other."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set(xscale="log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def _svg(figure: Any) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None}, transparent=True)
    svg = text.getvalue()
    return svg[svg.index("<svg ") :].replace(_INK, "currentColor")
