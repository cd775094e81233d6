"""`rnn`: the bidirectional recurrent network of DE-RNN, which sees all frames of a capture."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

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
from deqsci_cli.networks.ffdnet import FFDNet


class _Cell(nn.Module):
    """One recurrent step: features and state come in together, and leave renewed."""

    def __init__(self, features: int, state: int, blocks: int):
        super().__init__()
        width = features + state
        self.split = (features, state)
        self.inner = nn.ModuleList(convolution(width, width) for _ in range(blocks))
        # Small, so that the blocks start as the identity.
        self.outer = nn.ModuleList(convolution(width, width, gain=0.1) for _ in range(blocks))
        self.last = convolution(width, width)

    def forward(self, features: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        joint = torch.cat((features, state), dim=1)
        for inner, outer in zip(self.inner, self.outer, strict=True):
            joint = joint + outer(inner(joint).relu_())
        renewed = self.last(joint).relu_()
        features, state = renewed.split(self.split, dim=1)
        return features, state


class BidirectionalRNN(Denoiser):
    """A frame denoiser, and a recurrent network that passes over its answers forward and backward.

    `R(x) = D(x) - sigma n(x)`, of which `D` knows what pictures look like and `n` what the other
    frames and the measurement tell: each frame is seen with `D` of it, with the normalised
    measurement, with what the measurement leaves for it when the other frames are taken out,
    and with sigma. All of it is at half resolution. The backward pass starts from the forward
    one's last state. Any number of frames, any size. A new network is its frame denoiser.
    Sources: DE-RNN, arXiv 2201.06931; BIRNAT, Cheng et al., ECCV 2020.

    Args:
        features: width of a frame's features.
        state: width of the hidden state.
        blocks: residual blocks of two convolutions in a cell.
        channels, depth: of the frame denoiser, an FFDNet.
    """

    uses_measurement = True

    def __init__(
        self,
        features: int = 24,
        state: int = 24,
        blocks: int = 4,
        channels: int = 64,
        depth: int = 15,
    ):
        super().__init__()
        check_least(1, features=features, state=state, blocks=blocks)
        width = features + state
        self.state = state
        self.frames = FFDNet(channels, depth)
        self.head = nn.ModuleList((convolution(17, width), convolution(width, features)))
        self.forwards = _Cell(features, state, blocks)
        self.backwards = _Cell(features, state, blocks)
        self.tail = nn.ModuleList(
            (convolution(features + features, width), convolution(width, 4, gain=0.0))
        )

    def forward(
        self,
        video: Tensor,
        sigma: Tensor | float,
        normalized_measurement: Tensor,
        per_frame_residual: Tensor,
    ) -> Tensor:
        h, w = video.shape[-2:]
        # An odd size gets one more row or column, taken off at the end.
        video, normalized_measurement, per_frame_residual = (
            pad_to_multiple(v, 2) for v in (video, normalized_measurement, per_frame_residual)
        )
        b, t = video.shape[:2]
        alone = self.frames(video, sigma)
        seen = torch.stack(
            (video, normalized_measurement - video, per_frame_residual, alone), dim=2
        ).flatten(0, 1)
        levels = frame_levels(sigma, video)
        chunk = frames_at_once(seen)
        parts = zip(seen.split(chunk), levels.split(chunk), strict=True)
        entered = joined((self._head(*part) for part in parts), b * t)
        frames = list(entered.view(b, t, *entered.shape[1:]).unbind(1))
        state = frames[0].new_zeros(b, self.state, *entered.shape[-2:])
        for times, cell in ((range(t), self.forwards), (reversed(range(t)), self.backwards)):
            for time in times:
                frames[time], state = cell(frames[time], state)
        passed = torch.stack(frames, dim=1).flatten(0, 1)
        both = zip(passed.split(chunk), entered.split(chunk), strict=True)
        noise = joined((self._tail(torch.cat(pair, dim=1)) for pair in both), b * t)
        answer: Tensor = alone - (levels * noise).view_as(alone)
        return answer[..., :h, :w]

    def receptive_field(self, frames: int) -> ReceptiveField:
        """The frame denoiser's, and 18 pixels for what the frames pass on to each other.

        In principle each of 2 T steps carries 18 pixels on (9 convolutions at half resolution), but
        what comes from far fades. Measured on held-out clips, what lies beyond 32 / 40 / 48 pixels
        changes an answer by at most 2e-6 / 1.2e-7 / 1.2e-7 of white at T = 8.
        """
        margin = self.frames.receptive_field(frames).margin + 18
        return ReceptiveField(margin, 2, 200 * frames)

    def _head(self, seen: Tensor, sigma: Tensor) -> Tensor:
        first, second = self.head
        small = F.pixel_unshuffle(seen, 2)
        level = sigma.expand(-1, -1, *small.shape[-2:])
        small = torch.cat((small, level), dim=1).contiguous(memory_format=torch.channels_last)
        features: Tensor = second(first(small).relu_())
        return features.relu_()

    def _tail(self, features: Tensor) -> Tensor:
        first, second = self.tail
        return F.pixel_shuffle(second(first(features).relu_()), 2)
