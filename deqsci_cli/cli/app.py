"""The commands, and how a run ends: every error of a user becomes a sentence and an exit code."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from deqsci_cli import __version__
from deqsci_cli.cli.adapt import adapt
from deqsci_cli.cli.calibrate import calibrate
from deqsci_cli.cli.console import show_error
from deqsci_cli.cli.convert import convert
from deqsci_cli.cli.evaluate import evaluate
from deqsci_cli.cli.examples import Grouped
from deqsci_cli.cli.inspect import inspect
from deqsci_cli.cli.models import models
from deqsci_cli.cli.reconstruct import reconstruct
from deqsci_cli.cli.simulate import simulate
from deqsci_cli.cli.train import train
from deqsci_cli.cli.view import view
from deqsci_cli.errors import DeqsciError, DeviceError

EXIT_CODES = """
Exit codes: 0 all done; 1 some inputs failed or diverged; 2 usage, config, or an output exists;
3 an input or model cannot be read; 4 device, memory or disk; 130 interrupted;
143 terminated.
"""

app = typer.Typer(
    name="deqsci",
    help="Turn one coded snapshot of a fast scene back into a film." + EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    reconstruct,
    simulate,
    evaluate,
    view,
    convert,
    inspect,
    calibrate,
    train,
    adapt,
):
    app.command(cls=Grouped)(command)
app.add_typer(models, name="models")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"deqsci {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Hold what all commands share."""


def main() -> None:
    """Run the command line; never returns."""
    try:
        app(standalone_mode=True)
    except DeqsciError as error:
        show_error(error)
        sys.exit(error.exit_code)
    except MemoryError:
        show_error(DeviceError("this machine ran out of memory", hint="use smaller files"))
        sys.exit(DeviceError.exit_code)
