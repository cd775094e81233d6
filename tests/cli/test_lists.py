"""Lists of paths as other programs write them: a name is the bytes that the system knows it by."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deqsci_cli.cli.inputs import expand
from deqsci_cli.errors import InputError

NAMES = ["one.mat", "dreißig 雪.mat", " with spaces .mat", "a\u2028b\x85c\x0bd.mat", "e\x1cf.mat"]
if sys.platform == "linux":
    NAMES.append(os.fsdecode(b"lat\xe9.mat"))


@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["unix", "dos"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "marked"])
def test_the_names_of_a_list(tmp_path, mark, end):
    lines = [os.fsencode(name) for name in NAMES]
    for last in (end, b"", end + end):
        (tmp_path / "list.txt").write_bytes(mark + end.join(lines) + last)
        assert expand([f"@{tmp_path / 'list.txt'}"]).paths == tuple(map(Path, NAMES))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_list_in_another_encoding(tmp_path, encoding, mark):
    """As the redirection of older PowerShells writes it."""
    (tmp_path / "list.txt").write_bytes(f"{mark}one.mat\r\ntwo.mat\r\n".encode(encoding))
    with pytest.raises(InputError) as told:
        expand([f"@{tmp_path / 'list.txt'}"])
    assert "UTF-8" in told.value.hint


def test_names_between_zeros_are_told_apart(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"one.mat\0two.mat\0")  # of `find -print0`
    with pytest.raises(InputError, match="no list of paths") as told:
        expand([f"@{tmp_path / 'list.txt'}"])
    assert "one path a line" in told.value.hint


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere all names are UTF-8")
@pytest.mark.parametrize("way", ["stdin", "list"])
def test_films_of_names_in_any_bytes(capture, tmp_path, environment, way):
    """Whatever encoding the standard streams have been given."""
    for name in NAMES:
        shutil.copy(capture, tmp_path / name)
    data = b"\xef\xbb\xbf" + b"\n".join(map(os.fsencode, NAMES))
    (tmp_path / "list.txt").write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-m", "deqsci_cli", "reconstruct", "-" if way == "stdin" else "@list.txt",
         "-o", "o", "--model", "gap-tv", "--max-iter", "1", "--preview", "none"],
        input=data, cwd=tmp_path, capture_output=True, timeout=120,
        env=environment | {"PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert done.returncode == 0 and b"Traceback" not in done.stderr, done.stderr
    made = {path.stem.removesuffix("_0") for path in (tmp_path / "o").glob("*_0.tif")}
    assert made == {Path(name).stem for name in NAMES}
