"""How good a model is at its fixed points, on the same held-out captures each time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deqsci_cli.equilibrium.maps import GAPMap
from deqsci_cli.equilibrium.model import iterate, make_map, start_state
from deqsci_cli.equilibrium.settings import EquilibriumSettings
from deqsci_cli.equilibrium.spectrum import spectrum
from deqsci_cli.errors import InputError
from deqsci_cli.io.axes import centre_crop
from deqsci_cli.networks.denoiser import Denoiser
from deqsci_cli.physics.masks import make_mask
from deqsci_cli.physics.sensing import SensingOperator
from deqsci_cli.report.metrics import psnr, ssim
from deqsci_cli.training.motion import moving_camera


class EquilibriumValidation:
    """Quality and convergence on fixed captures of held-out clips.

    Args:
        clips: arrays `(F, H, W)`, uint8. The centre of each is filmed twice, without noise: the
            clip from its first frame on, and that frame by a moving camera.
        frames: T.
        side: of the crops, pixels.
        solve: as the model will be run.
        mask: a camera's own `(T, H, W)`, at least as large as the crops; None for random binary
            ones of `frames`.
    """

    def __init__(
        self,
        clips: Sequence[np.ndarray],
        *,
        frames: int,
        side: int,
        solve: EquilibriumSettings,
        mask: np.ndarray | None = None,
    ):
        self.solve = solve
        frames = frames if mask is None else len(mask)
        self.captures = []
        for clip in (c for c in clips if len(c) >= frames):
            piece = centre_crop(clip[:frames], side).astype(np.float32) / 255
            rng = np.random.default_rng(0)
            filmed = moving_camera(piece[0], frames, min(piece.shape[1:]), 1.0, rng).clip(0, 1)
            for video in (piece, filmed):
                _, h, w = video.shape
                code = make_mask("binary", video.shape, rng) if mask is None else mask[:, :h, :w]
                self.captures.append((video, torch.from_numpy(code)))
        if not self.captures:
            raise InputError(f"no held-out clip has {frames} frames")

    def maps(self, network: Denoiser) -> Iterator[tuple[GAPMap, Tensor]]:
        """The network's map of each capture, and the true video `(1, T, H, W)`."""
        device = next(network.parameters()).device
        for piece, mask in self.captures:
            operator = SensingOperator(mask.to(device))
            video = torch.from_numpy(piece)[None].to(device)
            yield make_map(network, operator, operator.A(video), self.solve), video

    def __call__(self, network: Denoiser) -> dict[str, float]:
        """Means over the captures, and the largest spectral radius.

        `psnr` (dB), `ssim`, `evaluations`, `residual`, `converged` (share), `spectral_radius`.
        """
        network.eval()
        rows: list[dict[str, Any]] = []
        for f, truth in self.maps(network):
            with torch.no_grad():
                found = iterate(f, start_state(f, self.solve), self.solve)
            piece = truth[0].cpu().numpy()
            video = f.video(found.x)[0].cpu().numpy().clip(0, 1)
            similarity = ssim(video, piece)
            rows.append(
                {
                    "psnr": np.mean(psnr(video, piece)),
                    "ssim": np.nan if similarity is None else np.mean(similarity),
                    "evaluations": found.evaluations[0],
                    "residual": found.residual[0],
                    "converged": found.status[0] == "converged",
                    "spectral_radius": spectrum(f, found.x, steps=16)[0].spectral_radius,
                }
            )
        network.train()
        figures = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
        figures["spectral_radius"] = max(float(row["spectral_radius"]) for row in rows)
        return figures
