"""Where an output comes from, in a form that every output can carry."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from deqsci_cli import __version__
from deqsci_cli.io.read_errors import input_errors


def make_provenance(
    command: str,
    config: Mapping[str, Any],
    *,
    seed: int | None,
    model: Mapping[str, Any] | None,
    inputs: Iterable[Mapping[str, Any]],
    device: str,
) -> dict[str, Any]:
    """Gather what someone needs to make an output again.

    No user or host name is recorded, and no time: equal runs give equal bytes.

    Args:
        command: the command's name, like "reconstruct".
        config: its settings; paths and numpy scalars become plain JSON values.
        model: name, hash and the like of the model, None where none took part.
        inputs: the files read, as `fingerprint` gives them.
        device: like "cpu" or "cuda:0".
    """
    record = {
        "deqsci": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "command": command,
        "config": dict(config),
        "seed": seed,
        "model": None if model is None else dict(model),
        "inputs": [dict(file) for file in inputs],
        "device": device,
    }
    plain: dict[str, Any] = json.loads(to_json(record))
    return plain


def now() -> str:
    """The time, UTC, to the second, for reports."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def to_json(record: Mapping[str, Any]) -> str:
    """One line of ASCII JSON, which every format can hold; what JSON does not know becomes text.

    Infinities and NaN become null: strict JSON has none, and other languages' parsers refuse them.
    """
    return json.dumps(plain(record), ensure_ascii=True, allow_nan=False, separators=(", ", ": "))


def plain(value: Any) -> Any:
    """A value as JSON has it: paths and the like become text, what is not finite becomes null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return str(value)


def fingerprint(path: str | Path) -> dict[str, Any]:
    """A file's path, hash and size. A folder stands for the files directly in it.

    Raises:
        InputError: if it cannot be read.
    """
    path = Path(path)
    digest = hashlib.sha256()
    size = 0
    with input_errors(path, "file"):
        files = sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
        for file in files:
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
                    size += len(block)
    return {"path": str(path), "sha256": digest.hexdigest(), "bytes": size}
