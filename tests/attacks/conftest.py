"""A MATLAB v7.3 file made by hand, to be spoilt."""

from __future__ import annotations

import h5py
import numpy as np
import pytest


@pytest.fixture
def v73():
    def write(path, variables):
        with h5py.File(path, "w", userblock_size=512) as file:
            for name, array in variables.items():
                dataset = file.create_dataset(name, data=array.T)
                dataset.attrs["MATLAB_class"] = np.bytes_("double")
        with path.open("r+b") as stream:
            stream.write(b"MATLAB 7.3 MAT-file, hand-made".ljust(124) + b"\x00\x02IM")

    return write
