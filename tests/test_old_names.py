"""What was renamed after version 0.1.0 is gone, and whoever still uses it is told the new name."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.torch import load, save
from typer.main import get_command

from deqsci_cli import zoo
from deqsci_cli.cli.app import app
from deqsci_cli.config import RENAMED, build
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.errors import InputError, ModelError, UsageError
from deqsci_cli.networks.registry import build as build_network
from deqsci_cli.report.report import REPORT, Report
from deqsci_cli.training.capture_settings import CaptureSettings
from deqsci_cli.training.equilibrium import StabilitySettings
from deqsci_cli.training.settings import TrainConfig, check_version, recipe

ROOT = Path(__file__).resolve().parent.parent
# Words that mean nothing else here. What else was renamed is looked for among keys alone.
GONE = (
    "visits", "expansion", "skip_above", "mix_below", "most_objects", "dominant_growth", "begin_as",
    "badness", "psnrs", "likeness", "damping", "certify", "certificate", "WAYS", "check_way",
    "ow it was come to", "deqsci-report/1",
)  # fmt: skip
# Where the old names are told: the tables of what was renamed, and the test of them.
TELL = {"deqsci_cli/config.py", "deqsci_cli/zoo.py", "tests/test_old_names.py"}
KINDS = (TrainConfig, CaptureSettings, EquilibriumSettings, StabilitySettings)


def texts() -> Iterator[Path]:
    for pattern in (
        "deqsci_cli/**/*.py", "deqsci_cli/report/templates/*", "tests/**/*.py", "benchmarks/*.py",
        "examples/*.py", "sample_data/*.py", "models/*/*.toml", "models/*/*.json", "README.md",
        "CONTRIBUTING.md", "docs/**/*.md",
    ):  # fmt: skip
        yield from (p for p in ROOT.glob(pattern) if p.relative_to(ROOT).as_posix() not in TELL)


def test_no_old_word_is_left():
    pattern = re.compile(rf"(?<![\w-])({'|'.join(GONE)})(?!\w)")
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match[0]}"
        for path in texts()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if (match := pattern.search(line))
    ]
    assert found == []


def keys(table: object) -> Iterator[str]:
    if isinstance(table, dict):
        for key, value in table.items():
            yield key
            yield from keys(value)


def test_no_old_key_is_left_in_recipes_cards_and_settings():
    tables = [tomllib.loads(p.read_text("utf-8")) for p in ROOT.glob("models/*/*.toml")]
    tables += [part for card in zoo.cards() for part in (card.equilibrium, card.training)]
    used = {key for table in tables for key in keys(table)}
    assert used and not used & RENAMED.keys()
    for kind in KINDS:
        assert not {f.name for f in dataclasses.fields(kind)} & RENAMED.keys(), kind


def test_no_old_option_is_left():
    def options(command) -> Iterator[str]:
        for parameter in command.params:
            yield from parameter.opts
        for inner in getattr(command, "commands", {}).values():
            yield from options(inner)

    found = set(options(get_command(app)))
    assert {"--init-from", "--batch-size", "--patch-size"} <= found
    assert not found & {"--from", "--batch", "--patch", "--damping"}


def test_no_two_classes_have_one_name():
    names = Counter(
        node.name
        for path in (ROOT / "deqsci_cli").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("old", RENAMED)
def test_an_old_key_is_refused_with_its_new_name(old):
    new = RENAMED[old]
    kinds = [kind for kind in KINDS if new in {f.name for f in dataclasses.fields(kind)}]
    assert len(kinds) == 1
    with pytest.raises(UsageError, match=rf"unknown key '{old}'") as told:
        build(kinds[0], {old: 1})
    assert f"it is called '{new}' now" in str(told.value)


def test_an_old_key_of_another_table_is_as_any_other():
    with pytest.raises(UsageError) as told:
        build(StabilitySettings, {"batch": 1})
    assert "batch_size" not in str(told.value)


def test_an_old_state_says_what_can_go_on_with_it(tmp_path):
    config = TrainConfig((tmp_path,), tmp_path, tmp_path, architecture="cnn")
    begun = recipe(config)
    check_version(tmp_path, begun)
    old = {new: name for name, new in RENAMED.items()}
    saved = {old.get(name, name): value for name, value in begun.items()}
    with pytest.raises(UsageError, match=r"earlier version of deqsci \(0\.1\.0\)") as told:
        check_version(tmp_path, saved)
    assert told.value.path == tmp_path and "begin anew from its weights" in str(told.value.hint)


def test_an_old_report_is_refused_with_a_hint(tmp_path):
    Report({}, {}).write(tmp_path / REPORT)
    content = json.loads((tmp_path / REPORT).read_text("utf-8"))
    assert Report.read(tmp_path / REPORT).measurements == []
    content |= {"schema": "deqsci-report/1", "measurements": [{"residuals": [], "psnrs": None}]}
    (tmp_path / REPORT).write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError, match="'deqsci-report/1', not 'deqsci-report/2'") as told:
        Report.read(tmp_path / REPORT)
    assert "deqsci reconstruct" in str(told.value.hint)


def test_old_weights_are_refused_with_the_new_name(tmp_path):
    options = {"widths": [4, 4]}
    card = zoo.Card("m", "", "video", options)
    zoo.save_model(tmp_path / "m", build_network("video", options), card, overwrite=False)
    file = tmp_path / "m" / zoo.WEIGHTS
    old = {"head": "enter", "tail": "leave", "encoder": "falling", "decoder": "rising"}
    tensors = load(file.read_bytes())
    renamed = {}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        renamed[f"{old.get(part, part)}.{rest}"] = tensor
    file.write_bytes(save(renamed))
    with pytest.raises(ModelError, match=r"'\w+\.[\w.]+' is called '\w+\.[\w.]+' since") as told:
        zoo.load(str(tmp_path / "m"))
    assert "0.1.0" in str(told.value)
