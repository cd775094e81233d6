"""Plots, as SVG that is the same for the same figures."""

from __future__ import annotations

import io
from collections.abc import Sequence
from importlib.util import find_spec

from deqsci_cli.errors import UsageError
from deqsci_cli.report.scores import Score, mean_scores

#: what a sweep's values are
AXES = {
    "tol": "tolerance",
    "noise": "read noise (of one frame's white)",
    "shift": "shift of the mask (pixels)",
}


def need_matplotlib() -> None:
    """Say so before any computing if plots cannot be drawn.

    Raises:
        UsageError: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise UsageError("plots need the package matplotlib", hint='pip install "deqsci[report]"')


def plot_sweep(scores: Sequence[Score], swept: str) -> str:
    """Mean PSNR against what was swept, and against seconds: a line for each model.

    Raises:
        UsageError: matplotlib is not installed.
    """
    need_matplotlib()
    import matplotlib as mpl
    from matplotlib.figure import Figure

    rows = mean_scores(scores)
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for model in dict.fromkeys(row["model"] for row in rows):
        alike = [row for row in rows if row["model"] == model]
        quality = [row["psnr"] for row in alike]
        left.plot([row["value"] for row in alike], quality, "o-", label=model)
        right.plot([row["seconds"] for row in alike], quality, "o-")
    left.set(xlabel=AXES[swept], ylabel="PSNR (dB), mean")
    right.set(xlabel="seconds a measurement, mean", xscale="log")
    if swept == "tol":
        left.set(xscale="log")
        left.invert_xaxis()
    left.legend(frameon=False)
    for axes in (left, right):
        axes.grid(alpha=0.3)
    text = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "deqsci"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
