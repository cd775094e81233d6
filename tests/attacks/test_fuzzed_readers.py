"""Readers on mutated files: only our own errors come out, and no reader crashes or hangs.

The reading is done in a process of its own, so that a crash of a C library is a failing example
here, not the end of the tests.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deqsci_cli.errors import DeqsciError
from deqsci_cli.io import describe, load_capture, read_film, read_mask, read_video, write_capture
from deqsci_cli.runtime import isolation
from deqsci_cli.runtime.isolation import isolated

SEEDS = ("a.mat", "a.h5", "a.tif", "v73.mat", "film.tif", "clip.gif", "picture.png", "lzw.tif",
         "fax.tif", "palette.tif", "cmyk.jpg")  # fmt: skip
READERS = (describe, read_film, read_mask, read_video)
# What sizes, counts and offsets are never expected to be.
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1,
            2**63, 2**64 - 1)  # fmt: skip


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    """A sound file of each kind, by its name."""
    import h5py
    import imageio.v3 as iio
    from PIL import Image

    folder = tmp_path_factory.mktemp("seeds")
    rng = np.random.default_rng(0)
    video = rng.integers(0, 256, (4, 9, 13), dtype=np.uint8)
    for name in SEEDS[:3]:
        write_capture(
            folder / name, measurements=video[:1] / 50, mask=video[:3] % 2, truth=video[:3] / 255,
            scale=255, provenance={"a": 1}, overwrite=False,
        )  # fmt: skip
    with h5py.File(folder / "v73.mat", "w", userblock_size=512) as file:
        file["meas"], file["mask"] = video[0].T, video[:3].transpose(0, 2, 1)
    with (folder / "v73.mat").open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    tifffile.imwrite(folder / "film.tif", video, imagej=True)
    iio.imwrite(folder / "clip.gif", video)
    iio.imwrite(folder / "picture.png", video[0])
    pages = [Image.fromarray(frame) for frame in video]
    for name, mode, compression in (
        ("lzw.tif", "L", "tiff_lzw"),
        ("fax.tif", "1", "group4"),
        ("palette.tif", "P", None),
    ):
        first, *others = [page.convert(mode) for page in pages]
        first.save(folder / name, save_all=True, append_images=others, compression=compression)
    pages[0].convert("CMYK").save(folder / "cmyk.jpg")
    return {name: (folder / name).read_bytes() for name in SEEDS}


@st.composite
def mutations(draw):
    """A seed, one to four changes (kind, places, bytes), and by what it is read besides."""
    place = st.floats(0, 1, exclude_max=True)
    value = st.one_of(
        st.binary(min_size=1, max_size=12),
        st.builds(
            lambda extreme, form: struct.pack(form, extreme % 2 ** (8 * struct.calcsize(form))),
            st.sampled_from(EXTREMES),
            st.sampled_from(["<H", ">H", "<I", ">I", "<Q", ">Q"]),
        ),
    )
    kinds = st.sampled_from(["overwrite", "overwrite", "insert", "delete", "splice", "swap"])
    change = st.tuples(kinds, place, place, st.booleans(), value)
    changes = draw(st.lists(change, min_size=1, max_size=4))
    return draw(st.sampled_from(SEEDS)), changes, draw(st.sampled_from(READERS))


def mutated(whole: bytes, others: bytes, changes) -> bytes:
    data = bytearray(whole)
    for kind, first, second, early, value in changes:
        # Half of the changes go where the headers are.
        reach = min(len(data), 600) if early else len(data)
        a, b = int(first * reach), int(second * reach)
        n = len(value)
        if kind == "overwrite":
            data[a : a + n] = value
        elif kind == "insert":
            data[a:a] = value
        elif kind == "delete":
            del data[a : a + n]
        elif kind == "splice":  # a piece of another kind of file
            data[a : a + 8 * n] = others[b : b + 8 * n]
        else:
            data[a : a + n], data[b : b + n] = data[b : b + n], data[a : a + n]
    return bytes(data)


@pytest.fixture(scope="module")
def reader():
    """The process that reads; no array may be larger than 100 MB, no file take 20 s."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEQSCI_MAX_BYTES", str(10**8))
        patch.setattr(isolation, "_SECONDS", 20.0)
        yield


def check(seeds, folder: Path, mutation) -> None:
    name, changes, another = mutation
    others = b"".join(seeds.values())
    path = folder / f"mutated{Path(name).suffix}"
    path.write_bytes(mutated(seeds[name], others, changes))
    for read in (load_capture, another):
        try:
            isolated(read, path)
        except DeqsciError as error:
            assert error.exit_code in (2, 3), error
            assert "crashed" not in error.message and "longer than" not in error.message, error
    status = Path(f"/proc/{isolation._READER.process.pid}/status")
    if status.exists():  # Linux tells the peak of its memory
        (peak,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        assert int(peak.split()[1]) < 600 * 1024, peak


def fuzz(examples: int):
    quiet = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(
        max_examples=examples, deadline=None, suppress_health_check=quiet, database=None,
        derandomize=examples < 1000,
    )  # fmt: skip


@fuzz(500)
@given(mutation=mutations())
def test_readers_of_mutated_files(seeds, reader, tmp_path_factory, mutation):
    check(seeds, tmp_path_factory.getbasetemp(), mutation)


@pytest.mark.soak
@fuzz(10_000)
@given(mutation=mutations())
def test_readers_of_many_mutated_files(seeds, reader, tmp_path_factory, mutation):
    check(seeds, tmp_path_factory.getbasetemp(), mutation)
