"""The version is the tag's; without a tag, or without git, there is one too, and nothing breaks."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
FALLBACK = PROJECT["tool"]["hatch"]["version"]["fallback-version"]


def version(folder: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SETUPTOOLS_SCM")}
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "version"],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *who, *arguments], check=True, cwd=folder, capture_output=True)


def test_the_version_with_a_tag_and_without(tmp_path):
    if shutil.which("git") is None:
        pytest.skip("there is no git here")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, tmp_path)
    assert version(tmp_path) == FALLBACK
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    base = FALLBACK.rsplit(".", 1)[0]
    assert re.match(rf"{re.escape(base)}\.\d+\.dev\d+\+g", version(tmp_path))
    git(tmp_path, "tag", "v3.4.5")
    assert version(tmp_path) == "3.4.5"


def test_the_last_release_of_the_changelog_is_the_fallback():
    text = (REPOSITORY / "CHANGELOG.md").read_text("utf-8")
    headings = re.findall(r"^## \[(.+?)\]", text, re.M)
    assert headings[:2] == ["Unreleased", FALLBACK]


def test_the_container_has_that_version_too():
    text = (REPOSITORY / "Dockerfile").read_text("utf-8")
    assert re.findall(r"^ARG VERSION=(.+)$", text, re.M) == [FALLBACK]
