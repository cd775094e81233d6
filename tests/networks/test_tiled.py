"""Tiles: the whole picture's answer, whatever the tile, and how far each network looks."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from deqsci_cli import zoo
from deqsci_cli.equilibrium.model import solve
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.errors import UsageError
from deqsci_cli.networks.denoiser import Denoiser, ReceptiveField, as_denoiser
from deqsci_cli.networks.registry import build
from deqsci_cli.networks.symmetric import Symmetric
from deqsci_cli.networks.tiled import Tiled, auto_side, spans
from deqsci_cli.physics.sensing import SensingOperator

NETWORKS = {
    "cnn": ("cnn", {"channels": 4, "depth": 3}),
    "ffdnet": ("ffdnet", {"channels": 4, "depth": 3}),
    "rnn": ("rnn", {"features": 4, "state": 4, "blocks": 1, "channels": 4, "depth": 3}),
    "tv": ("tv", {"iterations": 4}),
    "one scale": ("video", {"widths": [8], "blocks": 2}),
    "two scales": ("video", {"widths": [8, 12], "measurement": True}),
    "window": ("video", {"widths": [8, 12], "window": 2}),
}


def network(name: str) -> Denoiser:
    """A small network in which every layer matters: a new one does next to nothing."""
    torch.manual_seed(0)
    architecture, options = NETWORKS[name]
    made = build(architecture, options).eval()
    for module in made.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return made


def films(made: Denoiser, *shape: int) -> tuple[Tensor, ...]:
    torch.manual_seed(1)
    return tuple(torch.rand(1 + 2 * made.uses_measurement, *shape))


@pytest.mark.parametrize("name", sorted(set(NETWORKS) - {"rnn"}))
@pytest.mark.parametrize(("side", "symmetries"), [("16", 1), ("23", 8)])
@torch.no_grad()
def test_tiles_give_the_answer_of_the_whole(name, side, symmetries):
    made = network(name)
    video, *measured = films(made, 2, 3, 45, 78)
    sigma = torch.tensor([0.1, 0.3])
    whole = Symmetric(made, symmetries)(video, sigma, *measured)
    tiled = Symmetric(Tiled(made, side), symmetries)(video, sigma, *measured)
    assert float((whole - video).abs().max()) > 0.05
    torch.testing.assert_close(tiled, whole, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("name", sorted(set(NETWORKS) - {"rnn"}))
@torch.no_grad()
def test_nothing_beyond_the_margin_counts_and_something_close_to_it_does(name):
    made = network(name)
    field = made.receptive_field(2)
    at = 2 * field.margin  # a multiple of every stride
    video, *measured = films(made, 1, 2, 8, 2 * at + 16)
    there = made(video, 0.5, *measured)[..., at:]

    def moved(since: int) -> float:
        changed = video.clone()
        changed[..., :since] = 0
        return float((made(changed, 0.5, *measured)[..., at:] - there).abs().max())

    assert moved(at - field.margin) == 0
    # Within: two strides, or what every scale's whole pixels and the spare step of `tv` leave.
    assert moved(at - field.margin + max(2, 2 * field.stride)) > 0


@pytest.mark.parametrize(("name", "frames"), [("pnp", 3), ("rnn", 4)])
def test_released_models_settle_at_the_same_film(name, frames):
    """A strip that is longer than a tile and both its margins, to the end of a solve."""
    torch.manual_seed(0)
    model = zoo.load(name)
    margin = model.network.receptive_field(frames).margin
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(2.0 * margin + 48), indexing="ij")
    video = torch.stack([((x + 2 * t) / 4).sin() * (y / 3).cos() for t in range(frames)])
    operator = SensingOperator((torch.rand(video.shape) < 0.5).float())
    measurement = operator.A(0.5 + 0.4 * video.unsqueeze(0))
    more = {"symmetries": 1, "tol": 1e-12, "max_iter": 5}
    whole, tiled = (
        solve(
            model.network,
            operator,
            measurement,
            EquilibriumSettings.from_card(model.card.equilibrium, tile=tile, **more),
        ).x
        for tile in ("none", "16")
    )
    assert not torch.equal(whole, operator.normalized_measurement(measurement))
    assert float((whole - tiled).abs().max()) < 1e-5


def test_what_the_frames_of_the_recurrent_network_pass_on_fades():
    """Its reach grows with the frames in principle; beyond the margin it is below 1e-6."""
    model = zoo.load("rnn")
    margin = model.network.receptive_field(12).margin
    torch.manual_seed(0)
    films = torch.rand(3, 1, 12, 8, 2 * margin)
    cut = margin // 2
    with torch.no_grad():
        whole = model.network(films[0], 0.03, *films[1:])[..., cut:]
        video, *measured = films[..., cut:]
        difference = (model.network(video, 0.03, *measured) - whole).abs()
    assert float(difference[..., :8].max()) > 1e-4
    assert float(difference[..., margin:].max()) < 1e-6


@given(st.integers(1, 300), st.integers(1, 120), st.integers(0, 9), st.sampled_from([1, 2, 8]))
def test_parts_of_an_axis_cover_it_once_and_start_where_the_whole_is_sampled(
    length, side, margin, stride
):
    parts = list(spans(length, side, ReceptiveField(margin * stride, stride, 1)))
    assert [i for part, _ in parts for i in range(length)[part]] == list(range(length))
    for part, outer in parts:
        assert part.start % stride == outer.start % stride == 0
        assert part.stop - part.start < side + stride
        assert outer.start == max(0, part.start - margin * stride)
        assert outer.stop == min(length, part.stop + margin * stride)


class TestAuto:
    """Picture and network alone decide."""

    def side(self, *shape: int) -> int | None:
        frames, height, width = shape
        return auto_side(zoo.load("pnp").network.receptive_field(frames), frames, height, width)

    @pytest.mark.parametrize("shape", [(8, 256, 256), (8, 1024, 1024), (50, 512, 512)])
    def test_what_fits_is_whole(self, shape):
        assert self.side(*shape) is None

    @pytest.mark.parametrize("shape", [(8, 2048, 2048), (14, 1024, 1024)])
    def test_a_tile_of_a_large_picture_fits_beside_the_state(self, shape):
        field, side = zoo.load("pnp").network.receptive_field(shape[0]), self.side(*shape)
        assert side is not None and side < shape[1]
        features = (side + 2 * field.margin) ** 2 * field.bytes
        assert features + 64 * math.prod(shape) <= 3.25 * 2**30

    def test_features_have_a_gibibyte_beside_a_state_that_is_larger_than_all(self):
        field, side = zoo.load("pnp").network.receptive_field(50), self.side(50, 1024, 1024)
        assert 0.9 * 2**30 < (side + 2 * field.margin) ** 2 * field.bytes <= 2**30

    def test_a_long_film_has_tiles_twice_as_wide_as_their_margins(self):
        assert self.side(1000, 512, 512) == 128


class TestUnknown:
    """A denoiser from elsewhere."""

    def test_a_side_is_refused(self):
        with pytest.raises(UsageError, match="does not tell how far it looks"):
            Tiled(as_denoiser(lambda video, sigma: video), "64")

    def test_auto_leaves_it_whole(self):
        seen = []

        def witness(video: Tensor, sigma: float) -> Tensor:
            seen.append(video.shape)
            return video

        Tiled(as_denoiser(witness), "auto")(torch.zeros(1, 1, 4000, 4000), 0.1)
        assert seen == [(1, 1, 4000, 4000)]


@pytest.mark.parametrize("tile", ["0", "-8", "big", "1.5", ""])
def test_what_is_no_tile(tile):
    with pytest.raises(UsageError, match="is no tile"):
        EquilibriumSettings(tile=tile)
