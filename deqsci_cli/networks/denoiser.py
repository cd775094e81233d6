"""What every denoiser here is: a module called as `D(video, sigma)`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Pixels of one chunk on a CPU: 64 float32 channels of it (16 MiB) stay near the cache, which is
# worth a third of the time over all frames at once (benchmarks/README.md).
CPU_CHUNK_PIXELS = 256 * 256


def initialise(layers: nn.ModuleList) -> None:
    """He initialisation; the last layer starts small, so that the network starts as the identity.

    PyTorch's own default loses a factor of 2.4 a layer, a millionfold over FFDNet's fifteen.
    Source: He et al., arXiv 1502.01852.
    """
    for name, parameter in layers.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        else:
            nn.init.kaiming_normal_(parameter, nonlinearity="relu")
    with torch.no_grad():
        layers.get_parameter(f"{len(layers) - 1}.weight").mul_(0.1)


class FrameDenoiser(nn.Module):
    """A denoiser that treats the frames of a video one by one.

    Sub-classes write `denoise(frames, sigma)` for frames `(N, 1, H, W)` and `sigma` `(N, 1, 1, 1)`.
    """

    #: whether the answer depends on `sigma`; a blind denoiser has the level it was trained for
    uses_sigma = True

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
        levels = torch.as_tensor(sigma, dtype=video.dtype, device=video.device)
        levels = levels.reshape(-1, 1).expand(b, t).reshape(b * t, 1, 1, 1)
        chunk = b * t
        if video.device.type == "cpu" and not torch.is_grad_enabled():
            chunk = max(1, CPU_CHUNK_PIXELS // (h * w))
        parts = [
            self.denoise(f, s)
            for f, s in zip(frames.split(chunk), levels.split(chunk), strict=True)
        ]
        return torch.cat(parts).reshape(b, t, h, w) if len(parts) > 1 else parts[0].view_as(video)
