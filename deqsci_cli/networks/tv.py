"""`tv`: total-variation denoising, the baseline that needs no weights."""

from __future__ import annotations

import torch
from torch import Tensor

from deqsci_cli.networks.denoiser import FrameDenoiser, ReceptiveField, check_least


def _divergence(p: Tensor, q: Tensor) -> Tensor:
    """Minus the adjoint of forward differences, `(N, H, W)`.

    Args:
        p: differences down the rows, `(N, H-1, W)`.
        q: differences along the columns, `(N, H, W-1)`.
    """
    out = p.new_empty(p.shape[0], p.shape[1] + 1, p.shape[2])
    out[:, :-1] = p
    out[:, -1] = 0
    out[:, 1:] -= p
    out[:, :, :-1] += q
    out[:, :, 1:] -= q
    return out


class TotalVariation(FrameDenoiser):
    """Proximal map of `weight * sigma * TV`, by fast gradient projection on the dual.

    Anisotropic TV, each frame by itself, a fixed number of steps from zero, so that it is a
    deterministic map of its input.
    Source: Beck & Teboulle, IEEE TIP 18 (2009) 2419; as GAP-TV: Yuan, arXiv 1511.03890.

    Args:
        iterations: dual steps.
        weight: strength of the prior at sigma = 1.
    """

    def __init__(self, iterations: int = 8, weight: float = 1.0):
        super().__init__()
        check_least(1, iterations=iterations)
        check_least(0, weight=weight)
        self.iterations = iterations
        self.weight = weight

    def denoise(self, frames: Tensor, sigma: Tensor) -> Tensor:
        x = frames[:, 0]
        bound = self.weight * sigma[:, 0]
        p, q = torch.zeros_like(x[:, 1:]), torch.zeros_like(x[:, :, 1:])
        p_fast, q_fast, u, t = p, q, x, 1.0
        for step in range(1, self.iterations + 1):
            # 8 bounds the squared norm of the difference operator in two dimensions
            p_new = (u[:, 1:] - u[:, :-1]).div_(8).add_(p_fast)
            q_new = (u[:, :, 1:] - u[:, :, :-1]).div_(8).add_(q_fast)
            for dual in (p_new, q_new):  # a fifth of the time of clamp_(-bound, bound)
                dual.clamp_min_(-bound).clamp_max_(bound)
            t_new = (1 + (1 + 4 * t * t) ** 0.5) / 2
            momentum = (t - 1) / t_new if step < self.iterations else 0.0
            if momentum:
                p_fast = (p_new - p).mul_(momentum).add_(p_new)
                q_fast = (q_new - q).mul_(momentum).add_(q_new)
            else:
                p_fast, q_fast = p_new, q_new
            p, q, t = p_new, q_new, t_new
            u = x + _divergence(p_fast, q_fast)
        return u.unsqueeze(1)

    def receptive_field(self, frames: int) -> ReceptiveField:
        # One difference and its adjoint a step; about a dozen numbers a pixel are held.
        return ReceptiveField(self.iterations + 1, 1, 48)
