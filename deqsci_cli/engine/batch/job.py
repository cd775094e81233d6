"""What is sent to a worker: measurements to be done, and what they have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.io import Look
from deqsci_cli.io.file_version import FileStamp
from deqsci_cli.io.read_options import ReadOptions

if TYPE_CHECKING:
    from deqsci_cli.engine.roi import Roi


@dataclass(frozen=True)
class Stretch:
    """Measurements of one file that follow one another.

    Attributes:
        input: the capture's file.
        stamp: of that file, when the run was planned.
        indices: which of its measurements, in order.
    """

    input: Path
    stamp: FileStamp
    indices: tuple[int, ...]


@dataclass(frozen=True)
class Job:
    """One measurement to be done, or the consecutive ones of a recording, and their files.

    Attributes:
        input: the capture's file; of a recording in several files their folder.
        stamp: of the (first) file, when the run was planned.
        index: which of its measurements; the first one of a recording.
        output: the film.
        previews: pictures of it.
        look: how these show it.
        shape: `(T, H, W)` of one measurement's video.
        keep_film: the film is there already; only previews are missing.
        recording: the measurements of a recording, file by file; none for a measurement alone.
        window: of these, how many are solved together.
    """

    input: Path
    stamp: FileStamp
    index: int
    output: Path
    previews: tuple[Path, ...]
    shape: tuple[int, int, int]
    keep_film: bool = False
    recording: tuple[Stretch, ...] = ()
    window: int = 0
    look: Look = field(default_factory=Look)

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.output, *self.previews)

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The files that it is read from, but for those beside them."""
        return tuple(stretch.input for stretch in self.recording) or (self.input,)

    @property
    def looks(self) -> dict[str, str]:
        """What decides each preview besides the film, by its name."""
        return {path.name: self.look.decisive(path.suffix) for path in self.previews}

    def missing_previews(
        self,
        hashes: Mapping[str, str],
        looks: Mapping[str, str],
        sha256: Callable[[Path], str | None],
    ) -> list[Path]:
        """The previews that are not there, not as they were written, or would look different.

        Args:
            hashes: of the files written, by name.
            looks: what decided them, likewise.
            sha256: the hash of a file, None where it cannot be read.
        """
        wanted = self.looks
        return [
            path
            for path in self.previews
            if (name := path.name) not in hashes
            or looks.get(name) != wanted[name]
            or sha256(path) != hashes[name]
        ]


@dataclass(frozen=True)
class Order:
    """What all tasks of a run have in common; it names none of the run's other inputs.

    Attributes:
        run: the run's own name, by which it knows its films should a worker die over them.
        model: where the model is found, as `zoo.load` takes it, and
        fingerprint: what must be found there.
        settings: of the solver.
        read_options: how captures are to be understood.
        beside: the stamps of the files that all captures are read with (a mask, a camera), when
            the run was planned.
        device, dtype, seed: as in `ReconstructConfig`.
        isolate: files are read in a process of their own.
        replace: what lies there may be replaced.
        origin: what decides all films of the run, see `origin.origin_of_run`.
        stamp: what every film is told of its origin.
        threads: PyTorch's, in a process that this run has made; None to leave them as they are.
        roi: the regions that the model is to make; None for all.
    """

    run: str
    model: str
    fingerprint: str
    settings: EquilibriumSettings
    read_options: ReadOptions
    beside: dict[str, FileStamp]
    device: str
    dtype: str
    seed: int
    isolate: bool
    replace: bool
    origin: dict[str, Any]
    stamp: dict[str, Any]
    threads: int | None = None
    roi: Roi | None = None


@dataclass(frozen=True)
class Task:
    """Measurements to be read, solved and written by one worker."""

    order: Order
    jobs: tuple[Job, ...]
