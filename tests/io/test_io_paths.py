"""Paths that the system refuses, and files that are not what they seem."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from deqsci_cli.errors import InputError, UsageError
from deqsci_cli.io import atomic_write, check_absent, only_run, remove_leftovers
from deqsci_cli.io.lock import LOCK
from deqsci_cli.io.paths import (
    check_name,
    exists,
    is_dir,
    is_file,
    is_link,
    open_plain,
    real,
    same_file,
    short_name,
)
from deqsci_cli.io.read_errors import require_file
from deqsci_cli.training.log import LOG, TrainingLog

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="other systems, other refusals")


@pytest.fixture
def refused(tmp_path):
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "file").touch()
    names = ("a" * 300, "circle", "circle/b", "file/b", "b/" * 3000, "a\0b")
    return [tmp_path / name for name in names]


def test_every_question_has_an_answer(refused, tmp_path):
    for path in refused:
        assert not (exists(path) or is_file(path) or is_dir(path))
        assert is_link(path) == (path.name == "circle")
        assert not same_file(path, path) and not same_file(path, tmp_path)
        if "\0" not in path.name:
            assert real(path).is_absolute()
        with pytest.raises(InputError) as told:
            require_file(path)
        assert told.value.hint


def test_they_are_the_systems_answers(tmp_path):
    file, link = tmp_path / "file", tmp_path / "link"
    file.touch()
    link.symlink_to(file)
    assert is_file(file) and is_file(link) and is_dir(tmp_path) and exists(link)
    assert is_link(link) and not is_link(file)
    assert same_file(file, link) and not same_file(file, tmp_path)
    assert real(link) == Path(os.path.realpath(link))


@pytest.mark.parametrize("sign", ["x", "雪", "🎞", os.fsdecode(b"\xe9")])
def test_the_longest_names_of_a_file_system(tmp_path, sign):
    """The system itself says where its limit is; what is refused ahead is what it refuses."""
    for size in range(240, 260):
        name = (sign * 300).encode("utf-8", "surrogateescape")[:size].decode("utf-8", "ignore")
        name = name if sign != os.fsdecode(b"\xe9") else sign * size
        for path in (tmp_path / name, tmp_path / "new" / name, tmp_path / name / "new"):
            try:
                os.mkdir(tmp_path / name)  # noqa: PTH102
                os.rmdir(tmp_path / name)  # noqa: PTH106
            except OSError:
                for check in (check_name, lambda p: check_absent([p], overwrite=True)):
                    with pytest.raises(UsageError, match="too long"):
                        check(path)
            else:
                check_name(path)
        short = short_name(f"{name}.json")
        (tmp_path / short).touch()
        assert short.endswith(".json")
        # Names as long that differ at their end alone stay apart.
        assert short_name(f"{name}0.json") != short_name(f"{name}1.json")


@pytest.mark.parametrize("name", ["x" * 251 + ".tif", "a." + "b" * 240, "雪" * 85, ".x"])
def test_a_temporary_name_is_no_longer_than_the_name(tmp_path, name):
    target = tmp_path / name
    with atomic_write(target, overwrite=False) as temporary:
        temporary.write_text("whole")
        left = temporary.with_name(temporary.name)
    assert target.read_text() == "whole"
    left.write_text("what a kill in the middle of a write leaves")
    remove_leftovers(target)
    assert list(tmp_path.iterdir()) == [target]


@pytest.fixture(params=["dangling", "link", "pipe", "folder"])
def trap(request, tmp_path):
    """Puts something other than a plain file somewhere; what it leads to must stay as it is."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "canary").write_text("somebody's work")

    def put(path: Path) -> None:
        if request.param == "dangling":
            path.symlink_to(theirs / "new")
        elif request.param == "link":
            path.symlink_to(theirs / "canary")
        elif request.param == "pipe":
            os.mkfifo(path)
        else:
            path.mkdir()

    yield put
    assert [p.name for p in theirs.iterdir()] == ["canary"]
    assert (theirs / "canary").read_text() == "somebody's work"


def within(seconds: float, do) -> BaseException | None:
    """What `do` raises; a test that hangs fails."""
    caught: list[BaseException] = []

    def run() -> None:
        try:
            do()
        except Exception as error:
            caught.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive()
    return caught[0] if caught else None


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_RDWR | os.O_CREAT, os.O_WRONLY | os.O_APPEND])
def test_a_plain_file_or_none(tmp_path, trap, flags):
    trap(tmp_path / "a")
    error = within(10, lambda: os.close(open_plain(tmp_path / "a", flags)))
    assert isinstance(error, UsageError)
    (tmp_path / "b").write_text("mine")
    os.close(open_plain(tmp_path / "b", flags))
    assert (tmp_path / "b").read_text() == "mine"


def test_a_lock_that_is_none(tmp_path, trap):
    out = tmp_path / "o"
    out.mkdir()
    trap(out / LOCK)

    def enter() -> None:
        with only_run(out):
            raise AssertionError("never reached")

    error = within(10, enter)
    assert isinstance(error, UsageError) and LOCK in str(error)
    assert [p.name for p in out.iterdir()] == [LOCK]


@pytest.mark.parametrize("before", [True, False])
def test_a_log_that_is_none(tmp_path, trap, before):
    """Told before the first step; and should it come later, not written through either."""
    out = tmp_path / "o"
    out.mkdir()

    def log() -> None:
        if before:
            trap(out / LOG)
        made = TrainingLog(out, step=0, tensorboard=False)
        if before:
            raise AssertionError("never reached")
        trap(out / LOG)
        made.write(1, {"psnr": 1.0})

    error = within(10, log)
    assert isinstance(error, UsageError) and LOG in str(error)
