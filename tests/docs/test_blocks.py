"""Every command and every piece of Python in the README and the documentation runs as it stands.

Blocks of `sh` and `python` are run, page by page and in the order of the page, in a folder with
the files that the repository has. Other blocks (`text`, `matlab`, `bibtex`) are shown only.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / "docs"
PAGES = [REPOSITORY / "README.md", *sorted(DOCS.glob("**/*.md"))]
BLOCK = re.compile(r"^( *)```([\w{}-]*)\n(.*?)^ *```$", re.M | re.S)
KINDS = {"sh", "python", "text", "matlab", "bibtex", "{eval-rst}"}
#: what is written for hours and machines, as it is run here
SHORTER = (
    ("--steps 100000", ""),
    (
        "deqsci train ",
        "deqsci train --steps 1 --batch-size 1 --patch-size 16 --set validation_side=16 "
        "--set solve.max_iter=3 --set stability.max_iter=1 --set captures.frames=[3] ",
    ),
    ("deqsci adapt ", "deqsci adapt --steps 1 --batch-size 1 --patch-size 16 "),
    ("models diagnose ./my-pnp", "models diagnose --side 16 ./my-pnp"),
    ("--fit shift,offset", "--fit offset"),
    ("--cluster local:4", "--cluster local:2"),
)
#: what these import is not here, and they would ask for windows or machines
ELSEWHERE = ("dask_jobqueue", "napari")


def blocks(page: Path) -> list[tuple[str, str]]:
    return [(m[2], m[3]) for m in BLOCK.finditer(page.read_text("utf-8"))]


def runs(page: Path) -> bool:
    return any(kind in ("sh", "python") for kind, _ in blocks(page))


@pytest.mark.parametrize("page", [*filter(runs, PAGES)], ids=lambda p: p.stem)
def test_what_a_page_says_runs(page, shell):
    for kind, text in blocks(page):
        if kind == "python":
            ast.parse(text)
            if any(f"import {name}" in text or f"from {name}" in text for name in ELSEWHERE):
                continue
            command = ["bash", "-c", f"cat > block.py <<'END-OF-BLOCK'\n{text}END-OF-BLOCK\n"
                       "python block.py"]  # fmt: skip
        elif kind == "sh":
            for long, short in SHORTER:
                text = text.replace(long, short)
            command = ["bash", "-euo", "pipefail", "-c", text]
        else:
            continue
        done = shell(command)
        assert done.returncode == 0, f"{text}\n{done.stdout}"


def test_blocks_have_a_kind_and_all_are_found():
    for page in PAGES:
        found = blocks(page)
        assert len(found) * 2 == page.read_text("utf-8").count("```"), page
        assert {kind for kind, _ in found} <= KINDS, page


def test_what_is_made_shorter_is_there():
    whole = "".join(page.read_text("utf-8") for page in PAGES)
    assert [long for long, _ in SHORTER if long not in whole] == []


def test_the_readme_is_short():
    assert len((REPOSITORY / "README.md").read_text("utf-8").splitlines()) <= 150
