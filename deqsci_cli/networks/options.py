"""How a denoiser may be evaluated, in words: known without PyTorch, which is slow to import."""

from __future__ import annotations

from deqsci_cli.errors import UsageError

#: over how many symmetries of a film a denoiser may be averaged
SYMMETRIES = (1, 2, 4, 8)
#: what `tile` may say besides a side
WHOLE, AUTO = "none", "auto"


def check_tile(tile: str) -> None:
    """Refuse what `tile` may not say.

    Raises:
        UsageError: it is no side, nor one of the words.
    """
    if tile not in (WHOLE, AUTO) and not (tile.isdecimal() and int(tile) > 0):
        raise UsageError(f"'{tile}' is no tile", hint="auto, none, or a side in pixels such as 512")
