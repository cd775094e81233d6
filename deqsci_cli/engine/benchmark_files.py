"""What a benchmark writes: its table as Markdown, CSV and JSON, the plot of a sweep, the page."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from deqsci_cli import zoo
from deqsci_cli.engine.benchmark import BenchmarkConfig, Result
from deqsci_cli.io import atomic_write, check_absent, fingerprint, make_provenance
from deqsci_cli.io.overlap import check_no_overlap
from deqsci_cli.io.provenance import now, plain
from deqsci_cli.report.page import Page, need_page, render
from deqsci_cli.report.pages import PAGE
from deqsci_cli.report.plots import need_matplotlib, plot_sweep, standalone
from deqsci_cli.report.scores import mean_scores, score_table, to_csv, to_markdown
from deqsci_cli.runtime.device import choose_device, describe_device

SCHEMA = "deqsci-benchmark/1"


def check_outputs(config: BenchmarkConfig, out: Path, *, overwrite: bool) -> None:
    """Refuse before any computing what `write_outputs` could not write after it.

    Raises:
        OutputExistsError: one of the files exists.
        UsageError: a package is missing, or a file is one that is read.
    """
    if config.page:
        need_page()
    if config.sweep is not None:
        need_matplotlib()
    files = _outputs(config, out)
    models = (zoo.find(name) for name in config.models)
    beside = config.read_options.files().values()
    check_no_overlap(files, [*config.captures, *beside, *models])
    check_absent(files, overwrite=overwrite)


def write_outputs(
    config: BenchmarkConfig, result: Result, out: Path, *, overwrite: bool
) -> list[Path]:
    """Write the table as Markdown, CSV and JSON, of a sweep the plot, and the page.

    Returns:
        The files.

    Raises:
        OutputExistsError, StorageError: see `atomic_write`.
    """
    swept = None if config.sweep is None else config.sweep.what
    scores, means = result.scores, mean_scores(result.scores)
    provenance = make_provenance(
        "evaluate",
        asdict(config),
        seed=config.seed,
        model=None,
        inputs=map(fingerprint, [*config.captures, *config.read_options.files().values()]),
        device=describe_device(choose_device(config.device)),
    ) | {"created": now()}
    content = {
        "schema": SCHEMA,
        "provenance": provenance,
        "means": plain(means),
        "scores": plain([asdict(score) for score in scores]),
    }
    curves = plot_sweep(scores, swept) if swept else ""
    texts = {
        "md": to_markdown(*score_table(scores, swept)),
        "csv": to_csv(scores),
        "json": json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n",
        "svg": standalone(curves),
    }
    if config.page:
        page = Page(
            title=f"Benchmark of {', '.join(config.models)}",
            summary=f"{_counted(len(result.scenes))} on {provenance['device']}, "
            f"{provenance['created']}",
            scenes=result.scenes,
            facts=provenance,
            failures=result.failures,
            means=means,
            plots=[curves] if swept else [],
        )
        texts["html"] = render(page)
    files = _outputs(config, out)
    for file in files:
        with atomic_write(file, overwrite=overwrite) as temporary:
            text = texts[file.suffix[1:]]
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
    return files


def _counted(scenes: int) -> str:
    return "1 measurement" if scenes == 1 else f"{scenes} measurements"


def _outputs(config: BenchmarkConfig, out: Path) -> list[Path]:
    kinds = ("md", "csv", "json", *(("svg",) if config.sweep else ()))
    page = [out / PAGE] if config.page else []
    return [out / f"benchmark.{kind}" for kind in kinds] + page
