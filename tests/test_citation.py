"""What tells others how to cite the project agrees with the project."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_the_citation_is_of_this_software_and_of_its_paper():
    yaml = pytest.importorskip("yaml")
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    # What the format requires, by its schema 1.2.0.
    assert {"cff-version", "message", "title", "authors"} <= cited.keys()
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    project = settings["project"]
    fallback = settings["tool"]["hatch"]["version"]["fallback-version"]  # the last release
    assert (cited["version"], cited["license"]) == (fallback, project["license"])
    (paper,) = cited["references"]
    assert {"type", "title", "authors"} <= paper.keys()
    readme = (ROOT / "README.md").read_text("utf-8")
    assert paper["title"] in readme and paper["url"] in readme
    for author in paper["authors"]:
        assert f"{author['family-names']}, {author['given-names']}" in readme
