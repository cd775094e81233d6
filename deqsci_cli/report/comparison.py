"""Several pages as one: the films of each measurement side by side."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from deqsci_cli.errors import UsageError
from deqsci_cli.io.paths import real
from deqsci_cli.report.page import FilmView, Page, Pictures, Scene


def compared(pages: Sequence[Page], given: Sequence[Path], *, of_one: bool) -> Page:
    """One page of what is on several.

    Args:
        pages: of runs, or of films alone.
        given: what the user named, one for each page.
        of_one: films that were named one by one are shown together, whatever they are of; else
            those of the same measurement are.

    Raises:
        UsageError: the same thing was named twice, or nothing is there to be compared.
    """
    names = _names(given)
    labelled = _labelled(pages, names)
    groups: dict[Hashable, list[Scene]] = {}
    for page, name in zip(labelled, names, strict=True):
        for scene in page.scenes:
            if scene.key is None and not of_one:
                raise UsageError(
                    f"nothing tells which measurement {name} is of",
                    hint="name films only, or the folders that deqsci reconstruct wrote",
                )
            groups.setdefault(None if of_one else scene.key, []).append(scene)
    if all(len(group) == 1 for group in groups.values()):
        raise UsageError(
            f"{', '.join(names)} have no measurement in common",
            hint="captures are known by their content: one that was converted is another",
        )
    scenes = [_together(group) for group in groups.values()]
    films = sum(len(scene.films) for scene in scenes)
    count = "1 measurement" if len(scenes) == 1 else f"{len(scenes)} measurements"
    return Page(
        title=f"Comparison of {', '.join(names)}",
        summary=f"{films} films of {count}",
        scenes=scenes,
        facts={name: page.facts for name, page in zip(names, pages, strict=True)},
        failures=[failure for page in pages for failure in page.failures],
    )


def _names(given: Sequence[Path]) -> list[str]:
    """What is named, as shortly as it is told apart.

    Raises:
        UsageError: something was named twice.
    """
    paths = [real(path) for path in given]
    for place, path in enumerate(paths):
        if path in paths[:place]:
            raise UsageError(
                "this is named twice, and cannot be compared with itself", path=given[place]
            )
    depth = 1
    while len({path.parts[-depth:] for path in paths}) < len(paths):
        depth += 1
    return [str(Path(*path.parts[-depth:])) for path in paths]


def _labelled(pages: Sequence[Page], names: Sequence[str]) -> list[Page]:
    """The pages with films whose labels tell them apart: by the model where that is enough."""
    labels = [{film.label for scene in page.scenes for film in scene.films} for page in pages]
    alike = sum(map(len, labels)) > len(set().union(*labels))

    def named(film: FilmView, name: str) -> FilmView:
        if film.figures is None:
            return replace(film, label=name)
        return replace(film, label=f"{film.label} ({name})") if alike else film

    return [
        replace(
            page,
            scenes=[
                replace(scene, films=tuple(named(film, name) for film in scene.films))
                for scene in page.scenes
            ],
        )
        for page, name in zip(pages, names, strict=True)
    ]


def _together(group: Sequence[Scene]) -> Scene:
    """Scenes of one measurement as one."""
    tols = {scene.tol for scene in group}
    return replace(
        group[0],
        title=" / ".join(dict.fromkeys(scene.title for scene in group)),
        films=tuple(film for scene in group for film in scene.films),
        pictures=partial(_pictures, group),
        tol=group[0].tol if len(tols) == 1 else None,
    )


def _pictures(group: Sequence[Scene]) -> Pictures:
    """The pictures of several scenes; measurement and truth by the first that has them.

    Raises:
        UsageError: the films are of different sizes.
        InputError: one cannot be read.
    """
    found = [scene.pictures() for scene in group if scene.pictures is not None]
    films = tuple(video for each in found for video in each.films)
    labels = [film.label for scene in group for film in scene.films]
    sizes = [(label, v.shape) for label, v in zip(labels, films, strict=True) if v is not None]
    for label, shape in sizes:
        if shape != sizes[0][1]:
            raise UsageError(
                f"films of one size can be compared: {sizes[0][0]} has {_size(sizes[0][1])}, "
                f"{label} {_size(shape)}"
            )
    missing = tuple(dict.fromkeys(text for each in found for text in each.missing))
    if len({scene.key for scene in group if scene.key is not None}) > 1:
        text = "Beware: these films are not of the same measurement, so that none is shown."
        return Pictures(None, None, films, (text, *missing), found[0].step)
    measurement = next((f.measurement for f in found if f.measurement is not None), None)
    truth = next((f.truth for f in found if f.truth is not None), None)
    return Pictures(measurement, truth, films, missing, found[0].step)


def _size(shape: tuple[int, ...]) -> str:
    frames, height, width = shape
    return f"{frames} frames of {width}×{height} pixels"
