"""Released models: find, load and save them (safetensors + card.json, strictly)."""

from __future__ import annotations

import difflib
import hashlib
import json
import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from deqsci_cli.config import MOST_BYTES
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.errors import DeqsciError, InputError, ModelError, UsageError
from deqsci_cli.io.atomic import atomic_write
from deqsci_cli.io.file_version import read_version
from deqsci_cli.io.json_file import read_json, read_regular
from deqsci_cli.io.paths import exists, is_dir, is_file
from deqsci_cli.io.provenance import plain

if TYPE_CHECKING:
    from deqsci_cli.networks.denoiser import Denoiser

WEIGHTS = "model.safetensors"
CARD = "card.json"
RECIPE = "train.toml"

_ANEW = f"copy the model's folder again, {WEIGHTS} and {CARD} as they were written"
_IMPORT = "`deqsci convert FILE -o FOLDER --architecture NAME` makes one of published weights"

#: short names of the command line; the family's best model stands behind each
ALIASES = {"pnp": "pnp-video"}


@dataclass(frozen=True)
class Card:
    """What a model is and how it is to be run; `card.json` holds exactly these fields.

    Attributes:
        name: the folder's name.
        summary: one sentence for a list.
        architecture: a key of `networks.registry.ARCHITECTURES`.
        options: its arguments.
        equilibrium: how it is run when nothing else is asked for: fields of
            `equilibrium.settings.EquilibriumSettings`.
        training: data, recipe, steps, hardware, as the training wrote them.
        figures: what was measured, and on what.
        licence: of the weights and of the data they come from.
        sha256: of the file of weights, which must have it; empty for none, and while weights that
            replace others are being written.
    """

    name: str
    summary: str
    architecture: str
    options: dict[str, Any] = field(default_factory=dict)
    equilibrium: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    licence: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class Stored:
    """A model in its folder: its card, where it lies, its weights' hash.

    An architecture without weights, such as total variation, has no hash.
    """

    card: Card
    path: Path
    sha256: str | None

    @property
    def fingerprint(self) -> str:
        """The hash of what computes: architecture, options and weights; the same for equal ones."""
        what = [self.card.architecture, self.card.options, self.sha256]
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Model(Stored):
    """A loaded model: its network, in evaluation mode, as well."""

    network: Denoiser


def models_folder() -> Path:
    """Where the released models lie: inside an installed wheel, or beside the package."""
    inside = Path(__file__).parent / "models"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "models"


def released() -> list[str]:
    """Names of the released models."""
    return sorted(card.parent.name for card in models_folder().glob(f"*/{CARD}"))


def find(name: str) -> Path:
    """The folder of a model.

    Args:
        name: a released model, an alias such as `pnp`, or the path of a folder.

    Raises:
        ModelError: there is none (with the nearest name).
    """
    local, stored = Path(name), models_folder() / ALIASES.get(name, name)
    if "/" not in name and is_file(stored / CARD):
        # A results folder called like its model is none; a model trained into one is meant.
        return local if name not in ALIASES and is_file(local / CARD) else stored
    if is_file(local):
        inside = local.name in (WEIGHTS, CARD)
        hint = f"give its folder, {local.parent}" if inside else _IMPORT
        raise ModelError("a model is a folder, this is a file", path=local, hint=hint)
    if "/" in name or is_dir(local):
        if not is_file(local / CARD):
            raise ModelError("no model lies here", path=local, hint=f"it would hold a {CARD}")
        return local
    known = [*ALIASES, *released()]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(known)}, or a folder"
    raise ModelError(f"there is no model '{name}'", hint=hint)


def argument_for(folder: Path) -> str:
    """What `--model` must say for a folder, which may have the name of a released model."""
    text = str(folder)
    return text if find(text).absolute() == folder.absolute() else f"./{text}"


def find_recipe(name: str) -> Path:
    """The config that a training is run by.

    Args:
        name: a TOML file; or a model, as for `find`, for the one beside it.

    Raises:
        UsageError: there is none.
    """
    local = Path(name)
    if local.suffix == ".toml" or (exists(local) and not is_dir(local)):
        return local
    try:
        recipe = find(name) / RECIPE
    except ModelError as error:
        raise UsageError(f"'{name}' is neither a config nor a model", hint=error.hint) from error
    if not is_file(recipe):
        have = sorted(path.parent.name for path in models_folder().glob(f"*/{RECIPE}"))
        raise UsageError(f"the model '{name}' has no recipe", hint=f"these have: {', '.join(have)}")
    return recipe


def read_card(folder: Path) -> Card:
    """Read a card; unknown or missing fields are refused.

    Raises:
        ModelError: the card is not what a card is.
    """
    path = folder / CARD
    try:
        return read_json(path, Card, what="card", again=_ANEW, most=MOST_BYTES)
    except InputError as error:
        raise ModelError(error.message, path=path, hint=_ANEW) from error


def look_up(name: str) -> Stored:
    """A model as its folder has it; of a released one the network is not made (nor torch imported).

    Args:
        name: as for `find`.

    Raises:
        ModelError: as for `load`.
    """
    folder = find(name)
    if folder.parent != models_folder():  # whether its parts fit is seen when they are put together
        return load(name)
    card = read_card(folder)
    _check_settings(card, folder)
    if not card.sha256:
        return Stored(card, folder, None)
    path = folder / WEIGHTS
    try:
        digest = read_version(_weights_file(path)).sha256
    except InputError as error:
        raise ModelError(error.message, path=path, hint=_ANEW) from error
    _check_hash(card, digest, path)
    return Stored(card, folder, digest)


def count_numbers(model: Stored) -> int:
    """How many numbers a model's file of weights holds."""
    if model.sha256 is None:
        return 0
    with safe_open(model.path / WEIGHTS, framework="numpy") as file:
        return sum(math.prod(file.get_slice(key).get_shape()) for key in file.keys())  # noqa: SIM118


def load(name: str) -> Model:
    """A model ready for use; every tensor of the file must fit, none may be missing.

    Args:
        name: as for `find`.

    Raises:
        ModelError: it cannot be found or read, or the weights do not fit the architecture.
    """
    from deqsci_cli.networks.registry import build  # torch is slow to import
    from deqsci_cli.networks.weights import load_weights, most_bytes

    folder = find(name)
    card = read_card(folder)
    path = folder / WEIGHTS
    try:
        network = build(card.architecture, card.options).eval()
    except DeqsciError as error:
        raise ModelError(error.message, path=folder / CARD, hint=error.hint or _ANEW) from error
    _check_settings(card, folder)
    if not network.state_dict():
        return Model(card, folder, None, network)
    try:
        # Read once: the hash is that of the weights that are used.
        data = read_regular(_weights_file(path), most=most_bytes(network))
        load_weights(network, data)
    except InputError as error:
        raise ModelError(error.message, path=path, hint=_ANEW) from error
    except SafetensorError as error:
        raise ModelError(f"the weights cannot be read: {error}", path=path, hint=_ANEW) from error
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        hint = "card and weights are of different models; " + _ANEW
        raise ModelError(
            f"the weights do not fit the card: {reason}", path=path, hint=hint
        ) from error
    network.requires_grad_(False)
    digest = hashlib.sha256(data).hexdigest()
    _check_hash(card, digest, path)
    return Model(card, folder, digest, network)


def _check_settings(card: Card, folder: Path) -> None:
    try:
        EquilibriumSettings.from_card(card.equilibrium)
    except DeqsciError as error:
        raise ModelError(error.message, path=folder / CARD, hint=error.hint or _ANEW) from error


def _weights_file(path: Path) -> Path:
    if not exists(path):
        raise ModelError("the model has a card but no weights", path=path, hint=_ANEW)
    return path


def _check_hash(card: Card, digest: str, path: Path) -> None:
    if card.sha256 not in ("", digest):
        raise ModelError("the weights do not match the card", path=path, hint=_ANEW)


def save_model(folder: Path, network: Denoiser, card: Card, *, overwrite: bool) -> None:
    """Write a model's two files, each whole or not at all.

    Args:
        folder: made if it is not there.
        network: its state is written in float32.
        card: what is known of it; the weights' hash is put in.
        overwrite: replace what lies there.
    """
    from deqsci_cli.networks.weights import dump_weights  # torch is slow to import

    data = dump_weights(network, architecture=card.architecture)
    if exists(folder / CARD):
        # Killed between the two files, the card that was there would refuse the new weights.
        write_card(folder, replace(card, sha256=""), overwrite=overwrite)
    with atomic_write(folder / WEIGHTS, overwrite=overwrite) as temporary:
        temporary.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    write_card(folder, replace(card, sha256=digest), overwrite=overwrite)


def write_card(folder: Path, card: Card, *, overwrite: bool) -> None:
    """Write a card alone."""
    with atomic_write(folder / CARD, overwrite=overwrite) as temporary:
        text = json.dumps(plain(asdict(card)), indent=2, ensure_ascii=False, allow_nan=False)
        # A folder's name may hold bytes that are no text; JSON has them as \udcXX too.
        temporary.write_bytes((text + "\n").encode("utf-8", "backslashreplace"))


def cards() -> list[Card]:
    """The cards of the released models."""
    return [read_card(find(name)) for name in released()]
