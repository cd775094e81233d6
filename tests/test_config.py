"""Config files: tables become dataclasses and back, and what a file has wrong is all told."""

from __future__ import annotations

import copy
import json
import math
import tomllib
from dataclasses import FrozenInstanceError, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Literal, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deqsci_cli.config import build, override, read_toml, to_table
from deqsci_cli.errors import UsageError


@dataclass(frozen=True)
class Solve:
    sigma: float = 0.05
    max_iter: int = 100
    warmup: tuple[tuple[float, int], ...] = ()
    solver: str = "anderson"

    def __post_init__(self) -> None:
        if self.max_iter < 0:
            raise UsageError("the most iterations must not be negative", hint="0 or more")
        if self.solver == "file":
            raise UsageError("no solver lies here", path="solvers/file")


@dataclass(frozen=True)
class Clips:
    folder: Path
    frames: tuple[int, ...] = (8,)
    sigma_range: tuple[float, float] = (0.0, 0.2)
    flip: bool = True


@dataclass(frozen=True)
class Recipe:
    clips: Clips
    stage: str = "denoiser"
    seed: int | None = None
    limit: None | float = None  # noqa: RUF036
    note: Optional[str] = None  # noqa: UP045
    solve: Solve = field(default_factory=Solve)
    options: dict[str, Any] = field(default_factory=dict)
    stages: tuple[Solve, ...] = ()
    folders: tuple[Path, ...] = ()
    switches: tuple[bool, ...] = ()
    name: str = field(init=False, default="recipe")


FILE = """
stage = "equilibrium"  # a comment
seed = 3
folders = ["a/b", "c"]

[clips]
folder = "data/train"
frames = [8, 16]
sigma_range = [0, 1e-1]
flip = false

[solve]
sigma = 1
warmup = [[0.2, 3], [1, 4]]

[options]
channels = 4
inner = { a = [1, 2.5, "x"], b = true }

[[stages]]
max_iter = 7
"""
RECIPE = Recipe(
    clips=Clips(Path("data/train"), frames=(8, 16), sigma_range=(0.0, 0.1), flip=False),
    stage="equilibrium",
    seed=3,
    solve=Solve(sigma=1.0, warmup=((0.2, 3), (1.0, 4))),
    options={"channels": 4, "inner": {"a": [1, 2.5, "x"], "b": True}},
    stages=(Solve(max_iter=7),),
    folders=(Path("a/b"), Path("c")),
)


def as_toml(value: Any) -> str:
    """A value as TOML has it; a table inline."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{as_toml(k)} = {as_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def as_file(table: dict[str, Any]) -> str:
    return "".join(f"{as_toml(key)} = {as_toml(value)}\n" for key, value in table.items())


def refusal(cls: type, text: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        build(cls, tomllib.loads(text), path=Path("recipe.toml"))
    assert caught.value.path == Path("recipe.toml")
    return caught.value


# From a file to a dataclass


def test_a_file_becomes_what_it_says(tmp_path):
    (tmp_path / "recipe.toml").write_text(FILE, encoding="utf-8")
    recipe = build(Recipe, read_toml(tmp_path / "recipe.toml"))
    assert recipe == RECIPE
    assert repr(recipe) == repr(RECIPE)  # 1 == 1.0 == True, but they are not told alike
    with pytest.raises(FrozenInstanceError):
        recipe.seed = 4


def test_a_free_table_is_a_copy():
    table = {"clips": {"folder": "a"}, "options": {"a": {"b": [1, [2]]}}}
    recipe = build(Recipe, table)
    table["options"]["a"]["b"][1].append(3)
    assert recipe.options == {"a": {"b": [1, [2]]}}


@pytest.mark.parametrize("text", [FILE, FILE.replace("\n", "\r\n"), "\ufeff" + FILE])
def test_files_of_any_editor(tmp_path, text):
    (tmp_path / "recipe.toml").write_bytes(text.encode())
    assert read_toml(tmp_path / "recipe.toml") == tomllib.loads(FILE)


# Files that cannot be read


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xff\xfea\x00=\x001\x00", "utf-8"),
        (b'name = "\xe9"', "position 8"),
        (b"a = 1\nb = equilibrium", r"Invalid value \(at line 2, column 5\)"),
        (b"a = 1\n\n[b\n", r"at line 3, column 3"),
        (b"a = 1\na = 2", "Cannot overwrite"),
        (b"a = " + b"1" * 5000, "4300 digits"),
        (b"a = " + b"[" * 5000, "recursion|nested"),
        (b".".join([b"a"] * 5000) + b" = 1", "recursion|nested|parts"),
        (b"#" * 1_000_001, "larger than 1 MB"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_files_that_are_no_config(tmp_path, data, reason):
    path = tmp_path / "recipe.toml"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=reason) as caught:
        read_toml(path)
    assert caught.value.path == path and caught.value.exit_code == 2
    assert caught.value.hint == "a config is TOML in UTF-8, at most 1 MB"


def test_a_file_of_just_1_mb_is_read(tmp_path):
    (tmp_path / "recipe.toml").write_bytes(b"a = 1\n" + b"#" * 999_994)
    assert read_toml(tmp_path / "recipe.toml") == {"a": 1}


def test_no_file_at_all(tmp_path):
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_toml(tmp_path / "recipe.toml")
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        read_toml(tmp_path)


# Assignments


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("solve.sigma=0.04", {"solve": {"sigma": 0.04, "max_iter": 9}}),
        ("clips.frames=[8, 16]", {"clips": {"frames": [8, 16]}}),
        ("stage=equilibrium", {"stage": "equilibrium"}),
        ('stage="equi = librium"', {"stage": "equi = librium"}),
        ("stage=a=b", {"stage": "a=b"}),
        (" stage = two words ", {"stage": "two words"}),
        ("stage=", {"stage": ""}),
        ("flip=true", {"flip": True}),
        ("flip=True", {"flip": "True"}),
        ("seed=1\nother = 2", {"seed": "1\nother = 2"}),
        ("solve=3", {"solve": 3}),
        ("a.b.c={d = 1}", {"a": {"b": {"c": {"d": 1}}}}),
        ("folder=/data/x", {"folder": "/data/x"}),
        ("a=" + "[" * 5000, {"a": "[" * 5000}),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_assignments(assignment, expected):
    table = {"solve": {"sigma": 0.1, "max_iter": 9}, "seed": 1}
    before = copy.deepcopy(table)
    changed = override(table, [assignment])
    assert changed == before | expected
    assert table == before


def test_later_assignments_see_earlier_ones_and_lists_are_copied():
    table = {"frames": [8]}
    changed = override(table, ["a.b=1", "a.c=2", "a.b=3"])
    assert changed == {"frames": [8], "a": {"b": 3, "c": 2}}
    changed["frames"].append(9)
    assert table == {"frames": [8]}


@pytest.mark.parametrize("assignment", ["", "sigma", "=3", " = 3", "a.=3", ".a=3", "a..b=3"])
def test_assignments_to_nothing(assignment):
    with pytest.raises(UsageError) as caught:
        override({}, [assignment])
    assert str(caught.value) == f"{assignment!r} sets nothing (write section.key=value)"


def test_assignments_into_what_is_no_table():
    with pytest.raises(UsageError) as caught:
        override({"solve": {"sigma": 1}}, ["solve.sigma.x=3"])
    assert str(caught.value) == "'solve.sigma.x=3' cannot be set: 'sigma' is not a table"
    with pytest.raises(UsageError, match="'stages' is not a table"):
        override({"stages": [{}]}, ["stages.sigma=3"])


# What is refused


@pytest.mark.parametrize(
    ("cls", "text", "message", "hint"),
    [
        (Solve, "sigmma = 1", "unknown key 'sigmma'", "did you mean 'sigma'?"),
        (Solve, "max-iter = 1", "unknown key 'max-iter'", "did you mean 'max_iter'?"),
        (Solve, "x = 1", "unknown key 'x'", "one of sigma, max_iter, warmup, solver"),
        (Clips, "", "'folder' is missing", "it must be a path"),
        (Recipe, "", "'clips' is missing", "it must be a table"),
        (Recipe, "[clips]", "'clips.folder' is missing", "it must be a path"),
        (Solve, "max_iter = 1.0", "'max_iter' must be a whole number, not 1.0", None),
        (Solve, "max_iter = true", "'max_iter' must be a whole number, not true", None),
        (Solve, "max_iter = nan", "'max_iter' must be a whole number, not nan", None),
        (Solve, "sigma = false", "'sigma' must be a number, not false", None),
        (Solve, "sigma = '1'", "'sigma' must be a number, not '1'", None),
        (Solve, "sigma = []", "'sigma' must be a number, not a list of 0", None),
        (Solve, "sigma = {}", "'sigma' must be a number, not a table", None),
        (Solve, "sigma = nan", "'sigma' must be a number, not nan", None),
        (Solve, "sigma = -inf", "'sigma' must be a number, not -inf", None),
        (Solve, f"sigma = 0x{'f' * 9000}", "'sigma' must be a number, not inf", None),
        (Solve, f"max_iter = {2**63}", "'max_iter' must be a whole number, not inf", None),
        (Solve, "solver = 3", "'solver' must be text, not 3", None),
        (Solve, f"solver = [0x{'f' * 9000}]", "'solver' must be text, not a list of 1", None),
        (Solve, "solver = 2024-05-06", "'solver' must be text, not 2024-05-06", None),
        (
            Solve,
            "warmup = 3",
            "'warmup' must be a list of lists of a number and a whole number, not 3",
            None,
        ),
        (
            Solve,
            "warmup = [[1, 2], [1, 2, 3]]",
            "'warmup[1]' must be a list of a number and a whole number, not a list of 3",
            None,
        ),
        (Solve, "warmup = [[1, 2.5]]", "'warmup[0][1]' must be a whole number, not 2.5", None),
        (
            Clips,
            "folder = 'a'\nsigma_range = [1]",
            "'sigma_range' must be a list of a number and a number, not a list of 1",
            None,
        ),
        (
            Clips,
            "folder = 'a'\nframes = 8",
            "'frames' must be a list of whole numbers, not 8",
            None,
        ),
        (
            Clips,
            "folder = 'a'\nframes = [8, '9']",
            "'frames[1]' must be a whole number, not '9'",
            None,
        ),
        (Clips, "folder = 'a'\nflip = 1", "'flip' must be true or false, not 1", None),
        (Clips, "folder = 'a'\nflip = 'yes'", "'flip' must be true or false, not 'yes'", None),
        (Clips, "folder = 3", "'folder' must be a path, not 3", None),
        (Clips, "folder = ''", "'folder' must be a path, not ''", None),
        (Clips, 'folder = "a\\u0000b"', r"'folder' must be a path, not 'a\x00b'", None),
        (Solve, "max_iter = -1", "the most iterations must not be negative", "0 or more"),
        (Solve, "solver = 'file'", "solvers/file: no solver lies here", None),
    ],
    ids=lambda value: str(value)[:40],
)
def test_one_mistake(cls, text, message, hint):
    error = refusal(cls, text)
    assert (error.message, error.hint) == (message, hint)


CLIPS = "[clips]\nfolder = 'a'\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CLIPS + "[solve]\nsigmma = 1", "unknown key 'solve.sigmma'"),
        (CLIPS + "[solve]\nsigma = 'a'", "'solve.sigma' must be a number, not 'a'"),
        (CLIPS + "[solve]\nmax_iter = -1", "solve: the most iterations must not be negative"),
        (CLIPS + "[[stages]]\n[[stages]]\nsolvr = 1", "unknown key 'stages[1].solvr'"),
        (
            CLIPS + "[[stages]]\nmax_iter = -1",
            "stages[0]: the most iterations must not be negative",
        ),
        (CLIPS + "[options]\na.b = [1, nan]", "'options.a.b[1]' must be a number, not nan"),
        (CLIPS + "[options]\na = 2024-05-06", "'options.a' must be text, not 2024-05-06"),
        (CLIPS + f"[options]\na = {2**63}", "'options.a' must be a number, not inf"),
        ("clips = 3", "'clips' must be a table, not 3"),
        ("options = [1]\n" + CLIPS, "'options' must be a table, not a list of 1"),
        ("stages = 3\n" + CLIPS, "'stages' must be a list of tables, not 3"),
        ("folders = 'a'\n" + CLIPS, "'folders' must be a list of paths, not 'a'"),
        ("switches = true\n" + CLIPS, "'switches' must be a list of true or false, not true"),
        ("seed = 'x'\n" + CLIPS, "'seed' must be a whole number, not 'x'"),
        ("limit = 'x'\n" + CLIPS, "'limit' must be a number, not 'x'"),
        ("note = 3\n" + CLIPS, "'note' must be text, not 3"),
        ("name = 'x'\n" + CLIPS, "unknown key 'name'"),  # set by the class itself
    ],
)
def test_mistakes_are_told_with_their_section(text, message):
    assert refusal(Recipe, text).message == message


def test_all_mistakes_are_told_at_once():
    error = refusal(
        Recipe,
        "stag = 1\nseed = 1.5\n[solve]\nmax_iter = -1\n[clips]\nframes = ['a', 8, true]",
    )
    assert error.message.split("; ") == [
        "unknown key 'stag' (did you mean 'stage'?)",
        "'clips.folder' is missing (it must be a path)",
        "'clips.frames[0]' must be a whole number, not 'a'",
        "'clips.frames[2]' must be a whole number, not true",
        "'seed' must be a whole number, not 1.5",
        "solve: the most iterations must not be negative (0 or more)",
    ]
    assert error.hint is None and str(error).startswith("recipe.toml: unknown key")


def test_unknown_keys_are_told_in_order():
    told = refusal(Solve, "\n".join(f"{key}{key} = 1" for key in "fbdace")).message.split("; ")
    assert [message.split("'")[1] for message in told] == ["aa", "bb", "cc", "dd", "ee", "ff"]


def test_a_long_text_is_not_told_in_full():
    assert len(refusal(Solve, f"sigma = '{'x' * 10_000}'").message) < 80


def test_no_path_is_told_where_there_is_none():
    with pytest.raises(UsageError) as caught:
        build(Solve, {"sigma": "a"})
    assert caught.value.path is None


@dataclass(frozen=True)
class Unsupported:
    kind: Literal["a"] | int = 0
    day: date | None = None
    numbers: list[int] = field(default_factory=list)


@pytest.mark.parametrize("text", ["kind = 1", "day = 2024-05-06", "numbers = [1]"])
def test_a_class_that_no_config_fits_is_a_mistake_of_ours(text):
    with pytest.raises((KeyError, ValueError)):
        build(Unsupported, tomllib.loads(text))


# And back

WHOLE = st.integers(-(2**63), 2**63 - 1)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
PATHS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1).map(Path)
FREE = st.dictionaries(
    st.text(),
    st.recursive(
        st.booleans() | WHOLE | NUMBERS | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=6,
    ),
)
SOLVES = st.builds(
    Solve,
    sigma=NUMBERS | st.just(0.05),
    max_iter=st.integers(0, 2**63 - 1) | st.just(100),
    warmup=st.lists(st.tuples(NUMBERS, WHOLE), max_size=3).map(tuple),
    solver=st.text().filter(lambda text: text != "file") | st.just("anderson"),
)
CLIPS_OF_ANY_KIND = st.builds(
    Clips,
    folder=PATHS,
    frames=st.lists(WHOLE, max_size=3).map(tuple) | st.just((8,)),
    sigma_range=st.tuples(NUMBERS, NUMBERS) | st.just((0.0, 0.2)),
    flip=st.booleans(),
)
RECIPES = st.builds(
    Recipe,
    clips=CLIPS_OF_ANY_KIND,
    stage=st.text(),
    seed=st.none() | WHOLE,
    limit=st.none() | NUMBERS,
    note=st.none() | st.text(),
    solve=SOLVES,
    options=FREE,
    stages=st.lists(SOLVES, max_size=2).map(tuple),
    folders=st.lists(PATHS, max_size=2).map(tuple),
    switches=st.lists(st.booleans(), max_size=2).map(tuple),
)


@given(recipe=RECIPES, only_changed=st.booleans())
def test_round_trip_through_toml_and_json(recipe, only_changed):
    table = to_table(recipe, only_changed=only_changed)
    for read in (tomllib.loads(as_file(table)), json.loads(json.dumps(table))):
        assert read == table
        again = build(Recipe, read)
        assert again == recipe and repr(again) == repr(recipe)


def test_the_table_of_a_dataclass():
    plain = {"sigma": 0.05, "max_iter": 7, "warmup": [], "solver": "anderson"}
    assert to_table(RECIPE) == {
        "clips": {
            "folder": "data/train",
            "frames": [8, 16],
            "sigma_range": [0.0, 0.1],
            "flip": False,
        },
        "stage": "equilibrium",
        "seed": 3,
        "solve": plain | {"sigma": 1.0, "max_iter": 100, "warmup": [[0.2, 3], [1.0, 4]]},
        "options": {"channels": 4, "inner": {"a": [1, 2.5, "x"], "b": True}},
        "stages": [plain],
        "folders": ["a/b", "c"],
        "switches": [],
    }
    # What the file says, and no more.
    assert to_table(RECIPE, only_changed=True) == tomllib.loads(FILE)


@dataclass(frozen=True)
class Nested:
    needed: Solve
    own: Solve = Solve(sigma=0.3)


def test_defaults_of_nested_tables():
    assert to_table(Nested(Solve()), only_changed=True) == {"needed": {}}
    # `own` differs from its default by having those of its class.
    same = Nested(Solve(), own=Solve())
    assert to_table(same, only_changed=True) == {"needed": {}, "own": {}}
    assert build(Nested, {"needed": {}, "own": {}}) == same
    assert build(Nested, {"needed": {}}).own.sigma == 0.3


@given(value=st.booleans() | WHOLE | NUMBERS | st.text() | st.lists(st.text()) | FREE)
def test_any_toml_value_can_be_assigned(value):
    assert override({}, [f"a.b={as_toml(value)}"]) == {"a": {"b": value}}


@dataclass(frozen=True)
class Kept:
    """As JSON has it: what is null, and tables whose values have a type."""

    name: str = field(metadata={"option": "--name TEXT"})
    best: float | None = None
    traces: tuple[float | None, ...] | None = None
    sums: dict[str, tuple[float | None, int]] = field(default_factory=dict)
    free: dict[str, Any] = field(default_factory=dict)
    solves: tuple[Solve, ...] = ()


def test_what_json_has_and_toml_has_not():
    kept = Kept("a", None, (1.0, None), {"x": (None, 3)}, {"a": None, "b": [None]}, (Solve(),))
    assert build(Kept, json.loads(json.dumps(to_table(kept)))) == kept
    assert build(Kept, {"name": "a", "best": None, "more": 1}, part=True) == Kept("a")


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"name": None}, "'name' must be text, not none"),
        ({"name": "a", "best": "1"}, "'best' must be a number"),
        ({"name": "a", "best": math.nan}, "'best' must be a number, not nan"),
        ({"name": "a", "traces": [1, True]}, r"'traces\[1\]' must be a number"),
        ({"name": "a", "sums": {"x": [1.0, 2.5]}}, r"'sums.x\[1\]' must be a whole number"),
        ({"name": "a", "sums": {"x": [1.0]}}, "'sums.x' must be a list"),
        ({"name": "a", "free": {"b": [[math.inf]]}}, r"'free.b\[0\]\[0\]' must be a number"),
        ({"name": "a", "solves": [None]}, r"'solves\[0\]' must be a table"),
        ({"best": 1}, "'name' is missing .*--name TEXT"),
        ({"name": "a"} | dict.fromkeys(map(str, range(100))), "and 88 more faults"),
    ],
)
def test_what_is_wrong_in_json(table, words):
    with pytest.raises(UsageError, match=words):
        build(Kept, table)
