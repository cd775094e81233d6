"""Links of the Markdown files lead somewhere, as a code host has it; words are spelt right."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [
    *(REPOSITORY / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")),
    *sorted((REPOSITORY / "docs").glob("**/*.md")),
    REPOSITORY / "benchmarks" / "README.md",
    REPOSITORY / "sample_data" / "README.md",
]
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCED = re.compile(r"^ *```.*?^ *```$", re.M | re.S)


def text_of(page: Path) -> str:
    """Without code, in which brackets mean other things."""
    return re.sub(r"`[^`\n]*`", "code", FENCED.sub("", page.read_text("utf-8")))


def anchors(page: Path) -> set[str]:
    """Of its headings: small letters and digits, hyphens for spaces, nothing else."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text("utf-8")), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_relative_link_resolves(page):
    lost = []
    for link in LINK.findall(text_of(page)):
        if re.match(r"https?://|mailto:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        inside = target.is_relative_to(REPOSITORY) and target.exists()
        if not inside or (anchor and anchor not in anchors(target)):
            lost.append(link)
    assert lost == []


def test_every_page_is_reached_from_the_first_one():
    listed = {
        (REPOSITORY / "docs" / link).resolve()
        for link in LINK.findall(text_of(REPOSITORY / "docs/index.md"))
    }
    pages = set((REPOSITORY / "docs").glob("**/*.md")) - {REPOSITORY / "docs/index.md"}
    assert {page.name for page in pages - listed} == set()


def test_words_are_spelt_right():
    """Those of pages and of code, help and messages among it."""
    pytest.importorskip("codespell_lib")
    places = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile", "docs", "deqsci_cli",
              "benchmarks", "examples", "sample_data")  # fmt: skip
    found = subprocess.run(
        [sys.executable, "-m", "codespell_lib", *places],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
    )
    assert found.returncode == 0, found.stdout + found.stderr
