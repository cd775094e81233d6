"""Which measurements of a file: `0`, `0:3`, `1,4:` …"""

from __future__ import annotations

from collections.abc import Sequence

from deqsci_cli.errors import UsageError

Selection = tuple[int | slice, ...]


def parse_selection(text: str) -> Selection:
    """Comma-separated indices and Python slices.

    >>> parse_selection("0,3:5")
    (0, slice(3, 5, None))

    Raises:
        UsageError: the text is none of this.
    """
    parts: list[int | slice] = []
    try:
        for part in text.split(","):
            if ":" in part:
                piece = slice(*(int(p) if p.strip() else None for p in part.split(":")))
                range(1)[piece]  # a step of 0 is told here
                parts.append(piece)
            else:
                parts.append(int(part))
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"'{text}' does not choose measurements", hint="for example 0, or 0:3, or 1,4:"
        ) from error
    return tuple(parts)


def choose(selection: Selection, count: int) -> list[int]:
    """The indices chosen out of `count`, each once, in the order of the selection.

    >>> choose(parse_selection("-1,0:2"), 4)
    [3, 0, 1]

    Raises:
        UsageError: an index is not there, or nothing is chosen.
    """
    chosen: list[int] = []
    for part in selection:
        if isinstance(part, slice):
            chosen += range(count)[part]
        elif -count <= part < count:
            chosen.append(part % count)
        else:
            raise UsageError(f"there is no measurement {part}", hint=f"{count} are there, from 0")
    if not chosen:
        raise UsageError(f"the selection chooses none of {count} measurements")
    return list(dict.fromkeys(chosen))


def check_consecutive(chosen: Sequence[int]) -> None:
    """Refuse measurements that do not follow one another, as those of a recording do.

    Raises:
        UsageError: they do not.
    """
    if list(chosen) != list(range(chosen[0], chosen[0] + len(chosen))):
        raise UsageError(
            "the measurements of a recording follow one another",
            hint="choose a part of it, as --measurements 2:6",
        )
