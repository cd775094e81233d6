"""Docstrings whose entries name several fields at once, `dark, flat: …`, as Sphinx reads them."""

from __future__ import annotations

import re

from sphinx.application import Sphinx

_SEVERAL = re.compile(r"^( {4})(\w+(?:, \w+)+): ")


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _split, priority=400)  # before napoleon's own
    return {"parallel_read_safe": True}


def _split(app: Sphinx, what: str, name: str, item: object, options: object, lines: list[str]):
    """Give each field an entry of its own, all with the same text."""
    found: list[str] = []
    while lines:
        line = lines.pop(0)
        several = _SEVERAL.match(line)
        entry = [line]
        while several and lines and lines[0].startswith(" " * 8):
            entry.append(lines.pop(0))
        names = several[2].split(", ") if several else []
        for each in names:
            found += [f"{several[1]}{each}: {line[several.end() :]}", *entry[1:]]
        if not names:
            found += entry
    lines[:] = found
