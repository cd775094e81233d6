"""Standard streams whose end, whatever it is, does not end the work that is told on them."""

from __future__ import annotations

import codecs
import io
import os
import select
import sys
from typing import Any, TextIO

from deqsci_cli.errors import StorageError

_STANDARD = ("stdin", "stdout", "stderr")
# Signs of our own texts that an encoding may lack; whatever else it lacks is spelt out.
_PLAIN = {"…": "...", "–": "-", "×": "x", "±": "+-"}


class _Narration(io.FileIO):
    """Takes everything; what the system does not take is dropped."""

    def write(self, data: Any, /) -> int:
        try:
            return self._write(data)
        except OSError:
            return memoryview(data).nbytes

    def _write(self, data: Any) -> int:
        while (count := super().write(data)) is None:  # somebody has made it non-blocking
            select.select([], [self], [])
        return count


class _Results(_Narration):
    """Drops what a reader that has gone, say `head`, no longer wants; a full disk is an error."""

    broken = False

    def write(self, data: Any, /) -> int:
        if not self.broken:
            try:
                return self._write(data)
            except BrokenPipeError:
                self.broken = True
            except OSError as error:
                self.broken = True  # so that the end of Python has nothing more to say
                raise StorageError(f"the results cannot be shown: {error.strerror}") from error
        return memoryview(data).nbytes


def repair_streams() -> None:
    """Have stdout and stderr take any text, and outlive their readers; for a program, once.

    What an encoding lacks is replaced. Streams that are closed lead nowhere: the next files
    opened would else take their numbers, and what C libraries tell there.
    """
    codecs.register_error("deqsci", _replace)
    _open_closed()
    sys.stdout = _mended(sys.stdout, _Results)
    sys.stderr = _mended(sys.stderr, _Narration)


def _replace(error: UnicodeError) -> tuple[str | bytes, int]:
    """An error handler of codecs."""
    assert isinstance(error, UnicodeEncodeError)
    sign = error.object[error.start]
    if sign in _PLAIN:
        return _PLAIN[sign], error.start + 1
    return codecs.backslashreplace_errors(error)


def _open_closed() -> None:
    closed = [(i, name) for i, name in enumerate(_STANDARD) if getattr(sys, name) is None]
    if not closed:
        return
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:  # it is the lowest that is free
        os.set_inheritable(number, True)
    os.close(number)
    for i, name in closed:
        setattr(sys, name, open(i, "w" if i else "r", closefd=False))  # noqa: SIM115


def _mended(stream: TextIO, kind: type[_Narration]) -> TextIO:
    """A stream of the same file; a Windows console, which has no file, stays as it is."""
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    stream.flush()
    raw = getattr(stream.buffer, "raw", stream.buffer)
    if type(raw) is not io.FileIO:
        stream.reconfigure(errors="deqsci")
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(kind(raw.fileno(), "wb", closefd=False)),
        encoding=stream.encoding,
        errors="deqsci",
        line_buffering=stream.line_buffering or raw is stream.buffer,  # of `python -u`
        write_through=stream.write_through,
    )
