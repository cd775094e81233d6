"""What every network here is: a denoiser, called as `D(video, sigma)` or with the measurement."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from deqsci_cli.errors import UsageError
from deqsci_cli.networks.symmetry import Symmetry

# Pixels of one chunk on a CPU: 64 float32 channels of it (16 MiB) stay near the cache, which is
# worth a third of the time over all frames at once (benchmarks/README.md).
CPU_CHUNK_PIXELS = 256 * 256


def check_least(least: int, **options: float) -> None:
    """Refuse options of an architecture that lie below what they may be.

    Raises:
        UsageError: naming the first of them.
    """
    for name, value in options.items():
        if not value >= least:
            raise UsageError(f"{name} must be at least {least}, not {value}")


def initialise(layers: nn.ModuleList) -> None:
    """Hidden layers start near the identity, the last one small: the network starts as `D(x) = x`.

    He initialisation, at 0.3 of its strength plus a Dirac kernel where a layer is as wide as
    its input. A deep network without shortcuts learns two to four times faster from there
    than from He initialisation alone (benchmarks/README.md).
    Sources: He et al., arXiv 1502.01852; Zagoruyko & Komodakis, arXiv 1706.00388.
    """
    for name, parameter in layers.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
            continue
        nn.init.kaiming_normal_(parameter, nonlinearity="relu")
        if parameter.shape[0] == parameter.shape[1]:
            identity = nn.init.dirac_(torch.empty_like(parameter))
            parameter.data.mul_(0.3).add_(identity)
    layers.get_parameter(f"{len(layers) - 1}.weight").data.mul_(0.1)


def convolution(
    in_channels: int, out_channels: int, size: int = 3, *, stride: int = 1, gain: float = 1.0
) -> nn.Conv2d:
    """A convolution that keeps the size (at stride 1), by He, its weights times `gain`."""
    layer = nn.Conv2d(in_channels, out_channels, size, stride, padding=(size - 1) // 2)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    layer.weight.data.mul_(gain)
    layer.get_parameter("bias").data.zero_()
    return layer


@dataclass(frozen=True)
class ReceptiveField:
    """How much of a film a network must see for a part of its answer, and what that takes.

    Attributes:
        margin: pixels around a part, beyond which nothing counts; a multiple of `stride`.
        stride: a part that starts at a multiple of it is sampled as the whole picture is.
        bytes: of the features that are held at once, for each pixel of a picture (of all frames
            that are held together).
    """

    margin: int
    stride: int
    bytes: int


class Denoiser(nn.Module):
    """A module called as `D(video, sigma)`, videos `(B, T, H, W)`.

    One that uses the measurement too is called as
    `D(video, sigma, normalized_measurement, per_frame_residual)`, with what the methods of these
    names of `physics.protocol.Physics` give for the video.
    """

    uses_measurement = False

    if TYPE_CHECKING:  # the inherited one gives Any

        def __call__(self, video: Tensor, sigma: Tensor | float, *measured: Tensor) -> Tensor: ...

    def receptive_field(self, frames: int) -> ReceptiveField | None:
        """How far the answer to a film of so many frames looks; None where that is not known."""
        return None

    def turned(
        self,
        symmetry: Symmetry,
        total: Tensor | None,
        video: Tensor,
        sigma: Tensor | float,
        *measured: Tensor,
    ) -> Tensor:
        """The answer to the turned film, turned back; added to a total, if one is given.

        The total must not be used any more.
        """
        seen = [symmetry.of(v) for v in (video, *measured)]
        answer = symmetry.back(self(seen[0], sigma, *seen[1:]))
        return answer if total is None else total + answer

    def load_weights_from(self, other: Denoiser) -> None:
        """Take over the weights of another one of its kind, to be trained from there.

        Raises:
            RuntimeError: they do not fit.
        """
        self.load_state_dict(other.state_dict())


@dataclass(frozen=True)
class Coarse:
    """The same network in a precision that is faster.

    Attributes:
        network: it.
        tol: its rounding keeps residuals from falling much below this.
    """

    network: Denoiser
    tol: float


#: anything called as `D(video, sigma)`
DenoiserLike = Callable[..., Tensor]


class _Called(Denoiser):
    """A callable that is no `Denoiser`, as one."""

    def __init__(self, function: DenoiserLike):
        super().__init__()
        self.function = function
        self.uses_measurement = bool(getattr(function, "uses_measurement", False))

    def forward(self, video: Tensor, sigma: Tensor | float, *measured: Tensor) -> Tensor:
        answer = self.function(video, sigma, *measured)
        if answer.shape != video.shape:
            raise UsageError(
                f"the denoiser made {tuple(answer.shape)} of a video {tuple(video.shape)}",
                hint="a denoiser of single frames is given video.flatten(0, 1)",
            )
        return answer


def as_denoiser(function: DenoiserLike) -> Denoiser:
    """Any callable `D(video, sigma)` as a denoiser; a `Denoiser` is returned as it is."""
    return function if isinstance(function, Denoiser) else _Called(function)


def frames_at_once(frames: Tensor) -> int:
    """How many of the frames `(N, C, H, W)` a network had best be run on at once."""
    if frames.device.type != "cpu" or torch.is_grad_enabled():
        return len(frames)
    return max(1, CPU_CHUNK_PIXELS // (frames.shape[-2] * frames.shape[-1]))


def joined(parts: Iterable[Tensor], count: int) -> Tensor:
    """Parts `(n, C, H, W)` one after the other, `count` in all; none is held besides the whole."""
    whole: Tensor | None = None
    start = 0
    for part in parts:
        if len(part) == count:
            return part
        if whole is None:
            dense = torch.channels_last if part.shape[1] > 1 else torch.contiguous_format
            size, kind, device = (count, *part.shape[1:]), part.dtype, part.device
            whole = torch.empty(size, dtype=kind, device=device, memory_format=dense)
        whole[start : start + len(part)] = part
        start += len(part)
    assert whole is not None
    return whole


def frame_levels(sigma: Tensor | float, video: Tensor) -> Tensor:
    """One noise level, or one a sample `(B,)`, for each frame of videos: `(B T, 1, 1, 1)`."""
    b, t = video.shape[:2]
    levels = torch.as_tensor(sigma, dtype=video.dtype, device=video.device)
    return levels.reshape(-1, 1).expand(b, t).reshape(b * t, 1, 1, 1)


class FrameDenoiser(Denoiser):
    """A denoiser that treats the frames of a video one by one.

    Sub-classes write `denoise(frames, sigma)` for frames `(N, 1, H, W)` and `sigma` `(N, 1, 1, 1)`.
    """

    def denoise(self, frames: Tensor, sigma: Tensor) -> Tensor:
        raise TypeError(f"{type(self).__name__} has no denoise()")

    def forward(self, video: Tensor, sigma: Tensor | float) -> Tensor:
        """Denoise a batch of videos.

        Args:
            video: `(B, T, H, W)`, intensities in [0, 1].
            sigma: standard deviation of the noise in the same units, one number or one a
                sample `(B,)`.

        Returns:
            The denoised video, `(B, T, H, W)`.
        """
        b, t, h, w = video.shape
        frames = video.reshape(b * t, 1, h, w)
        levels = frame_levels(sigma, video)
        chunk = frames_at_once(frames)
        pairs = zip(frames.split(chunk), levels.split(chunk), strict=True)
        return joined((self.denoise(f, s) for f, s in pairs), b * t).view_as(video)


def pad_to_multiple(pictures: Tensor, factor: int) -> Tensor:
    """Pictures `(B, C, H, W)` whose sizes are multiples of `factor`: the last pixels repeated."""
    height, width = (-length % factor for length in pictures.shape[-2:])
    if not (height or width):
        return pictures
    return F.pad(pictures, (0, width, 0, height), mode="replicate")
