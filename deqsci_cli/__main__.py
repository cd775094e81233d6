"""`deqsci` and `python -m deqsci_cli`."""

import signal
import sys

from deqsci_cli.cli.streams import repair_streams
from deqsci_cli.runtime.interrupt import answer_signals, give_signals_back
from deqsci_cli.runtime.threads import settle_threads


def main() -> None:
    """Run the command line; never returns."""
    repair_streams()
    came = answer_signals()  # before the long imports
    try:
        settle_threads()
        from deqsci_cli.cli.app import main as run

        run()
    except (KeyboardInterrupt, SystemExit) as end:
        if getattr(end, "code", 130) != 130:  # typer's for an interrupt
            raise
        number = came[0] if came else signal.SIGINT
        sys.stderr.write("interrupted\n" if number == signal.SIGINT else "terminated\n")
        sys.exit(128 + number)
    finally:
        give_signals_back()


if __name__ == "__main__":
    main()
