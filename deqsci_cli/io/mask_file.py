"""The mask's own file: many captures share it, so it is described and read once."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from deqsci_cli.io.container import Container
from deqsci_cli.io.file_version import FileVersion, changed
from deqsci_cli.io.opening import open_container
from deqsci_cli.io.read_errors import input_errors


@dataclass(frozen=True, eq=False)
class MaskFile(Container):
    """The description of a mask's file, closed again, and what was read from it so far."""

    arrays: dict[str, np.ndarray] = field(default_factory=dict, repr=False)
    versions: list[FileVersion] = field(default_factory=list, repr=False)

    def read(self, key: str) -> np.ndarray:
        """As `Container.read`; the file is opened for it once. The array is read-only.

        Raises:
            InputError: see `Container.read`; also for a file that has changed since.
        """
        if key not in self.arrays:
            with open_container(self.path) as again:
                if again.stamp != self.stamp:
                    raise changed(self.path)
                array = again.read(key)
                self.versions[:] = [again.version()]
            array.flags.writeable = False
            self.arrays[key] = array
        return self.arrays[key]

    def version(self) -> FileVersion:
        """The hash of what was read."""
        return self.versions[0]


# The last one, and what the system said of its file then.
_last: tuple[os.stat_result, MaskFile] | None = None
_turn = threading.Lock()


def open_mask(path: str | Path) -> MaskFile:
    """The file of a mask; the same object as long as the file is unchanged.

    Raises:
        InputError: see `open_container`.
    """
    global _last
    file = Path(path)
    with _turn:
        found = _stat(file)
        if _last is None or _last[1].path != file or _key(_last[0]) != _key(found):
            with open_container(file) as opened:
                _last = found, MaskFile(**vars(opened))
        return _last[1]


def _stat(path: Path) -> os.stat_result:
    with input_errors(path, "file"):
        return path.stat()


def _key(found: os.stat_result) -> tuple[int, ...]:
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
