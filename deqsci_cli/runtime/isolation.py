"""Reading in a process of its own, so that a file at which a C library crashes ends that alone.

The process knows nothing of PyTorch, is started when it is first needed, is there for all files
that follow, and is started anew when it died. It guards against accidents, it is no sandbox: it has
all the rights of the user.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import signal
import struct
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TypeVar

from deqsci_cli.errors import DeqsciError, InputError
from deqsci_cli.io import capture  # noqa: F401  so that it is there before the first request

R = TypeVar("R")

# How long a file may take: what a busy machine and a slow network disk need, many times over.
_SECONDS = 300.0
_BYTES_A_SECOND = 1e6
_SERVE = "import sys; sys.path[:] = {!r}; from {} import serve; serve()"


def isolated(read: Callable[[Path], R], path: Path) -> R:
    """`read(path)`, done by the other process; one file is read at a time.

    Args:
        read: a function or a method of what can be pickled; its arrays come back uncopied.

    Raises:
        InputError: the process crashed over the file, or took longer than any file should.
        Exception: what `read` raises.
    """
    return _READER.ask(read, path)


class _Reader:
    """The process, and the one conversation that is held with it."""

    def __init__(self) -> None:
        self.turn = threading.Lock()
        self.process: subprocess.Popen[bytes] | None = None
        self.surroundings: object = None

    def start(self) -> None:
        """Have a process that sees what this one sees; it is ready while others get ready."""
        surroundings = os.getcwd(), dict(os.environ), list(sys.path)  # noqa: PTH109
        if self.process is not None:
            if self.process.poll() is None and self.surroundings == surroundings:
                return
            self.end()
        self.surroundings = surroundings
        self.process = subprocess.Popen(
            [sys.executable, "-c", _SERVE.format(sys.path, __name__)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # What C libraries say when they fall is of no use to anybody.
            stderr=subprocess.DEVNULL,
            # Ctrl-C in a terminal is for this process to act on.
            start_new_session=True,
        )

    def ask(self, read: Callable[[Path], R], path: Path) -> R:
        with self.turn:
            self.start()
            process = self.process
            assert process is not None and process.stdin is not None and process.stdout is not None
            seconds = _SECONDS + _size(path) / _BYTES_A_SECOND
            began = time.monotonic()
            try:
                _send(process.stdin, (seconds, read, path))
                good, value = _receive(process.stdout)
            except (EOFError, BrokenPipeError) as error:
                self.end()
                raise _death(process.returncode, path, time.monotonic() - began, seconds) from error
            except BaseException:  # an answer that nobody waits for must not be the next one's
                self.end()
                raise
        if not good:
            raise value
        result: R = value
        return result

    def end(self) -> None:
        """End the process, if there is one."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


_READER = _Reader()


def prepare() -> None:
    """Start the process, which takes half a second, ahead of its first file."""
    with _READER.turn:
        _READER.start()


def serve() -> None:
    """What the process does: read what it is asked to, until nobody is there to ask."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library that prints must not speak between the answers
    while True:
        try:
            seconds, read, path = _receive(requests)
        except EOFError:
            return
        # This holds even where a C library never returns.
        faulthandler.dump_traceback_later(seconds, exit=True)
        try:
            answer = True, read(path)
        except Exception as error:
            if not isinstance(error, DeqsciError):
                error.add_note("".join(traceback.format_exception(error)))
            answer = False, error
        faulthandler.cancel_dump_traceback_later()
        _send(answers, answer)


def _send(stream: IO[bytes], value: object) -> None:
    """A value, and beside it the memory of its arrays as it is."""
    buffers: list[pickle.PickleBuffer] = []
    head = memoryview(pickle.dumps(value, protocol=5, buffer_callback=buffers.append))
    parts = [head, *(buffer.raw() for buffer in buffers)]
    lengths = [part.nbytes for part in parts]
    stream.write(struct.pack(f"<Q{len(parts)}Q", len(parts), *lengths))
    for part in parts:
        stream.write(part)
    stream.flush()


def _receive(stream: IO[bytes]) -> Any:
    """What `_send` sent; EOFError where the other side is gone."""
    (count,) = struct.unpack("<Q", _exactly(stream, 8))
    lengths = struct.unpack(f"<{count}Q", _exactly(stream, 8 * count))
    head, *buffers = [_exactly(stream, length) for length in lengths]
    return pickle.loads(head, buffers=buffers)


def _exactly(stream: IO[bytes], length: int) -> bytearray:
    memory = bytearray(length)
    view, filled = memoryview(memory), 0
    while filled < length:
        got = stream.readinto(view[filled:])  # type: ignore[attr-defined]
        if not got:
            raise EOFError
        filled += got
    return memory


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _death(code: int, path: Path, took: float, allowed: float) -> InputError:
    """What is said of a file over which the process came to its end."""
    if took >= allowed:
        reason, hint = f"reading takes longer than {allowed:.0f} s", "see whether its disk answers"
    else:
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        reason = f"the process that read the file crashed ({how})"
        hint = "the file is damaged, or the memory ran out; copy or export it again"
    return InputError(reason, path=path, hint=hint)
