"""The ways in which a film can be turned, mirrored, and run backwards."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

TIME, HEIGHT, WIDTH = 1, 2, 3


@dataclass(frozen=True)
class Symmetry:
    """One way, of videos `(B, T, H, W)`.

    Attributes:
        exchanged: rows and columns change places first.
        reversed: then the axes that are run through backwards.
    """

    exchanged: bool = False
    reversed: tuple[int, ...] = ()

    def of(self, video: Tensor, rows: slice = slice(None), columns: slice = slice(None)) -> Tensor:
        """The turned video; of it some rows and columns alone, without turning the rest."""
        there = self.place(video, rows, columns)
        seen = there.transpose(HEIGHT, WIDTH) if self.exchanged else there
        return seen.flip(self.reversed) if self.reversed else seen

    def back(self, video: Tensor) -> Tensor:
        """The video whose turned one this is."""
        if self.reversed:
            video = video.flip(self.reversed)
        return video.transpose(HEIGHT, WIDTH) if self.exchanged else video

    def place(
        self, video: Tensor, rows: slice = slice(None), columns: slice = slice(None)
    ) -> Tensor:
        """Where in a video these rows and columns of the turned one come from, as a view."""
        height, width = (WIDTH, HEIGHT) if self.exchanged else (HEIGHT, WIDTH)
        rows = self._before(rows, video.shape[height], HEIGHT)
        columns = self._before(columns, video.shape[width], WIDTH)
        return video[..., columns, rows] if self.exchanged else video[..., rows, columns]

    def _before(self, part: slice, length: int, axis: int) -> slice:
        """A part of an axis before that was run through backwards."""
        if axis not in self.reversed:
            return part
        start, stop, _ = part.indices(length)
        return slice(length - stop, length - start)


#: a film as it is
IDENTITY = Symmetry()
