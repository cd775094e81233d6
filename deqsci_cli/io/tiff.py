"""TIFF files; the only module that knows tifffile."""

from __future__ import annotations

import json
import logging
import math
import re
import struct
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from io import BufferedReader
from pathlib import Path
from typing import Any
from xml.sax.saxutils import unescape

import numpy as np
import tifffile

from deqsci_cli.errors import InputError
from deqsci_cli.io.container import Container, Entry
from deqsci_cli.io.file_version import FileStamp
from deqsci_cli.io.format import Format
from deqsci_cli.io.greys import Greys, greys
from deqsci_cli.io.libtiff import unpack
from deqsci_cli.io.limits import check_budget
from deqsci_cli.io.read_errors import input_errors

# ImageJ's own format counts offsets in 32 bits; past this (a margin is left) it becomes OME-TIFF.
LARGEST_IMAGEJ = 2**32 - 2**25
_MOST_PAGES = 50_000
_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PHOTOMETRIC = 262
_AGAIN = "the file is damaged; copy or export it again"
# tifffile logs about odd files; without a handler Python would print that to stderr.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


class _Complaints(logging.Handler):
    """Collects what tifffile, instead of raising, logs about the structure of a damaged file."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.thread = threading.get_ident()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        # A single tag that makes no sense (cameras write such) costs no pictures.
        if record.thread == self.thread and not text.startswith("<TiffTag"):
            self.texts.append(text)


def _check_pages(file: BufferedReader, path: Path) -> None:
    """Walk the chain of pages, as tifffile does without an end.

    Raises:
        InputError: it is circular, or longer than any film.
    """
    file.seek(0)
    head = file.read(16)
    order = "<" if head[:2] == b"II" else ">"
    big = head[2:4] in (b"+\0", b"\0+")
    count, link, tag = ("Q", "Q", 20) if big else ("H", "I", 12)
    place = 8 if big else 4
    seen: set[int] = set()
    while len(word := head[place:] if not seen else file.read(struct.calcsize(link))) >= (
        struct.calcsize(link)
    ):
        (offset,) = struct.unpack_from(order + link, word)
        if offset == 0:
            return
        if offset in seen or len(seen) >= _MOST_PAGES:
            what = "is circular" if offset in seen else f"has more than {_MOST_PAGES:,}"
            raise InputError(f"the chain of its pages {what}", path=path, hint=_AGAIN)
        seen.add(offset)
        file.seek(offset)
        tags = file.read(struct.calcsize(count))
        if len(tags) < struct.calcsize(count):
            return  # cut off, which tifffile tells
        file.seek(offset + len(tags) + tag * struct.unpack(order + count, tags)[0])


@contextmanager
def _open(stream: BufferedReader, path: Path) -> Iterator[tifffile.TiffFile]:
    _check_pages(stream, path)
    stream.seek(0)
    complaints = _Complaints()
    logger = logging.getLogger("tifffile")
    logger.addHandler(complaints)
    try:
        # OME and Micro-Manager metadata may name further files to be read; pages alone never do.
        with tifffile.TiffFile(
            stream,
            _multifile=False,
            is_ome=False,
            is_mmstack=False,
            is_ndtiff=False,
            is_scanimage=False,
        ) as file:
            yield file
    finally:
        logger.removeHandler(complaints)
    # A file that was cut off would otherwise pass for a shorter film.
    if complaints.texts:
        raise ValueError(complaints.texts[0])


def describe_tiff(stream: BufferedReader, stamp: FileStamp) -> Container:
    """Describe a TIFF: each series is an array (T, H, W) or (H, W); colour is told as a problem.

    Raises:
        InputError: for a damaged file.
    """
    path = stamp.path
    with input_errors(path, "TIFF file"), _open(stream, path) as file:
        entries: dict[str, Entry] = {}
        for index, series in enumerate(file.series):
            entry = _entry(series, index)
            # Two series of one name: the later one is told by its number.
            name = entry.name if entry.name not in entries else f"series{index}"
            entries[name] = replace(entry, name=name)
        order = list(entries)
        attributes = _attributes(file)

    def load(key: str) -> np.ndarray:
        return _load(stream, path, order.index(key))

    return Container(stream, stamp, "TIFF", entries, load, attributes)


def _entry(series: tifffile.TiffPageSeries, index: int) -> Entry:
    name = series.name if series.kind == "shaped" and series.name else f"series{index}"
    # The shape as written is kept even where an axis has length 1.
    shape = tuple(series.get_shape(False)) if series.kind == "shaped" else tuple(series.shape)
    meaning = _greys(series)
    problem = meaning.problem
    if series.axes.endswith("S") and shape[-1:] != (1,):
        problem = "a colour image"
    elif series.dtype is None or series.dtype.kind not in "fiub":
        problem = f"of type {series.dtype}"
    axes = {2: "HW", 3: "THW"}.get(len(shape))
    recorded = _shaped(series).get("axes")
    known = series.kind == "imagej"
    if isinstance(recorded, str) and recorded in ("TYX", "YX"):
        axes = recorded.replace("Y", "H").replace("X", "W")
        known = True
    return Entry(name, shape, str(meaning.dtype), axes, problem, assumed=not known)


def _greys(series: tifffile.TiffPageSeries) -> Greys:
    """What the values of a series mean."""
    page = series.keyframe
    dtype = np.dtype(series.dtype)
    # ImageJ's tables are for the screen, its values are meant as they are. So are tifffile's own
    # bilevel arrays, for which it says that white is 0 unless it is told otherwise.
    by_tifffile = page.is_shaped or page.software.startswith("tifffile")
    if page.is_imagej or (by_tifffile and dtype.kind == "b") or _PHOTOMETRIC not in page.tags:
        return Greys(dtype)
    palettes = [page.colormap]
    if page.photometric == tifffile.PHOTOMETRIC.PALETTE:
        palettes += [other.aspage().colormap for other in series if other is not None]
    bits = page.bitspersample
    return greys(page.photometric, bits if isinstance(bits, int) else 0, dtype, palettes)


def _shaped(series: tifffile.TiffPageSeries) -> dict[str, Any]:
    """The JSON that tifffile's own writer keeps in a series' description."""
    if series.kind != "shaped":
        return {}
    try:
        value = json.loads(series.keyframe.description)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _attributes(file: tifffile.TiffFile) -> dict[str, Any]:
    if file.imagej_metadata:
        record = file.imagej_metadata
        pairs = {"scale": record.get("deqsci_scale"), "provenance": record.get("Info")}
    elif file.series and (record := _shaped(file.series[0])):
        pairs = {"scale": record.get("scale"), "provenance": record.get("provenance")}
    else:
        pairs = _ome_attributes(file.pages.first.description)
    return {name: value for name, value in pairs.items() if value is not None}


def _ome_attributes(description: str) -> dict[str, Any]:
    # Our own OME files alone: one Description element that holds JSON; no XML parser is let loose.
    found = re.search(r"<Description>(\{.*?\})</Description>", description, re.DOTALL)
    if found is None:
        return {}
    try:
        record = json.loads(unescape(found[1], {"&quot;": '"', "&apos;": "'"}))
    except (ValueError, RecursionError):
        return {}
    return {"scale": record.get("scale"), "provenance": record.get("provenance")}


def _load(stream: BufferedReader, path: Path, index: int) -> np.ndarray:
    with input_errors(path, "TIFF file"), _open(stream, path) as file:
        series = file.series[index]
        page = series.keyframe
        if page.is_tiled and page.dtype is not None:
            # A tile is unpacked whole, however small the picture.
            check_budget(
                (page.tilelength, page.tilewidth, page.samplesperpixel),
                page.dtype.itemsize,
                path=path,
                what="a tile",
            )
        array = _stored(stream, path, series).reshape(_entry(series, index).shape)
        return _greys(series).of(array)


def _stored(stream: BufferedReader, path: Path, series: tifffile.TiffPageSeries) -> np.ndarray:
    """The values of a series as stored, unpacked by tifffile or, where it cannot, by Pillow."""
    page = series.keyframe
    try:
        return np.asarray(series.asarray(maxworkers=1))
    except (ValueError, NotImplementedError) as error:
        # Most compressions are in a package of their own, which is not asked of everybody. (Not all
        # versions of tifffile name it.)
        if not any(words in str(error) for words in ("imagecodecs", "not supported")):
            raise
    compression = getattr(page.compression, "name", page.compression)
    numbers = [other.index for other in series if other is not None]
    return unpack(
        stream,
        path,
        numbers,
        page.shape,
        np.dtype(page.dtype),
        bits=page.bitspersample,
        how=f"compression {compression}, {page.bitspersample} bits",
    )


def write_arrays(
    path: Path, arrays: Mapping[str, np.ndarray], attributes: Mapping[str, Any]
) -> None:
    """Write named stacks (T, H, W) as the series of one TIFF; other programs see its pages.

    `attributes` (numbers, strings) travel in the first series' description.
    """
    big = sum(array.nbytes for array in arrays.values()) > LARGEST_IMAGEJ
    with tifffile.TiffWriter(path, bigtiff=big) as writer:
        extra = dict(attributes)
        for name, array in arrays.items():
            writer.write(
                array,
                photometric="minisblack",
                compression="zlib",
                metadata={"axes": "TYX", "name": name, **extra},
            )
            extra = {}


def write_film_tiff(
    path: Path, stacks: Mapping[str, np.ndarray], attributes: Mapping[str, Any]
) -> None:
    """Write one stack (T, H, W) as `write_film_parts` does."""
    (frames,) = stacks.values()
    write_film_parts(path, [np.asarray(frames, np.float32)], frames.shape, attributes)


def write_film_parts(
    path: Path,
    parts: Iterable[np.ndarray],
    shape: tuple[int, ...],
    attributes: Mapping[str, Any],
) -> None:
    """Write a film (T, H, W) so that Fiji opens it as time, shown from 0 to its `scale`.

    ImageJ hyperstack up to 4 GB, OME-BigTIFF past it. The parts are float32, and one at a time is
    held.
    """
    frames = (frame for part in parts for frame in part)
    scale, provenance = attributes["scale"], attributes["provenance"]
    if 4 * math.prod(shape) <= LARGEST_IMAGEJ:
        tifffile.imwrite(
            path,
            frames,
            shape=shape,
            dtype=np.float32,
            imagej=True,
            metadata={
                "axes": "TYX",
                "min": 0.0,
                "max": scale,
                "Ranges": (0.0, scale),
                "deqsci_scale": scale,
                "Info": provenance,
            },
        )
        return
    record = json.dumps({"scale": scale, "provenance": provenance})
    tifffile.imwrite(
        path,
        frames,
        shape=shape,
        dtype=np.float32,
        ome=True,
        bigtiff=True,
        photometric="minisblack",
        metadata={"axes": "TYX", "Name": "video", "Description": record},
    )


FORMAT = Format(
    suffixes=(".tif", ".tiff"),
    sniff=lambda head: head[:4] in _MAGICS,
    describe=describe_tiff,
    write=write_arrays,
    write_film=write_film_tiff,
    write_parts=write_film_parts,
)
