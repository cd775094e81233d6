"""Which measurements of a file: `0`, `0:3`, `1,4:` …"""

from __future__ import annotations

from deqsci_cli.errors import UsageError


def parse_selection(text: str | None, count: int) -> list[int]:
    """Indices chosen by a text of comma-separated indices and Python slices.

    Args:
        text: as on the command line; None for all.
        count: how many measurements there are; negative indices count from their end.

    Raises:
        UsageError: the text is none of this, or chooses nothing that is there.
    """
    if text is None:
        return list(range(count))
    chosen: list[int] = []
    for part in text.split(","):
        try:
            numbers = [int(p) if p.strip() else None for p in part.split(":")]
            if len(numbers) > 3 or (len(numbers) == 1 and numbers[0] is None):
                raise ValueError
            if len(numbers) > 1:
                chosen += range(count)[slice(*numbers)]
            else:
                chosen.append(range(count)[numbers[0]])  # type: ignore[index]
        except IndexError as error:
            raise UsageError(
                f"there is no measurement {part.strip()}", hint=f"the file holds {count}, from 0"
            ) from error
        except ValueError as error:
            raise UsageError(
                f"'{text}' does not choose measurements", hint="for example 0, or 0:3, or 1,4:"
            ) from error
    if not chosen:
        raise UsageError(f"'{text}' chooses none of {count} measurements")
    return list(dict.fromkeys(chosen))
