"""Captures made by hand, so that what is read can be compared with what was meant."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


@dataclass(frozen=True)
class Scene:
    """An 8-bit film, a 0/1 mask and their measurements, all (·, H, W); H, W and T all differ."""

    video: np.ndarray
    mask: np.ndarray
    meas: np.ndarray


@pytest.fixture
def scene() -> Scene:
    rng = np.random.default_rng(5)
    video = rng.integers(0, 256, (8, 11, 17), dtype=np.uint8)
    video[0, 0, 0] = 255
    mask = rng.integers(0, 2, (4, 11, 17), dtype=np.uint8)
    coded = video.reshape(2, 4, 11, 17).astype(np.int64) * mask
    return Scene(video, mask, coded.sum(axis=1).astype(np.uint16))


def shared(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{path} is not here")
    return path


@pytest.fixture
def shared_data():
    return shared


def write_v73(path: Path, variables: dict[str, np.ndarray | str]) -> None:
    """A MATLAB v7.3 file: HDF5 behind 512 bytes, axes reversed, classes as attributes."""
    classes = {"f8": "double", "f4": "single", "u1": "uint8", "u2": "uint16"}
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in variables.items():
            if isinstance(array, str):  # letters are a row of UTF-16 codes
                letters = np.frombuffer(array.encode("utf-16-le"), "<u2")[:, None]
                file.create_dataset(name, data=letters).attrs["MATLAB_class"] = np.bytes_("char")
                file[name].attrs["MATLAB_int_decode"] = np.int32(2)
                continue
            stored = array
            # MATLAB drops trailing axes of length 1 before it reverses the order.
            while stored.ndim > 2 and stored.shape[-1] == 1:
                stored = stored[..., 0]
            dataset = file.create_dataset(name, data=stored.T, compression="gzip")
            dataset.attrs["MATLAB_class"] = np.bytes_(classes[array.dtype.str[1:]])
    head = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Mon Jan  1 00:00:00 2024 HDF5"
    with path.open("r+b") as stream:
        stream.write(head.ljust(124) + b"\x00\x02IM")


@pytest.fixture
def v73():
    return write_v73
