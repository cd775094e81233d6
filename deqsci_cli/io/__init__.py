"""Files in, files out: numpy arrays on this side, never torch."""

from deqsci_cli.io.atomic import atomic_write, check_absent, remove_leftovers
from deqsci_cli.io.capture import Capture, load_capture, read_camera_pictures
from deqsci_cli.io.checks import check_arrays, check_seen, check_truth, check_unit
from deqsci_cli.io.describe import ArraySummary, FileSummary, describe
from deqsci_cli.io.film import (
    Film,
    as_read,
    check_no_capture,
    read_film,
    write_film,
    write_film_parts,
)
from deqsci_cli.io.formats import SUFFIXES
from deqsci_cli.io.header import CaptureHeader, OwnFilmError, read_header
from deqsci_cli.io.limits import DEFAULT_BYTE_BUDGET, check_budget
from deqsci_cli.io.lock import only_run
from deqsci_cli.io.neighbours import Neighbours, looks_like_sequence
from deqsci_cli.io.preview import (
    Look,
    check_no_preview,
    need_preview,
    shown_frames,
    write_preview,
)
from deqsci_cli.io.provenance import fingerprint, make_provenance
from deqsci_cli.io.read_options import ReadOptions
from deqsci_cli.io.stack import read_camera_picture, read_mask
from deqsci_cli.io.video import list_videos, read_video, read_video_uint8
from deqsci_cli.io.writing import write_capture

__all__ = [
    "DEFAULT_BYTE_BUDGET",
    "SUFFIXES",
    "ArraySummary",
    "Capture",
    "CaptureHeader",
    "FileSummary",
    "Film",
    "Look",
    "Neighbours",
    "OwnFilmError",
    "ReadOptions",
    "as_read",
    "atomic_write",
    "check_absent",
    "check_arrays",
    "check_budget",
    "check_no_capture",
    "check_no_preview",
    "check_seen",
    "check_truth",
    "check_unit",
    "describe",
    "fingerprint",
    "list_videos",
    "load_capture",
    "looks_like_sequence",
    "make_provenance",
    "need_preview",
    "only_run",
    "read_camera_picture",
    "read_camera_pictures",
    "read_film",
    "read_header",
    "read_mask",
    "read_video",
    "read_video_uint8",
    "remove_leftovers",
    "shown_frames",
    "write_capture",
    "write_film",
    "write_film_parts",
    "write_preview",
]
