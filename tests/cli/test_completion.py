"""What shells offer: the generated script is run by the shell itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from deqsci_cli import zoo
from deqsci_cli.errors import UsageError
from deqsci_cli.runtime.device_names import DTYPES

MODELS = {*zoo.ALIASES, *zoo.released()}
CASES = {
    ("reconstruct", "--model", ""): MODELS,
    ("reconstruct", "--solver", ""): {"anderson", "picard"},
    ("reconstruct", "--format", ""): {"tif", "mat", "h5"},
    ("reconstruct", "--dtype", ""): set(DTYPES),
    ("reconstruct", "--device", "c"): {"cpu", "cuda"},
    ("models", "show", "r"): {"rnn"},
    ("train", "--config", "rn"): {"rnn"},
    ("reconstruct", "--symm"): {"--symmetries"},
    ("insp",): {"inspect"},
}
# Each prints what is offered for the last word of $LINE, which is not finished.
BASH = """
source <(_DEQSCI_COMPLETE=source_bash deqsci)
read -ra COMP_WORDS <<< "$LINE"
[[ $LINE == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_deqsci_completion deqsci
printf '%s\\n' "${COMPREPLY[@]}"
"""
FISH = """
_DEQSCI_COMPLETE=source_fish deqsci | source
complete -C "$LINE" | string split -f 1 \\t; or true
"""
# Zsh's own functions work at a terminal alone: these show what they are called with.
ZSH = """
compdef() { }
_arguments() { print -r -- "$1" | grep -o '"[^"]*"' | tr -d '"' }
source <(_DEQSCI_COMPLETE=source_zsh deqsci)
words=("${(@s: :)LINE}")
CURRENT=$#words
_deqsci_completion
"""


@pytest.fixture
def shell(environment, tmp_path):
    """Run a script of a shell, with a `deqsci` on the path; its lines."""
    program = tmp_path / "bin" / "deqsci"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nfrom deqsci_cli.__main__ import main\nmain()\n")
    program.chmod(0o755)
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    home = tmp_path / "home"
    home.mkdir()

    def run(name, script, words):
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not on this machine")
        line = {"PATH": path, "HOME": str(home), "LINE": " ".join(("deqsci", *words))}
        command, env = [name, "-c", script], environment | line
        done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=home)
        assert done.returncode == 0 and not done.stderr, done.stderr
        return set(done.stdout.splitlines())

    return run


@pytest.mark.parametrize("words", CASES, ids=" ".join)
def test_bash(shell, words):
    assert shell("bash", BASH, words) == CASES[words]


@pytest.mark.parametrize("words", CASES, ids=" ".join)
def test_fish(shell, words):
    assert shell("fish", FISH, words) == CASES[words]


@pytest.mark.parametrize("words", CASES, ids=" ".join)
def test_zsh(shell, words):
    assert shell("zsh", ZSH, words) >= CASES[words]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--solver", "newton"),
        ("--format", "png"),
        ("--dtype", "int8"),
        ("--device", "tpu"),
        ("--symmetries", "3"),
        ("--nan", "mean"),
    ],
)
def test_what_is_not_offered_is_refused_in_our_words(run, capture, tmp_path, option, value):
    with pytest.raises(UsageError, match=value) as told:
        run("reconstruct", capture, "-o", tmp_path / "o", option, value)
    assert told.value.exit_code == 2
