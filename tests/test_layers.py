"""The import rule of the architecture: downwards only, and nothing but `cli` speaks."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "deqsci_cli"
ROOT = Path(__file__).resolve().parent.parent / PACKAGE

# The whole order: a package imports from those above it, and from none beside or below it.
ORDER = (
    ("__init__", "errors"),
    ("config", "registry"),
    ("io", "physics", "networks"),
    ("report", "equilibrium", "runtime"),
    ("zoo",),
    ("reconstructor", "training"),
    ("engine",),
    ("cli",),
    ("__main__",),
)
LEVELS = {name: level for level, names in enumerate(ORDER) for name in names}
# What is stricter than that.
FORBIDDEN = {
    "io": {"torch"},
    "equilibrium.solvers": {"networks", "physics", "io"},
}
LONGEST = 350
FILES = sorted(ROOT.rglob("*.py"))


def module_name(path: Path) -> str:
    """`equilibrium.solvers` of its file; a package's own `__init__` counts as the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that is imported, within functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute here"
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def without_type_checking(tree: ast.Module) -> ast.Module:
    """What runs when a module is imported: all but the body of `if TYPE_CHECKING:`."""
    return ast.parse(
        "\n".join(
            ast.unparse(part)
            for node in tree.body
            for part in (
                node.orelse
                if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
                else [node]
            )
        )
    )


def own_parts(name: str) -> tuple[str, str]:
    """First part of a name within the package (`""` for a foreign one) and the foreign root."""
    root, _, rest = name.partition(".")
    if root != PACKAGE:
        return "", root
    part = rest.partition(".")[0]
    known = (ROOT / part).is_dir() or (ROOT / f"{part}.py").is_file()
    return (part if part and known else "__init__"), ""


def violations(name: str, tree: ast.AST) -> list[str]:
    """What a module of this name may not import but does."""
    top = name.partition(".")[0]
    found = []
    if name == "__init__":
        # The one exception to the order: the public API names what lies above for type checkers.
        # At run time it imports that by `_HOMES`, when a name is first asked for.
        tree = without_type_checking(tree)
    for line, target in imported(tree):
        own, foreign = own_parts(target)
        for prefix, forbidden in FORBIDDEN.items():
            within = name == prefix or name.startswith(f"{prefix}.")
            if within and (own or foreign) in forbidden:
                found.append(f"line {line}: {prefix} imports {target}")
        if own and own != top and LEVELS[own] >= LEVELS[top]:
            found.append(f"line {line}: {top} imports {target}, which is not below it")
        if target != f"{PACKAGE}.__version__" and own == "__init__":
            found.append(f"line {line}: {top} imports {target} through the public API")
        if foreign in ("typer", "rich", "click") and top not in ("cli", "__main__"):
            found.append(f"line {line}: only cli knows {foreign}")
    return found


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_go_downwards(path):
    name = module_name(path)
    assert name.partition(".")[0] in LEVELS, f"{name} has no place in the layers"
    assert not violations(name, ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_no_module_is_long(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_only_the_command_line_prints_or_exits(path):
    if module_name(path).partition(".")[0] in ("cli", "__main__"):
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("print", "exit", "quit"), f"line {node.lineno}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            name = f"{node.value.id}.{node.attr}"
            assert name not in ("sys.exit", "sys.stdout", "sys.stderr"), f"line {node.lineno}"


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("io.mat", "import torch"),
        ("io.mat", "def f():\n    from torch.nn import functional"),
        ("io.mat", "from deqsci_cli import zoo"),
        ("physics.sensing", "from deqsci_cli.networks.cnn import CNN"),
        ("equilibrium.solvers", "import deqsci_cli.physics.sensing"),
        ("errors", "from deqsci_cli.io import load_capture"),
        ("report.metrics", "from deqsci_cli.training.train import train"),
        ("engine.convert", "from deqsci_cli.cli import app"),
        ("engine.convert", "import typer"),
        ("zoo", "from rich.table import Table"),
        ("networks.cnn", "from deqsci_cli.io import load_capture"),
        ("report.pages", "from deqsci_cli.runtime.isolation import isolated"),
        ("training.train", "from deqsci_cli.reconstructor import Reconstructor"),
        ("reconstructor", "from deqsci_cli.training.train import train"),
        ("runtime.device", "from deqsci_cli import zoo"),
        ("io.mat", "from deqsci_cli import reconstruct"),
        ("engine.convert", "from deqsci_cli import load_model"),
        ("engine.convert", "import deqsci_cli"),
        ("__init__", "from deqsci_cli.io import load_capture"),
        ("__init__", "if TYPE_CHECKING:\n    pass\nelse:\n    from deqsci_cli.zoo import load"),
        ("zoo", "if TYPE_CHECKING:\n    from deqsci_cli.engine.convert import convert"),
    ],
)
def test_the_rule_finds_what_it_should(name, source):
    assert len(violations(name, ast.parse(source))) == 1


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("cli.train", "import typer\nfrom deqsci_cli.engine import train\nimport deqsci_cli.io"),
        ("engine.convert", "import torch\nfrom deqsci_cli import zoo, __version__"),
        ("equilibrium.maps", "from deqsci_cli.physics.sensing import SensingOperator"),
        ("io.provenance", "from deqsci_cli import __version__"),
        ("__init__", "if TYPE_CHECKING:\n    from deqsci_cli.reconstructor import reconstruct"),
    ],
)
def test_the_rule_lets_pass_what_it_should(name, source):
    assert violations(name, ast.parse(source)) == []


def run(code: str) -> list[str]:
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT.parent, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


SEEN = "print('seen', *sorted(m for m in ('torch', 'scipy', 'imageio') if m in sys.modules))"


def test_help_does_not_import_torch():
    code = (
        "import sys; sys.argv = ['deqsci', '--help']\n"
        "from deqsci_cli.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n" + SEEN
    )
    lines = run(code)
    assert any("reconstruct" in line for line in lines)  # it did show the help
    assert "torch" not in lines[-1].split()


def test_file_formats_do_not_import_torch():
    assert "torch" not in run(f"import sys, deqsci_cli.io\n{SEEN}")[-1].split()
