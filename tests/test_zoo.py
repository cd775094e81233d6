"""Model folders: what is saved is loaded, and what does not fit is refused by name."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from deqsci_cli import zoo
from deqsci_cli.errors import ModelError, OutputExistsError
from deqsci_cli.networks.registry import build

OPTIONS = {"channels": 4, "depth": 3}
WIDTHS = {"widths": [4, 8]}
CARD = zoo.Card(
    name="small",
    summary="für Tests, 5 µm",
    architecture="cnn",
    options=OPTIONS,
    equilibrium={"consistency_relaxation": 1.0, "sigma": 0.05, "warmup": [[0.2, 3]]},
    training={"steps": 7},
    figures={"psnr": 30.25},
    licence="MIT",
)


@pytest.fixture
def folder(tmp_path) -> Path:
    torch.manual_seed(0)
    zoo.save_model(tmp_path / "small", build("cnn", OPTIONS), CARD, overwrite=False)
    return tmp_path / "small"


@pytest.fixture
def released(folder, monkeypatch) -> Path:
    """A models folder that holds `small` and `pnp-video`."""
    torch.manual_seed(1)
    card = replace(CARD, name="pnp-video", architecture="video", options=WIDTHS)
    zoo.save_model(folder.parent / "pnp-video", build("video", WIDTHS), card, overwrite=False)
    monkeypatch.setattr(zoo, "models_folder", lambda: folder.parent)
    return folder.parent


@pytest.mark.parametrize(
    ("architecture", "options"),
    [("cnn", OPTIONS), ("rsn-cnn", OPTIONS), ("ffdnet", OPTIONS), ("tv", {"iterations": 3})],
)
def test_round_trip(tmp_path, architecture, options):
    torch.manual_seed(2)
    network = build(architecture, options)
    card = replace(CARD, architecture=architecture, options=options)
    zoo.save_model(tmp_path / "m", network, card, overwrite=False)
    model = zoo.load(str(tmp_path / "m"))
    digest = hashlib.sha256((tmp_path / "m" / zoo.WEIGHTS).read_bytes()).hexdigest()
    assert model.card == replace(card, sha256=digest) and model.path == tmp_path / "m"
    assert not model.network.training
    assert not any(p.requires_grad for p in model.network.parameters())
    for key, value in network.state_dict().items():
        assert torch.equal(model.network.state_dict()[key], value)
    x = torch.rand(1, 2, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(model.network(x, 0.1), network.eval()(x, 0.1))


def test_nothing_is_overwritten_unasked(folder):
    before = (folder / zoo.WEIGHTS).read_bytes()
    other = build("cnn", OPTIONS)
    with pytest.raises(OutputExistsError):
        zoo.save_model(folder, other, CARD, overwrite=False)
    assert (folder / zoo.WEIGHTS).read_bytes() == before
    zoo.save_model(folder, other, CARD, overwrite=True)
    assert (folder / zoo.WEIGHTS).read_bytes() != before


def spoil(folder: Path, change) -> None:
    state = safetensors.torch.load_file(folder / zoo.WEIGHTS)
    change(state)
    safetensors.torch.save_file(state, folder / zoo.WEIGHTS)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda s: s.pop("layers.1.weight"), "layers.1.weight"),
        (lambda s: s.update({"layers.9.weight": torch.zeros(3)}), "layers.9.weight"),
        (lambda s: s.update({"layers.1.weight": torch.zeros(4, 4, 5, 5)}), "layers.1.weight"),
        (lambda s: s.clear() or s.update({"a": torch.zeros(1)}), "layers.0.weight"),
    ],
    ids=["missing", "extra", "shape", "foreign"],
)
def test_weights_that_do_not_fit(folder, change, reason):
    spoil(folder, change)
    with pytest.raises(ModelError, match="do not fit") as caught:
        zoo.load(str(folder))
    assert caught.value.path == folder / zoo.WEIGHTS and reason in str(caught.value)


@pytest.mark.parametrize("keep", [0, 4, 30, -5])
def test_weights_that_are_cut_off(folder, keep):
    data = (folder / zoo.WEIGHTS).read_bytes()
    (folder / zoo.WEIGHTS).write_bytes(data[:keep])
    with pytest.raises(ModelError) as caught:
        zoo.load(str(folder))
    assert caught.value.path == folder / zoo.WEIGHTS


def test_a_pickle_in_place_of_the_weights(folder):
    torch.save(build("cnn", OPTIONS).state_dict(), folder / zoo.WEIGHTS)
    with pytest.raises(ModelError, match="cannot be read"):
        zoo.load(str(folder))


def test_no_weights(folder):
    (folder / zoo.WEIGHTS).unlink()
    with pytest.raises(ModelError, match="no weights"):
        zoo.load(str(folder))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"colour": "red"}, "unknown key 'colour'"),
        ({"name": ...}, "'name' is missing"),
        ({"architecture": ...}, "'architecture' is missing"),
        ({"architecture": "resnet-9000"}, "'resnet-9000'"),
        ({"options": {"width": 3}}, "unknown key 'width'"),
        ({"options": {"channels": "many"}}, "'channels' must be a whole number, not 'many'"),
        ({"options": {"channels": -3}}, "channels must be at least 1, not -3"),
        ({"options": [1]}, "'options' must be a table"),
        ({"architecture": 7}, "'architecture' must be text, not 7"),
    ],
    ids=str,
)
def test_cards_that_make_no_sense(folder, change, reason):
    card = json.loads((folder / zoo.CARD).read_text()) | change
    card = {k: v for k, v in card.items() if v is not ...}
    (folder / zoo.CARD).write_text(json.dumps(card))
    with pytest.raises(ModelError) as caught:
        zoo.load(str(folder))
    # Not of the whole text: the folder is named after the test, and so after the reason.
    assert caught.value.path == folder / zoo.CARD and reason in caught.value.message


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"a": NaN', b"\xff\xfe\x00"])
def test_cards_that_are_no_json_object(folder, text):
    (folder / zoo.CARD).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ModelError) as caught:
        zoo.read_card(folder)
    assert caught.value.path == folder / zoo.CARD


def test_released_models_and_aliases(released):
    assert zoo.released() == ["pnp-video", "small"]
    assert zoo.find("pnp") == zoo.find("pnp-video") == released / "pnp-video"
    assert [card.name for card in zoo.cards()] == ["pnp-video", "small"]
    assert zoo.load("pnp").card.architecture == "video"


def test_an_unknown_model_is_told_with_the_nearest(released):
    with pytest.raises(ModelError, match="did you mean pnp-video"):
        zoo.find("pnp-vidoe")
    with pytest.raises(ModelError, match=r"one of .*small"):
        zoo.find("qqqqqq")


def test_a_results_folder_called_like_a_released_model_is_not_it(released, tmp_path, monkeypatch):
    here = tmp_path / "here"
    for name in ("small", "pnp"):
        (here / name).mkdir(parents=True)
    monkeypatch.chdir(here)
    assert zoo.find("small") == released / "small"
    zoo.write_card(here / "small", zoo.Card("mine", "", "ffdnet"), overwrite=False)
    assert zoo.find("small") == Path("small")
    assert zoo.find("pnp") == released / "pnp-video"


def test_a_folder_without_a_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    with pytest.raises(ModelError, match="no model lies here"):
        zoo.find("results")
    with pytest.raises(ModelError, match="no model lies here") as caught:
        zoo.find(f"{tmp_path}/nothing")
    assert caught.value.path == tmp_path / "nothing"


def test_the_hash_is_that_of_the_weights(folder):
    import hashlib

    data = (folder / zoo.WEIGHTS).read_bytes()
    assert zoo.load(str(folder)).sha256 == hashlib.sha256(data).hexdigest()
