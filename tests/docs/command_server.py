"""Runs `deqsci` and Python scripts as a shell would, but PyTorch is imported once, not each time.

A process of its own that forks for every command. It is given the command, its folder, environment
and streams by a socket, and answers with the exit code. Started by `conftest.py`.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import runpy
import socket
import sys
import traceback
from dataclasses import replace
from typing import Any

#: A film of a page need not be a good one: so many evaluations, without symmetries.
MOST_EVALUATIONS = 1


def serve(path: str) -> None:
    """Answer until the process is killed."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            connection, _ = server.accept()
            with contextlib.suppress(ChildProcessError):  # children that have ended
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            if os.fork() == 0:
                answer(connection)
            connection.close()


def answer(connection: socket.socket) -> None:
    """Run one command in this process, and end with it."""
    data, streams, _, _ = socket.recv_fds(connection, 1 << 20, 3)
    asked = json.loads(data)
    for target, stream in enumerate(streams):
        os.dup2(stream, target)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    code = 1
    try:
        code = run(asked["command"])
    except BaseException:
        traceback.print_exc()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    connection.sendall(bytes([code]))
    os._exit(code)


def run(command: list[str]) -> int:
    """`deqsci …` or `python FILE`; gives the exit code."""
    sys.argv = command if command[0] == "deqsci" else command[1:]
    try:
        if command[0] == "deqsci":
            from deqsci_cli.__main__ import main

            main()
        else:
            sys.path.insert(0, "")
            runpy.run_path(command[1], run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def stop_early() -> None:
    """Have all models stop after a few evaluations."""
    from deqsci_cli.equilibrium.settings import EquilibriumSettings

    whole = EquilibriumSettings.from_card

    def few(cls: type, equilibrium: dict[str, Any], **changes: Any) -> EquilibriumSettings:
        settings = whole(equilibrium, **changes)
        most = min(settings.max_iter, MOST_EVALUATIONS)
        return replace(settings, max_iter=most, symmetries=1)

    EquilibriumSettings.from_card = classmethod(few)  # type: ignore[assignment]


if __name__ == "__main__":
    import matplotlib.pyplot  # noqa: F401  what commands need, imported once

    import deqsci_cli.cli.app
    import deqsci_cli.engine.benchmark
    import deqsci_cli.engine.calibrate
    import deqsci_cli.engine.convert
    import deqsci_cli.engine.diagnose
    import deqsci_cli.engine.reconstruct
    import deqsci_cli.engine.simulate
    import deqsci_cli.report.pages
    import deqsci_cli.training.train

    with contextlib.redirect_stdout(io.StringIO()):  # what typer imports when it is first used
        deqsci_cli.cli.app.app(["models", "--json"], standalone_mode=False)
    stop_early()
    serve(sys.argv[1])
