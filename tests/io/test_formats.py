"""The table of formats: told by content, whoever wrote the file; every ending has one writer."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from PIL import Image

from deqsci_cli.errors import UsageError
from deqsci_cli.io import hdf5, mat, tiff
from deqsci_cli.io.axes import centre_crop
from deqsci_cli.io.formats import FORMATS, SUFFIXES, format_for, sniff

FILM = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)


def by_scipy(path: Path) -> None:
    scipy.io.savemat(path, {"a": FILM}, appendmat=False)


def by_h5py(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["a"] = FILM


def by_matlab(path: Path) -> None:
    with h5py.File(path, "w", userblock_size=512) as file:
        file["a"] = FILM
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file".ljust(128))


def by_pillow(path: Path) -> None:
    Image.fromarray(FILM[0]).save(path, format="TIFF")


@pytest.mark.parametrize(
    ("write", "expected"),
    [(by_scipy, mat.FORMAT), (by_h5py, hdf5.FORMAT), (by_matlab, hdf5.FORMAT),
     (by_pillow, tiff.FORMAT), (lambda path: path.write_bytes(b"RIFF" * 2000), None),
     (lambda path: path.write_bytes(b""), None)],
)  # fmt: skip
def test_a_format_is_told_by_its_content(tmp_path, write, expected):
    path = tmp_path / "misnamed.png"
    write(path)
    assert sniff(path) is expected


def test_every_ending_has_one_format():
    assert len(set(SUFFIXES)) == len(SUFFIXES)
    for form in FORMATS:
        assert all(format_for(Path("a" + s.upper())) is form for s in form.suffixes)
    with pytest.raises(UsageError, match=r"\.npy is no format") as told:
        format_for(Path("a.npy"))
    assert all(suffix in str(told.value) for suffix in SUFFIXES)


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.suffixes[0])
def test_a_written_stack_is_of_its_format(tmp_path, form):
    path = tmp_path / f"a{form.suffixes[0]}"
    for write in filter(None, (form.write, form.write_film)):
        write(path, {"video": FILM}, {"scale": 1.0, "provenance": "{}"})
        assert sniff(path) is form


@pytest.mark.parametrize(("side", "expected"), [(2, (3, 2, 2)), (9, (3, 4, 5)), (None, (3, 4, 5))])
def test_the_centre(side, expected):
    crop = centre_crop(FILM, side)
    assert crop.shape == expected
    if side == 2:  # one row above and one below; of five columns one to the left, two to the right
        np.testing.assert_array_equal(crop, FILM[:, 1:3, 1:3])
