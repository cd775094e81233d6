"""A reader that crashes or hangs in a C library: its file is reported, the rest done."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest

from deqsci_cli.engine.batch.plan import ReconstructConfig
from deqsci_cli.engine.reconstruct import reconstruct
from deqsci_cli.errors import InputError
from deqsci_cli.io import load_capture, write_capture
from deqsci_cli.runtime import isolation
from deqsci_cli.runtime.isolation import isolated

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are told otherwise there")

# What a damaged file does to a library, by the file's name. A module of its own, since the reading
# process has to find it; the pattern is C code that holds Python's lock for longer than we live.
READERS = """
import os, re, signal, sys
from deqsci_cli.io import ReadOptions, capture

class Fragile(ReadOptions):
    pass

def fall(path):
    name = os.path.basename(path)
    if name.startswith("segv"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if name.startswith("abort"):
        os.abort()
    if name.startswith("hang"):
        re.match("(a+)+$", "a" * 60 + "b")
    if name.startswith("noise"):
        os.write(1, b"a library that prints")
    if name.startswith("bug"):
        raise ZeroDivisionError("a mistake of ours")
    if name.startswith("late") and os.environ.get("SECOND_LOOK"):
        os.kill(os.getpid(), signal.SIGSEGV)

if "torch" not in sys.modules:  # in the reading process alone
    opened = capture.open_capture

    def load(path, options):
        fall(path)
        return opened(path, options)

    capture.open_capture = load

def process(path):
    return os.getpid(), "torch" in sys.modules, os.getcwd()
"""


@pytest.fixture
def fragile(tmp_path, monkeypatch):
    """A reader that some files are too much for."""
    (tmp_path / "fragile_readers.py").write_text(READERS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(isolation, "_SECONDS", 3.0)
    import fragile_readers

    yield fragile_readers
    sys.modules.pop("fragile_readers")


@pytest.fixture
def films(tmp_path, fragile):
    """Reconstruct files of these names, the same capture in each; the report, and the films."""
    rng = np.random.default_rng(0)
    mask, meas = rng.integers(0, 2, (3, 9, 12)), 255 * rng.random((9, 12))

    def run(*names):
        files = [tmp_path / f"{name}.mat" for name in names]
        for file in files:
            write_capture(
                file, measurements=meas, mask=mask, scale=1, provenance={}, overwrite=True
            )
        config = ReconstructConfig(
            tuple(files), tmp_path / "o", "gap-tv", fragile.Fragile(), previews=(), overwrite=True
        )
        report = reconstruct(config)
        return report.failures, {path.stem for path in (tmp_path / "o").glob("*.tif")}

    return run


def test_a_crash_takes_down_one_file(films):
    failures, made = films("a", "segv", "noise", "abort", "b")
    assert made == {"a", "noise", "b"}
    told = {failure.input.rpartition("/")[2]: failure for failure in failures}
    assert set(told) == {"segv.mat", "abort.mat"}
    assert "SIGSEGV" in told["segv.mat"].error and "SIGABRT" in told["abort.mat"].error
    assert all(f.exit_code == 3 and f.input in f.error and f.hint for f in failures)


def test_a_crash_after_the_plan_takes_down_one_file(films, monkeypatch):
    """The plan has read the file; the second reading, for the work, falls."""
    from deqsci_cli.engine.batch import work

    before = work._load

    def second_look(task, job):
        monkeypatch.setenv("SECOND_LOOK", "1")
        return before(task, job)

    monkeypatch.setattr(work, "_load", second_look)
    failures, made = films("a", "late", "z")
    assert made == {"a", "z"} and [f.exit_code for f in failures] == [3]
    assert "late.mat" in failures[0].error and "SIGSEGV" in failures[0].error


def test_a_hang_ends(films):
    failures, made = films("a", "hang", "z")
    assert made == {"a", "z"}
    assert "hang.mat" in failures[0].error and "longer than" in failures[0].error


def test_a_mistake_of_ours_is_not_hidden(films):
    with pytest.raises(ZeroDivisionError, match="mistake of ours") as caught:
        films("a", "bug")
    assert any("in load" in note for note in caught.value.__notes__)


def test_one_process_reads_all_without_pytorch_where_its_parent_is(fragile, tmp_path, monkeypatch):
    first, second = (isolated(fragile.process, tmp_path) for _ in range(2))
    assert first == second and first[0] != os.getpid() and first[1] is False
    (tmp_path / "random_start_prob").mkdir()
    monkeypatch.chdir(tmp_path / "random_start_prob")
    assert isolated(fragile.process, tmp_path)[2] == str(tmp_path / "random_start_prob")


def test_it_gives_what_reading_here_gives(tmp_path):
    rng = np.random.default_rng(1)
    path = tmp_path / "a.h5"
    given = {"measurements": rng.random((2, 8, 9)), "mask": rng.random((3, 8, 9))}
    write_capture(path, **given, truth=rng.random((5, 8, 9)), scale=1, provenance={},
                  overwrite=False)  # fmt: skip
    here, there = load_capture(path), isolated(load_capture, path)
    for name, value in vars(here).items():
        np.testing.assert_equal(getattr(there, name), value)
    assert there.mask.flags.writeable and there.mask.flags.c_contiguous
    with pytest.raises(InputError, match="no such file") as caught:
        isolated(load_capture, tmp_path / "no.mat")
    assert caught.value.path == tmp_path / "no.mat" and caught.value.hint


def test_a_reader_that_was_killed_meanwhile_is_replaced(fragile, tmp_path):
    pid, _, _ = isolated(fragile.process, tmp_path)
    os.kill(pid, 9)
    isolation._READER.process.wait()
    assert isolated(fragile.process, tmp_path)[0] != pid
