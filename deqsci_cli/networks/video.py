"""`video`: a U-Net that sees all frames, each through its neighbours' features."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from deqsci_cli.networks.denoiser import Denoiser, convolution, frame_levels


def shift_in_time(features: Tensor, frames: int) -> Tensor:
    """An eighth of the channels from the frame before, an eighth from the one after.

    Source: Lin et al., Temporal Shift Module, ICCV 2019. Frames at the ends stand in for those
    that are missing.

    Args:
        features: `(B T, C, H, W)`.
        frames: T.
    """
    film = features.permute(0, 2, 3, 1).unflatten(0, (-1, frames))
    share = max(1, film.shape[-1] // 8)
    shifted = film.clone()
    shifted[:, 1:, ..., :share] = film[:, :-1, ..., :share]
    shifted[:, :-1, ..., share : 2 * share] = film[:, 1:, ..., share : 2 * share]
    return shifted.flatten(0, 1).permute(0, 3, 1, 2)


class _Block(nn.Module):
    """Two convolutions beside a shortcut, the first of which sees the neighbours in time."""

    def __init__(self, channels: int):
        super().__init__()
        self.inner = convolution(channels, channels)
        self.outer = convolution(channels, channels, gain=0.1)  # it starts near the identity

    def forward(self, features: Tensor, frames: int) -> Tensor:
        seen = shift_in_time(features, frames)
        answer: Tensor = self.outer(self.inner(seen).relu_()).add_(features)
        return answer


class _Scale(nn.Module):
    """The blocks of one scale, on one way."""

    def __init__(self, channels: int, blocks: int):
        super().__init__()
        self.blocks = nn.ModuleList(_Block(channels) for _ in range(blocks))

    def forward(self, features: Tensor, frames: int) -> Tensor:
        for block in self.blocks:
            features = block(features, frames)
        return features


class VideoUNet(Denoiser):
    """`D(x) = x - sigma n(x)`, n a U-Net from half resolution on, over all frames of a film.

    Space is convolved, time comes in by shifted channels, which cost next to nothing. sigma is a
    channel of its own. Any number of frames, any size.
    Sources: U-Net, arXiv 1505.04597; FFDNet's half resolution and noise map, arXiv 1710.04026;
    shifts for video denoising, Qi et al., ACM Multimedia 2022.

    Args:
        widths: channels at each scale, each half of the one before.
        blocks: at each scale, on the way down and again on the way up.
        measurement: also sees the normalised measurement, and what it leaves for a frame when the
            other frames are taken out.
    """

    def __init__(
        self,
        widths: tuple[int, ...] = (32, 64, 128),
        blocks: int = 1,
        measurement: bool = False,
    ):
        super().__init__()
        self.scale = 2 ** len(widths)
        self.sees_measurement = measurement
        self.enter = convolution(13 if measurement else 5, widths[0])
        scales = list(pairwise(widths))
        self.down = nn.ModuleList(convolution(wide, deep, 2, stride=2) for wide, deep in scales)
        self.up = nn.ModuleList(convolution(deep, 4 * wide, 1) for wide, deep in scales)
        self.falling = nn.ModuleList(_Scale(width, blocks) for width in widths)
        self.rising = nn.ModuleList(_Scale(width, blocks) for width in widths)
        self.leave = convolution(widths[0], 4, gain=0.1)

    def begin_as(self, other: Denoiser) -> None:
        """Do what another does, which may have fewer blocks and not see the measurement."""
        learned = other.state_dict()
        grown = dict(learned)
        for name, own in self.state_dict().items():
            if name not in learned:  # a further block, which adds nothing as yet
                grown[name] = torch.zeros_like(own) if ".outer." in name else own
            elif name == "enter.weight" and self.sees_measurement and not other.sees_measurement:
                grown[name] = torch.zeros_like(own)
                grown[name][:, : learned[name].shape[1]] = learned[name]
        self.load_state_dict(grown)

    def forward(self, video: Tensor, sigma: Tensor | float, *measured: Tensor) -> Tensor:
        t, h, w = video.shape[1:]
        levels = frame_levels(sigma, video)
        seen = torch.stack((video, *(m - video for m in measured)), dim=2).flatten(0, 1)
        padded = F.pad(seen, (0, -w % self.scale, 0, -h % self.scale), mode="replicate")
        small = F.pixel_unshuffle(padded, 2)
        noise_map = levels.expand(-1, -1, *small.shape[-2:])
        small = torch.cat((small[:, :4], noise_map, small[:, 4:]), dim=1)
        small = small.contiguous(memory_format=torch.channels_last)
        features, kept = self.enter(small).relu_(), []
        for depth, falling in enumerate(self.falling):
            if depth:
                kept.append(features)
                features = self.down[depth - 1](features).relu_()
            features = falling(features, t)
        for depth in reversed(range(len(self.rising))):
            features = self.rising[depth](features, t)
            if depth:
                features = F.pixel_shuffle(self.up[depth - 1](features), 2) + kept.pop()
        noise = levels * F.pixel_shuffle(self.leave(features), 2)
        return video - noise[..., :h, :w].reshape(video.shape)
