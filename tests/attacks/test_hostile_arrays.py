"""Files that are damaged, lie, or reach for others: refused at once, with one clear error."""

from __future__ import annotations

import pickle
import resource
import struct
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse
import tifffile

from deqsci_cli.errors import DeqsciError, InputError
from deqsci_cli.io import describe, load_capture, read_film, write_capture, write_film

GIB = 1024**3

pytestmark = pytest.mark.usefixtures("ends")


@pytest.fixture(autouse=True)
def small():
    """No test here may allocate much beyond what is held."""
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc").exists() else 0
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2 * GIB, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def element(kind: int, data: bytes) -> bytes:
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def mat_variable(name, shape, data_tag, array_class=6, flags=0, data=b"") -> bytes:
    body = element(6, struct.pack("<II", array_class | flags, 0))
    body += element(5, struct.pack(f"<{len(shape)}i", *shape))
    body += element(1, name.encode())
    body += data_tag + data
    return struct.pack("<II", 14, len(body)) + body


def mat_file(path, *variables, compressed=False) -> Path:
    head = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    if compressed:
        packed = [zlib.compress(variable) for variable in variables]
        variables = [struct.pack("<II", 15, len(data)) + data for data in packed]
    path.write_bytes(head + b"".join(variables))
    return path


def sound(path: Path) -> Path:
    rng = np.random.default_rng(0)
    write_capture(
        path,
        measurements=rng.random((2, 11, 17)),
        mask=rng.integers(0, 2, (4, 11, 17)),
        truth=rng.random((8, 11, 17)),
        scale=255,
        provenance={"a": 1},
        overwrite=False,
    )
    return path


@pytest.mark.parametrize("suffix", [".mat", ".h5", ".tif"])
@pytest.mark.parametrize("part", [0, 0.001, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9])
def test_cut_off(tmp_path, suffix, part):
    whole = sound(tmp_path / f"a{suffix}").read_bytes()
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(InputError) as caught:
        load_capture(cut)
    assert caught.value.path == cut and caught.value.exit_code == 3


@pytest.mark.parametrize("kind", ["film", "imagej", "zlib", "ome", "pages"])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_a_tiff_cut_off_never_passes_for_a_shorter_film(tmp_path, kind, part):
    video = np.random.default_rng(0).integers(0, 255, (9, 50, 70)).astype(np.uint8)
    path = tmp_path / "a.tif"
    if kind == "film":
        write_film(path, video / 255, scale=255, provenance={}, overwrite=False)
    elif kind == "pages":
        with tifffile.TiffWriter(path) as writer:
            for frame in video:
                writer.write(frame, metadata=None, contiguous=False)
    else:
        options = {"imagej": {"imagej": True}, "ome": {"ome": True}, "zlib": {}}[kind]
        compression = "zlib" if kind == "zlib" else None
        tifffile.imwrite(path, video, photometric="minisblack", compression=compression, **options)
    assert len(read_film(path).frames) == 9
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(InputError):
        read_film(path)


@pytest.mark.parametrize("suffix", [".mat", ".tif"])
def test_flipped_bytes_never_leak_another_exception(tmp_path, suffix):
    whole = sound(tmp_path / f"a{suffix}").read_bytes()
    rng = np.random.default_rng(7)
    path = tmp_path / f"b{suffix}"
    for _ in range(150):
        damaged = bytearray(whole)
        # Half of the damage goes where the headers are.
        reach = len(whole) if rng.integers(2) else min(len(whole), 600)
        for position in rng.integers(0, reach, 3):
            damaged[position] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            load_capture(path)
        except DeqsciError as error:
            assert error.exit_code in (2, 3)


@pytest.mark.parametrize("name", ["a.mat", "a.h5", "a.tif", "a.mp4"])
@pytest.mark.parametrize(
    "content", [b"", b"just text\n" * 99, pickle.dumps(np.ones(500)), b"MATLAB 5.0 MAT-file"]
)
def test_something_else_under_a_good_name(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    for read in (load_capture, describe, read_film):
        with pytest.raises(InputError):
            read(tmp_path / name)


def test_missing_and_special_files(tmp_path):
    for path in (tmp_path / "no.mat", tmp_path, Path("/dev/zero")):
        with pytest.raises(InputError):
            load_capture(path)


class TestMatlab:
    @pytest.mark.parametrize("compressed", [True, False])
    @pytest.mark.parametrize("shape", [(10**6, 10**6), (2**31 - 1, 2**31 - 1, 8), (-5, 5)])
    def test_claims_far_too_much(self, tmp_path, compressed, shape):
        variable = mat_variable("meas", shape, struct.pack("<II", 9, 2**32 - 8), data=bytes(64))
        path = mat_file(tmp_path / "a.mat", variable, compressed=compressed)
        with pytest.raises(InputError, match=r"meas.*(limit|impossible)"):
            load_capture(path)

    def test_claims_more_than_it_holds(self, tmp_path):
        variable = mat_variable("meas", (100, 100), struct.pack("<II", 9, 64), data=bytes(64))
        with pytest.raises(InputError, match="holds 8 values"):
            load_capture(mat_file(tmp_path / "a.mat", variable))

    def test_bomb_of_zeros(self, tmp_path, monkeypatch):
        monkeypatch.setenv("DEQSCI_MAX_BYTES", str(10**6))
        scipy.io.savemat(tmp_path / "a.mat", {"meas": np.zeros((4000, 4000))}, do_compression=True)
        assert (tmp_path / "a.mat").stat().st_size < 200_000
        with pytest.raises(InputError, match="limit"):
            load_capture(tmp_path / "a.mat", mask=tmp_path / "a.mat", mask_key="meas")

    def test_text_that_unpacks_to_more_than_it_says(self, tmp_path):
        size = 300_000_000
        tag = struct.pack("<II", 16, size)
        text = mat_variable("provenance", (1, 3), tag, array_class=4)
        packer = zlib.compressobj(1)
        data = packer.compress(text)
        data += b"".join(packer.compress(bytes(10**7)) for _ in range(size // 10**7))
        data += packer.flush()
        path = tmp_path / "a.mat"
        mat_file(path, struct.pack("<II", 15, len(data)) + data)
        summary = describe(path)
        assert summary.provenance is None and summary.arrays[0].note == "damaged text"

    @pytest.mark.parametrize(
        ("value", "word"),
        [
            (np.array([[np.ones((3, 4)), "a"]], dtype=object), "cell"),
            ({"field": np.ones((3, 4))}, "struct"),
            (scipy.sparse.csc_matrix(np.eye(5)), "sparse"),
            (np.ones((5, 7)) * 1j, "complex"),
            (np.ones((0, 7)), "empty"),
        ],
    )
    def test_what_is_no_array_of_real_numbers(self, tmp_path, value, word):
        scipy.io.savemat(tmp_path / "a.mat", {"meas": value, "mask": np.ones((5, 7, 2))})
        with pytest.raises(InputError, match=f"'meas'.*{word}"):
            load_capture(tmp_path / "a.mat")

    def test_matlab_4(self, tmp_path):
        scipy.io.savemat(tmp_path / "a.mat", {"meas": np.ones((5, 7))}, format="4")
        with pytest.raises(InputError, match=r"MATLAB 5\.0 or 7\.3"):
            load_capture(tmp_path / "a.mat")


class TestHdf5:
    def write(self, path, **more):
        with h5py.File(path, "w") as file:
            file["mask"] = np.ones((4, 11, 17))
            file["outside"] = np.ones((11, 17))
        return path

    def test_links_and_storage_elsewhere_are_refused(self, tmp_path):
        secret = self.write(tmp_path / "secret.h5")
        (tmp_path / "raw.bin").write_bytes(np.ones((11, 17)).tobytes())
        for kind in ("external link", "soft link", "external storage", "virtual", "soft outside"):
            path = self.write(tmp_path / f"{kind}.h5")
            with h5py.File(path, "a") as file:
                del file["outside"]
                if kind == "external link":
                    file["meas"] = h5py.ExternalLink(str(secret), "outside")
                elif kind == "soft link":
                    file["real"] = np.ones((11, 17))
                    file["meas"] = h5py.SoftLink("/real")
                elif kind == "soft outside":
                    file["door"] = h5py.ExternalLink(str(secret), "/")
                    file["meas"] = h5py.SoftLink("/door/outside")
                elif kind == "external storage":
                    file.create_dataset(
                        "meas", (11, 17), "f8", external=[(str(tmp_path / "raw.bin"), 0, 1496)]
                    )
                else:
                    layout = h5py.VirtualLayout((11, 17), "f8")
                    layout[...] = h5py.VirtualSource(str(secret), "outside", (11, 17))
                    file.create_virtual_dataset("meas", layout)
            with pytest.raises(InputError, match=r"'meas' is .*never followed"):
                load_capture(path)
            with pytest.raises(InputError, match="never followed"):
                load_capture(path, measurement_key="meas")

    def test_a_key_that_walks_through_a_link(self, tmp_path):
        secret = self.write(tmp_path / "secret.h5")
        path = self.write(tmp_path / "a.h5")
        with h5py.File(path, "a") as file:
            file["door"] = h5py.ExternalLink(str(secret), "/")
        with pytest.raises(InputError, match="no array"):
            load_capture(path, measurement_key="door/outside")

    def test_huge_shape_without_data(self, tmp_path):
        path = self.write(tmp_path / "a.h5")
        with h5py.File(path, "a") as file:
            file.create_dataset("meas", (10**6, 10**6), "f8", chunks=(100, 100))
        with pytest.raises(InputError, match="limit"):
            load_capture(path)

    def test_huge_chunk_behind_a_small_shape(self, tmp_path, monkeypatch):
        path = self.write(tmp_path / "a.h5")
        with h5py.File(path, "a") as file:
            file.create_dataset(
                "meas", (11, 17), "f8", chunks=(5000, 5000), maxshape=(None, None), shuffle=True
            )
        monkeypatch.setenv("DEQSCI_MAX_BYTES", str(10**7))
        with pytest.raises(InputError, match="chunk"):
            load_capture(path)

    def test_groups_in_a_circle(self, tmp_path):
        path = self.write(tmp_path / "a.h5")
        with h5py.File(path, "a") as file:
            file.create_group("g")
            file["g/again"] = file["g"]
            file["g/and"] = file["g"]
        with pytest.raises(InputError, match="nested"):
            load_capture(path)

    def test_types_that_are_no_numbers(self, tmp_path):
        for index, value in enumerate(
            [
                np.ones((11, 17)) * 1j,
                np.zeros((11, 17), [("a", "f4"), ("b", "i2")]),
                np.full((11, 17), b"text"),
            ]
        ):
            path = self.write(tmp_path / f"{index}.h5")
            with h5py.File(path, "a") as file:
                file["meas"] = value
            with pytest.raises(InputError, match="'meas'"):
                load_capture(path, measurement_key="meas")

    @pytest.mark.parametrize("matlab_class", ["cell", "struct", "function_handle", "char"])
    def test_matlab_73_classes(self, tmp_path, v73, matlab_class):
        path = tmp_path / "a.mat"
        v73(path, {"meas": np.ones((11, 17)), "mask": np.ones((11, 17, 4))})
        with h5py.File(path, "a") as file:
            file["meas"].attrs["MATLAB_class"] = np.bytes_(matlab_class)
        with pytest.raises(InputError, match="meas"):
            load_capture(path, measurement_key="meas")


class TestTiff:
    def ifd(self, path, entries):
        body = struct.pack("<H", len(entries))
        for tag, kind, value in entries:
            body += struct.pack("<HHII", tag, kind, 1, value)
        path.write_bytes(b"II*\0" + struct.pack("<I", 8) + body + bytes(4) + bytes(64))
        return path

    def test_huge_picture(self, tmp_path):
        entries = [(256, 4, 10**6), (257, 4, 10**6), (258, 3, 8), (259, 3, 1), (262, 3, 1)]
        entries += [(273, 4, 8), (277, 3, 1), (278, 4, 10**6), (279, 4, 2**32 - 1)]
        path = self.ifd(tmp_path / "a.tif", entries)
        for read in (read_film, lambda p: load_capture(p, mask=p)):
            with pytest.raises(InputError, match="limit"):
                read(path)

    def test_huge_tile_of_a_small_picture(self, tmp_path):
        entries = [(256, 4, 8), (257, 4, 8), (258, 3, 8), (259, 3, 8), (262, 3, 1), (277, 3, 1)]
        entries += [(322, 4, 2**20), (323, 4, 2**20), (324, 4, 8), (325, 4, 64)]
        with pytest.raises(InputError, match="tile"):
            read_film(self.ifd(tmp_path / "a.tif", entries))

    def test_pages_in_a_circle(self, tmp_path):
        tifffile.imwrite(tmp_path / "a.tif", np.ones((11, 17), np.uint8), metadata=None)
        data = bytearray((tmp_path / "a.tif").read_bytes())
        (offset,) = struct.unpack_from("<I", data, 4)
        (count,) = struct.unpack_from("<H", data, offset)
        struct.pack_into("<I", data, offset + 2 + 12 * count, offset)
        (tmp_path / "a.tif").write_bytes(data)
        with pytest.raises(InputError, match="circular"):
            read_film(tmp_path / "a.tif")

    def test_ome_that_names_another_file(self, tmp_path):
        other = tmp_path / "other.tif"
        tifffile.imwrite(other, np.full((3, 11, 17), 9, np.uint8), ome=True)
        tifffile.imwrite(tmp_path / "a.tif", np.ones((3, 11, 17), np.uint8), ome=True)
        text = (tmp_path / "a.tif").read_bytes()
        start, end = text.index(b"<?xml"), text.index(b"</OME>") + 6
        xml = text[start:end].replace(
            b'<TiffData IFD="0" PlaneCount="3"/>',
            b'<TiffData IFD="0" PlaneCount="3"><UUID FileName="other.tif">urn:uuid:1</UUID>'
            b"</TiffData>",
        )
        assert b"other.tif" in xml
        tifffile.imwrite(
            tmp_path / "b.tif",
            np.ones((3, 11, 17), np.uint8),
            description=xml.decode(),
            metadata=None,
            photometric="minisblack",
        )
        assert read_film(tmp_path / "b.tif").frames.max() == np.float32(1 / 255)

    def test_colour_is_no_measurement(self, tmp_path):
        tifffile.imwrite(tmp_path / "a.tif", np.ones((11, 17, 3), np.uint8), photometric="rgb")
        with pytest.raises(InputError, match="measurement"):
            load_capture(tmp_path / "a.tif", mask=tmp_path / "a.tif")

    @pytest.mark.parametrize("name", [None, "video"])
    def test_complex(self, tmp_path, name):
        values, path = np.ones((4, 11, 17), np.complex64), tmp_path / "a.tif"
        metadata = {"name": name} if name else None
        with tifffile.TiffWriter(path) as file:
            file.write(values, photometric="minisblack", metadata=metadata)
        for read in (read_film, lambda path: load_capture(path, mask=path)):
            with pytest.raises(InputError, match="of type complex64"):
                read(path)
        # The same pages of real numbers are read: nothing else is wrong with the file.
        with tifffile.TiffWriter(path) as file:
            file.write(values.real, photometric="minisblack", metadata=metadata)
        assert read_film(path).frames.shape == values.shape
