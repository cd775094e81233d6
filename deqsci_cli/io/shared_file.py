"""Files that many captures share (a mask, a dark frame): described and read once."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from deqsci_cli.io.container import Container
from deqsci_cli.io.file_version import FileVersion, changed, read_version
from deqsci_cli.io.opening import open_container
from deqsci_cli.io.read_errors import input_errors, require_file

# A camera has a mask, a dark frame, a flat field, a map of bad pixels, and a file of its own.
_KEPT = 5


@dataclass(frozen=True, eq=False)
class SharedFile(Container):
    """The description of a file, closed again, and what was read from it so far."""

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
        """The hash of what was read, or, if nothing was yet, of what was described.

        Raises:
            InputError: the file has changed since.
        """
        if not self.versions:
            found = read_version(self.path)
            if found.stamp != self.stamp:
                raise changed(self.path)
            self.versions[:] = [found]
        return self.versions[0]


# The last ones, and what the system said of each then.
_last: OrderedDict[Path, tuple[os.stat_result, SharedFile]] = OrderedDict()
_turn = threading.Lock()


def open_shared(path: str | Path) -> SharedFile:
    """A file that many captures share; the same object as long as the file is unchanged.

    Raises:
        InputError: see `open_container`.
    """
    file = Path(path)
    with _turn:
        with input_errors(require_file(file), "file"):
            found = file.stat()
        known = _last.pop(file, None)
        if known is None or _key(known[0]) != _key(found):
            with open_container(file) as opened:
                known = found, SharedFile(**vars(opened))
        _last[file] = known
        while len(_last) > _KEPT:
            _last.popitem(last=False)
        return known[1]


def _key(found: os.stat_result) -> tuple[int, ...]:
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
