"""Whole or not at all, whatever goes wrong."""

from __future__ import annotations

import errno
import os
import resource
import stat
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from deqsci_cli.errors import InputError, OutputExistsError, StorageError, UsageError
from deqsci_cli.io import (
    atomic,
    atomic_write,
    check_absent,
    check_budget,
    fingerprint,
    make_provenance,
    write_capture,
    write_film,
    write_preview,
)
from deqsci_cli.io.limits import byte_budget
from deqsci_cli.io.provenance import to_json


def test_written_at_the_end_only(tmp_path):
    target = tmp_path / "deep" / "a.tif"
    with atomic_write(target, overwrite=False) as temporary:
        assert temporary.parent == target.parent and temporary.suffix == ".tif"
        temporary.write_bytes(b"whole")
        assert not target.exists()
    assert target.read_bytes() == b"whole"
    assert list(target.parent.iterdir()) == [target]
    # readable by others as any new file is, not private like a temporary one
    plain = tmp_path / "plain"
    plain.touch()
    assert target.stat().st_mode == plain.stat().st_mode


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("existing", [True, False])
def test_failure_leaves_nothing_new(tmp_path, error, existing):
    target = tmp_path / "a.bin"
    if existing:
        target.write_bytes(b"old")
    with pytest.raises(error), atomic_write(target, overwrite=True) as temporary:
        temporary.write_bytes(b"half")
        raise error
    assert [p.name for p in tmp_path.iterdir()] == (["a.bin"] if existing else [])
    if existing:
        assert target.read_bytes() == b"old"


def test_refuses_before_the_block(tmp_path):
    target = tmp_path / "a"
    target.write_bytes(b"old")
    with pytest.raises(OutputExistsError), atomic_write(target, overwrite=False):
        raise AssertionError("never reached")
    with pytest.raises(OutputExistsError, match="overwrite"):
        check_absent([tmp_path / "b", target], overwrite=False)
    check_absent([target], overwrite=True)
    check_absent([tmp_path / "b"], overwrite=False)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputExistsError):
        check_absent([tmp_path / "dangling"], overwrite=False)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_full_disk_at_the_last_moment(tmp_path, monkeypatch, call):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(*((os, "fsync") if call == "fsync" else (Path, "replace")), full)
    target = tmp_path / "a"
    target.write_bytes(b"old")
    with (
        pytest.raises(StorageError, match="No space left") as caught,
        atomic_write(target, overwrite=True) as temporary,
    ):
        temporary.write_bytes(b"new")
    assert caught.value.exit_code == 4 and caught.value.path == target
    assert target.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_without_fsync(tmp_path, monkeypatch, caplog, code):
    """Every file is written all the same; that a loss of power may take it is told once."""

    def unknown(_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", unknown)
    atomic._tell_not_durable.cache_clear()
    for name in "abc":
        for text in ("old", "new"):
            with atomic_write(tmp_path / name, overwrite=True) as temporary:
                temporary.write_text(text)
        assert (tmp_path / name).read_text() == "new"
    assert len(list(tmp_path.iterdir())) == 3
    (told,) = caplog.records
    assert told.levelname == "WARNING" and os.strerror(code) in told.getMessage()


@pytest.mark.parametrize("folder", [True, False])
def test_a_disk_that_fails(tmp_path, monkeypatch, folder):
    """Neither the file's own data nor its entry in the folder may be lost without a word."""

    def broken(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode) == folder:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", broken)
    with (
        pytest.raises(StorageError, match="Input/output error"),
        atomic_write(tmp_path / "a", overwrite=True) as temporary,
    ):
        temporary.write_text("new")


def test_parent_that_is_a_file(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(StorageError),
        atomic_write(tmp_path / "file" / "a", overwrite=False),
    ):
        pass


def test_onto_a_folder(tmp_path):
    (tmp_path / "folder").mkdir()
    with (
        pytest.raises(StorageError),
        atomic_write(tmp_path / "folder", overwrite=True) as temporary,
    ):
        temporary.touch()
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


@contextmanager
def tiny_files():
    """The system refuses files over 2000 bytes in mid-writing, as a full disk would.

    Within the block alone: the test runner's own output may go to a file as well.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("name", ["a.mat", "a.h5", "a.tif", "p.gif", "p.png", "p.mp4", "c.h5"])
def test_every_writer_on_a_disk_that_fills_up(tmp_path, name):
    if name == "p.mp4":
        pytest.importorskip("av")
    frames = np.random.default_rng(0).random((6, 64, 80))
    path = tmp_path / name
    with pytest.raises(StorageError), tiny_files():
        if name[0] == "a":
            write_film(path, frames, scale=255, provenance={}, overwrite=False)
        elif name[0] == "p":
            write_preview(path, frames, overwrite=False)
        else:
            write_capture(
                path, measurements=frames, mask=frames, scale=1, provenance={}, overwrite=False
            )
    assert not list(tmp_path.iterdir())


def test_budget(monkeypatch):
    check_budget((10, 10), 4, path="x", what="a", budget=400)
    with pytest.raises(InputError, match=r"404 bytes.*400 bytes.*DEQSCI_MAX_BYTES"):
        check_budget((101,), 4, path="x", what="a", budget=400)
    with pytest.raises(InputError, match="impossible"):
        check_budget((-1, -1), 4, path="x", what="a")
    with pytest.raises(InputError, match="PiB"):
        check_budget((10**9, 10**9), 4, path="x", what="a")
    monkeypatch.setenv("DEQSCI_MAX_BYTES", "99")
    with pytest.raises(InputError):
        check_budget((100,), 1, path="x", what="a")
    for text in ("", "4G", "-1", "0"):
        monkeypatch.setenv("DEQSCI_MAX_BYTES", text)
        with pytest.raises(UsageError, match="DEQSCI_MAX_BYTES"):
            byte_budget()


def test_provenance(tmp_path):
    import getpass
    import hashlib
    import json

    (tmp_path / "in.bin").write_bytes(b"abc" * 1000)
    config = {"out": tmp_path, "tol": np.float32(0.5), "shape": (3, 4), "bad": float("inf")}
    record = make_provenance(
        "reconstruct",
        config,
        seed=3,
        model=None,
        inputs=[fingerprint(tmp_path / "in.bin")],
        device="cpu",
    )
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert to_json(record).isascii() and "\n" not in to_json(record)
    assert record["inputs"][0]["sha256"] == hashlib.sha256(b"abc" * 1000).hexdigest()
    assert record["inputs"][0]["bytes"] == 3000
    assert record["config"] == {"out": str(tmp_path), "tol": 0.5, "shape": [3, 4], "bad": None}
    assert record["seed"] == 3
    about = {key: value for key, value in record.items() if key not in ("inputs", "config")}
    user = getpass.getuser()
    assert user not in json.dumps(about) or user in "linux cpu python"
    with pytest.raises(InputError):
        fingerprint(tmp_path / "no")
