"""Pages whose text lies elsewhere: in the commands, the dataclasses and the repository's files.

A page says where by a comment, `<!-- here: commands -->`, which a code host does not show.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import commands
import settings
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[2]
#: files outside `docs/` that are pages of the site, by the page
OUTSIDE = {
    "readme": "README.md",
    "benchmarks": "benchmarks/README.md",
    "changelog": "CHANGELOG.md",
    "contributing": "CONTRIBUTING.md",
}
_LINK = re.compile(r"(?<=\]\()([^)#\s:]+)(#[^)\s]*)?(?=\))")


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("source-read", _read)
    return {"parallel_read_safe": True}


def _read(app: Sphinx, name: str, source: list[str]) -> None:
    text = re.sub(r"<!-- here: ([a-z-]+) -->", lambda found: _SOURCES[found[1]](), source[0])
    text = re.sub(r"^On a code host .*\n\n", "", text, flags=re.M)
    text = _LINK.sub(lambda found: _within(name, found[1]) + (found[2] or ""), text)
    source[0] = text + _contents(text) if name == "index" else text


def _file(page: str) -> str:
    """A file of the repository, its links written as if it lay in `docs/`, without its title."""
    file = OUTSIDE[page]
    text = (ROOT / file).read_text("utf-8").split("\n", 1)[1]
    folder = posixpath.dirname(file)
    return _LINK.sub(
        lambda found: _to_docs(posixpath.join(folder, found[1])) + (found[2] or ""), text
    )


def _to_docs(path: str) -> str:
    """A path from the repository's root as one from `docs/`."""
    return posixpath.relpath(path, "docs")


def _within(name: str, link: str) -> str:
    """A link that a page has, to the page of the site where the file is one."""
    folder = posixpath.dirname(posixpath.join("docs", name))
    target = posixpath.normpath(posixpath.join(folder, link))
    for page, file in OUTSIDE.items():
        if target == file:
            return posixpath.relpath(f"docs/{page}.md", folder)
    return link


def _contents(index: str) -> str:
    """The site's contents: the links of each section of the first page, in their order."""
    trees = []
    for section in index.split("\n## ")[1:]:
        caption, text = section.split("\n", 1)
        pages = [m[1] for m in _LINK.finditer(text) if m[1].endswith(".md")]
        entries = "\n".join(dict.fromkeys(page.removesuffix(".md") for page in pages))
        trees.append(f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{entries}\n```\n")
    return "".join(trees)


_SOURCES: dict[str, Callable[[], str]] = {
    "commands": commands.text,
    "settings": settings.of_trainings,
    "camera": settings.of_cameras,
    "report": settings.of_reports,
    **{page: partial(_file, page) for page in OUTSIDE},
}
