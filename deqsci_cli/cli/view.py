"""`deqsci view`."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from deqsci_cli.cli import console, options


def view(
    files: Annotated[
        list[Path], typer.Argument(help="Films, report.json files, or folders with one.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="The page; else it lies beside the (first) file.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    open_it: Annotated[
        bool, typer.Option("--open", help="Open it in the browser.", rich_help_panel=options.OUTPUT)
    ] = False,
    overwrite: options.Overwrite = False,
) -> None:
    """Write a page that plays a reconstruction; it opens from disk, without a server.

    With several films or folders of the same captures, the page compares them side by side:
    deqsci view films-pnp/ films-gap-tv/ --open
    """
    from deqsci_cli.report.viewing import view as run

    page = run(files, out, overwrite=overwrite)
    console.out.print(str(page), soft_wrap=True)
    if open_it and not webbrowser.open(page.absolute().as_uri()):
        console.note("no browser could be opened here; open the page by hand")
