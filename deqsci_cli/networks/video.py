"""`video`: a U-Net that sees all frames, each through its neighbours' features."""

from __future__ import annotations

import operator
from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from deqsci_cli.errors import UsageError
from deqsci_cli.networks.denoiser import (
    Denoiser,
    ReceptiveField,
    check_least,
    convolution,
    frame_levels,
    frames_at_once,
    joined,
    pad_to_multiple,
)

# Each scale halves the last; pictures are padded to a whole number of the coarsest pixels.
_MOST_SCALES = 8


def shift_in_time(features: Tensor, frames: int) -> Tensor:
    """An eighth of the channels from the frame before, an eighth from the one after.

    Source: Lin et al., Temporal Shift Module, ICCV 2019. Frames at the ends stand in for those
    that are missing.

    Args:
        features: `(B T, C, H, W)`.
        frames: T.
    """
    film = features.permute(0, 2, 3, 1).unflatten(0, (-1, frames))
    # Parts and `cat`: the gradient of writing into a copy takes three times as long.
    late, early, rest = film.split(_shares(film.shape[-1]), -1)
    late = torch.cat((late[:, :1], late[:, :-1]), 1)
    early = torch.cat((early[:, 1:], early[:, -1:]), 1)
    return torch.cat((late, early, rest), -1).flatten(0, 1).permute(0, 3, 1, 2)


def _shares(channels: int) -> tuple[int, int, int]:
    """How many channels come from the frame before, from the one after, from the same."""
    share = max(1, channels // 8)
    return share, min(share, channels - share), max(0, channels - 2 * share)


class _Block(nn.Module):
    """Two convolutions beside a shortcut, the first of which sees the neighbours in time."""

    def __init__(self, channels: int):
        super().__init__()
        self.inner = convolution(channels, channels)
        self.outer = convolution(channels, channels, gain=0.1)  # it starts near the identity

    def forward(self, features: Tensor, frames: int) -> Tensor:
        """What comes out; without gradients it is written into what came in."""
        seen = shift_in_time(features, frames)
        if torch.is_grad_enabled():
            answer: Tensor = self.outer(self.inner(seen).relu_()).add_(features)
            return answer
        chunk = frames_at_once(seen)
        for part, shifted in zip(features.split(chunk), seen.split(chunk), strict=True):
            part.add_(self.outer(self.inner(shifted).relu_()))
        return features


class _Scale(nn.Module):
    """The blocks of one scale, on one way."""

    def __init__(self, channels: int, blocks: int):
        super().__init__()
        self.blocks = nn.ModuleList(_Block(channels) for _ in range(blocks))

    def forward(self, features: Tensor, frames: int) -> Tensor:
        for block in self.blocks:
            features = block(features, frames)
        return features


def around(frames: Tensor, reach: int) -> list[Tensor]:
    """What is different in the frames before and after, up to `reach` of them on either side.

    Args:
        frames: `(B, T, ...)`; those at the ends stand in for the missing.
        reach: how far.

    Returns:
        `2 reach` tensors as `frames`: the one before, the one after, the second before, ...
    """
    if not reach:
        return []
    padded = torch.cat((*[frames[:, :1]] * reach, frames, *[frames[:, -1:]] * reach), 1)
    steps = (step for far in range(1, reach + 1) for step in (-far, far))
    return [padded.narrow(1, reach + step, frames.shape[1]) - frames for step in steps]


class _Window(nn.Module):
    """Two convolutions of what enters, which see several frames at once."""

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.inner = convolution(channels, 2 * width)
        self.outer = convolution(2 * width, width, gain=0.1)

    def forward(self, entering: Tensor) -> Tensor:
        answer: Tensor = self.outer(self.inner(entering).relu_())
        return answer


class VideoUNet(Denoiser):
    """`D(x) = x - sigma n(x)`, n a U-Net from half resolution on, over all frames of a film.

    Space is convolved, time comes in by a window of frames at the head and by shifted channels
    in each block, which cost next to nothing. sigma is a channel of its own. Any number of frames,
    any size.
    Sources: U-Net, arXiv 1505.04597; FFDNet's half resolution and noise map, arXiv 1710.04026;
    shifts for video denoising, Qi et al., ACM Multimedia 2022; a window of frames, FastDVDnet,
    arXiv 1907.01361.

    Args:
        widths: channels at each scale, each half of the one before.
        blocks: at each scale, on the way down and again on the way up.
        measurement: also sees the normalised measurement, and what it leaves for a frame when the
            other frames are taken out.
        window: frames on either side that the head sees, through two convolutions of its own.
    """

    def __init__(
        self,
        widths: tuple[int, ...] = (32, 64, 128),
        blocks: int = 1,
        measurement: bool = False,
        window: int = 0,
    ):
        super().__init__()
        check_least(1, blocks=blocks, **{f"widths[{i}]": width for i, width in enumerate(widths)})
        check_least(0, window=window)
        if not 1 <= len(widths) <= _MOST_SCALES:
            raise UsageError(f"widths are 1 to {_MOST_SCALES} numbers, not {len(widths)}")
        self.scale = 2 ** len(widths)
        self.uses_measurement = measurement
        self.reach = window
        self.blocks = blocks
        self.widths = tuple(widths)
        entering = 5 + 8 * measurement + 8 * window
        self.head = convolution(entering, widths[0])
        self.window = _Window(entering, widths[0]) if window else None
        scales = list(pairwise(widths))
        self.down = nn.ModuleList(convolution(wide, deep, 2, stride=2) for wide, deep in scales)
        self.up = nn.ModuleList(convolution(deep, 4 * wide, 1) for wide, deep in scales)
        self.encoder = nn.ModuleList(_Scale(width, blocks) for width in widths)
        self.decoder = nn.ModuleList(_Scale(width, blocks) for width in widths)
        self.tail = convolution(widths[0], 4, gain=0.1)

    def load_weights_from(self, other: Denoiser) -> None:
        """Do what another does, which may be narrower, have fewer blocks, and see less.

        What is new hears everything; what was there does not hear it as yet.
        Source: growing a network that keeps its function, Net2Net, arXiv 1511.05641.
        """
        learned, before = other.state_dict(), getattr(other, "widths", ())
        if len(before) != len(self.widths) or any(map(operator.lt, self.widths, before)):
            raise RuntimeError("the other network is wider, or has other scales")
        grown = dict(learned)
        for name, own in self.state_dict().items():
            if name not in learned:  # a further block, or the window, which adds nothing as yet
                grown[name] = torch.zeros_like(own) if ".outer." in name else own
                continue
            weight = learned[name]
            if name in ("head.weight", "window.inner.weight"):
                weight = _see_more(weight, own.shape[1], self, other)
            grown[name] = _widened(name, weight, own, before, self.widths)
        self.load_state_dict(grown)

    def receptive_field(self, frames: int) -> ReceptiveField:
        """Back from a pixel of the answer, layer by layer, each scale's pixels seen whole.

        At half resolution a feature map of C channels has C bytes a pixel; some six are held.
        """
        margin, pixels = 2, [2**depth for depth in range(1, len(self.encoder) + 1)]
        for pixel in pixels:
            margin = -(-margin // pixel) * pixel + 2 * self.blocks * pixel
        margin += sum(2 * self.blocks * pixel for pixel in pixels)
        margin += 2 if self.window is None else 4
        margin = -(-margin // self.scale) * self.scale
        return ReceptiveField(margin, self.scale, 6 * self.widths[0] * frames)

    def forward(self, video: Tensor, sigma: Tensor | float, *measured: Tensor) -> Tensor:
        t, h, w = video.shape[1:]
        levels = frame_levels(sigma, video)
        features, kept = self._enter(video, levels, measured), []
        for depth, scale in enumerate(self.encoder):
            if depth:
                kept.append(features)
                features = self.down[depth - 1](features).relu_()
            features = scale(features, t)
        for depth in reversed(range(len(self.decoder))):
            features = self.decoder[depth](features, t)
            if depth:
                features = self._rise(depth - 1, features, kept.pop())
        noise = levels * F.pixel_shuffle(self.tail(features), 2)
        return video - noise[..., :h, :w].reshape(video.shape)

    def _enter(self, video: Tensor, levels: Tensor, measured: tuple[Tensor, ...]) -> Tensor:
        """The first features of every frame, `(B T, C, H/2, W/2)`."""
        seen = torch.stack((video, *(m - video for m in measured)), dim=2).flatten(0, 1)
        small = F.pixel_unshuffle(pad_to_multiple(seen, self.scale), 2)
        small = small.contiguous(memory_format=torch.channels_last)
        del seen  # large films have no room for what is not needed
        noise_map = levels.expand(-1, -1, *small.shape[-2:])
        others = around(small[:, :4].unflatten(0, (-1, video.shape[1])), self.reach)
        parts = (small[:, :4], noise_map, small[:, 4:], *(o.flatten(0, 1) for o in others))
        chunk = frames_at_once(small)
        chunks = zip(*(part.split(chunk) for part in parts), strict=True)
        return joined(map(self._head, chunks), len(small))

    def _rise(self, depth: int, features: Tensor, beside: Tensor) -> Tensor:
        """One scale up, added to what was kept there; without gradients it is written into that."""
        if torch.is_grad_enabled():
            return F.pixel_shuffle(self.up[depth](features), 2) + beside
        chunk = frames_at_once(beside)
        for part, coarse in zip(beside.split(chunk), features.split(chunk), strict=True):
            part.add_(F.pixel_shuffle(self.up[depth](coarse), 2))
        return beside

    def _head(self, parts: tuple[Tensor, ...]) -> Tensor:
        entering = torch.cat(parts, dim=1).contiguous(memory_format=torch.channels_last)
        features: Tensor = self.head(entering).relu_()
        return features if self.window is None else features + self.window(entering)


def _see_more(weight: Tensor, channels: int, grown: Denoiser, learned: Denoiser) -> Tensor:
    """The weights of a layer that sees what entered one network, for one that sees more."""
    before, after = (5 + 8 * network.uses_measurement for network in (learned, grown))
    added = channels - weight.shape[1] - (after - before)
    if after < before or added < 0:
        raise RuntimeError("the other network sees more")
    inner = F.pad(weight[:, :before], (0, 0, 0, 0, 0, after - before))
    return torch.cat((inner, F.pad(weight[:, before:], (0, 0, 0, 0, 0, added))), dim=1)


def _widened(
    name: str, weight: Tensor, own: Tensor, before: tuple[int, ...], widths: tuple[int, ...]
) -> Tensor:
    """A layer's weights among those of a wider layer, which keeps its others.

    Args:
        name: of the parameter.
        weight: that of the narrower layer.
        own: that of the wider one.
        before: channels at each scale of the narrower network.
        widths: the same of the wider one.
    """

    def places(scale: int | None, channels: int) -> Tensor:
        """Where a layer's channels go, which may be features of a scale, or four of each."""
        if scale is None:
            return torch.arange(channels)
        moved = _kept_places(before[scale], widths[scale])
        each = channels // len(moved)
        return (moved[:, None] * each + torch.arange(each)).flatten()

    added_to, heard = _ends(name)
    out = places(added_to, len(weight))
    wider = own.clone()
    if weight.ndim == 1:
        wider[out] = weight
        return wider
    entering = places(heard, weight.shape[1])
    wider[out] = 0
    wider[out[:, None], entering] = weight
    return wider


def _ends(name: str) -> tuple[int | None, int | None]:
    """The scales whose features a layer adds to and hears; None where the channels are its own."""
    match name.split("."):
        case ["down", depth, _]:
            return int(depth) + 1, int(depth)
        case ["up", depth, _]:
            return int(depth), int(depth) + 1
        case ["head", _] | ["window", "outer", _]:
            return 0, None
        case ["tail", _]:
            return None, 0
        case [_, depth, "blocks", _, "inner", _]:
            return None, int(depth)
        case [_, depth, "blocks", _, "outer", _]:
            return int(depth), None
    return None, None


def _kept_places(narrow: int, wide: int) -> Tensor:
    """Where the features of a narrower scale stand in a wider one: those that are shifted, too."""
    parts = zip(_shares(narrow), torch.arange(wide).split(_shares(wide)), strict=True)
    return torch.cat([places[:share] for share, places in parts])
