"""No output takes the place of a file that the same run reads."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from deqsci_cli.errors import UsageError
from deqsci_cli.io.paths import is_dir, is_file, real


def check_no_overlap(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Refuse, before any computing, an output that is also an input. No flag lifts this.

    Files are compared, not names: a linked folder or a second hard link is seen through. Names are
    compared too, without regard to case, for file systems that do not tell cases apart.

    Args:
        outputs: every file that a run would write; they need not exist.
        inputs: every file that it reads. A folder stands for itself and the files directly in it.

    Raises:
        UsageError: for the first output that is an input.
    """
    names = _Names()
    known: dict[object, Path] = {}
    for path in _files(inputs):
        # A link among the inputs is lost when its own name is taken, a file when its data are.
        for key in (names.key(path), names.key(real(path)), _inode(path, follow=True)):
            known.setdefault(key, path)
    known.pop(None, None)
    for output in outputs:
        for key in (names.key(output), _inode(output, follow=False)):
            if key in known:
                raise UsageError(
                    f"this output would take the place of an input ({known[key]})",
                    path=output,
                    hint="give another output; inputs are never replaced, whatever the options",
                )


def _files(paths: Iterable[Path]) -> Iterable[Path]:
    for path in paths:
        yield path
        if is_dir(path):
            with suppress(OSError):  # whoever reads it tells why
                yield from (child for child in path.iterdir() if is_file(child))


class _Names:
    """Names as a file system tells them apart; each folder is looked up once."""

    def __init__(self) -> None:
        self.folders: dict[Path, Path] = {}

    def key(self, path: Path) -> str:
        folder = path.parent
        if folder not in self.folders:
            self.folders[folder] = real(folder)
        return str(self.folders[folder] / path.name).casefold()


def _inode(path: Path, *, follow: bool) -> tuple[int, int] | None:
    """Which file a name stands for; a link among the outputs is replaced, not what it leads to."""
    try:
        found = path.stat(follow_symlinks=follow)
    except (OSError, ValueError):
        return None
    return (found.st_dev, found.st_ino) if found.st_ino else None
