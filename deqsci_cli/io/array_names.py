"""Which array of a file is the measurement, the mask, the truth."""

from __future__ import annotations

from collections.abc import Collection

from deqsci_cli.errors import InputError
from deqsci_cli.io.container import Container, Entry

# The first name of each is the one this project writes.
NAMES = {
    "measurement": ("meas", "measurement", "measurements", "y"),
    "mask": ("mask", "masks", "phi"),
    "truth": ("orig", "truth", "gt", "ground_truth", "video"),
    "dark": ("dark", "dark_frame", "black"),
    "flat": ("flat", "flat_field"),
    "bad_pixels": ("bad_pixels", "bad", "defects"),
    "film": ("video", "orig", "film", "truth", "gt", "ground_truth"),
}
# The option that names it; of films the truth alone has one.
_OPTIONS = {role: f"{role}-key" for role in ("measurement", "mask", "truth")} | {
    "film": "truth-key"
}
# The ranks that each may have, the likelier first.
_RANKS = {role: (3, 2) if role in ("mask", "truth", "film") else (2, 3) for role in NAMES}


def find_key(
    container: Container,
    role: str,
    explicit: str | None = None,
    *,
    guess: bool = True,
    taken: Collection[str] = (),
) -> str | None:
    """The name of the array that plays `role`, one of `NAMES`.

    An explicit key wins; then the known names, whatever their case; then, with `guess`, the only
    array of a fitting rank that is neither `taken` nor known as something else.

    Returns:
        None if nothing fits.

    Raises:
        InputError: if the explicit key is not there.
    """
    if explicit is not None:
        return container.entry(explicit, option=_OPTIONS[role]).name
    free = {key: entry for key, entry in container.entries.items() if key not in taken}
    for name in NAMES[role]:
        for key in free:
            if key.rsplit("/", 1)[-1].lower() == name:
                return key
    if not guess:
        return None
    others = {name for other in NAMES if other != role for name in NAMES[other]} - {*NAMES[role]}
    for rank in _RANKS[role]:
        fitting = [
            key
            for key, entry in free.items()
            if _is_picture(entry, rank) and key.rsplit("/", 1)[-1].lower() not in others
        ]
        if fitting:
            return fitting[0] if len(fitting) == 1 else None
    return None


def need_key(
    container: Container,
    role: str,
    explicit: str | None = None,
    *,
    taken: Collection[str] = (),
    alone: bool = False,
) -> str:
    """As `find_key`, but an InputError listing the keys where nothing fits.

    Args:
        alone: the array is read by itself, where no option names it but that of a truth.
    """
    key = find_key(container, role, explicit, taken=taken)
    if key is not None:
        return key
    if alone:
        hint = f"call it {NAMES[role][0]} in the file"
        hint += f"; of a truth, --{_OPTIONS[role]} names it" if role == "film" else ""
    else:
        hint = f"name it with --{_OPTIONS[role]}"
    if role == "mask" and not alone:
        hint += ", or give the mask's own file with --mask"
    raise InputError(
        f"which array is the {role} is not clear; the file holds {container.listing()}",
        path=container.path,
        hint=hint,
    )


def _is_picture(entry: Entry, rank: int) -> bool:
    # Vectors and scalars (1, n) are settings, not pictures.
    return entry.problem is None and len(entry.shape) == rank and sorted(entry.shape)[-2] > 1
