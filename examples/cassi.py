"""Own physics: a spectral cube from one snapshot of a CASSI camera, whose picture is wider."""

from __future__ import annotations

import numpy as np
import torch

from deqsci_cli import EquilibriumSettings, load_model, psnr
from deqsci_cli.equilibrium.model import solve
from deqsci_cli.physics.cassi import CASSI
from deqsci_cli.physics.protocol import adjoint_test

BANDS, SIDE, STEP = 8, 64, 2


def spectral_scene() -> torch.Tensor:
    """Discs of different smooth spectra on a shaded ground, `(1, L, H, W)` in [0, 1]."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    wavelength = np.linspace(0, 1, BANDS)[:, None, None]
    cube = 0.2 + 0.2 * x + 0 * wavelength
    for _ in range(7):
        (row, column), radius = rng.uniform(0.15, 0.85, 2), rng.uniform(0.08, 0.2)
        spectrum = np.exp(-(((wavelength - rng.uniform(0, 1)) / 0.3) ** 2))
        inside = (y - row) ** 2 + (x - column) ** 2 < radius**2
        cube = np.where(inside, 0.1 + 0.8 * spectrum, cube)
    return torch.from_numpy(cube).float()[None]


def main() -> None:
    truth = spectral_scene()
    mask = (np.random.default_rng(0).random((SIDE, SIDE)) < 0.5).astype(np.float32)
    camera = CASSI(torch.from_numpy(mask).expand(BANDS, -1, -1), STEP)
    measurement = camera.A(truth)
    print(f"cube {tuple(truth.shape[1:])}, measurement {tuple(measurement.shape[1:])}")
    print(f"adjoint identity: off by {adjoint_test(camera):.0e}")
    model = load_model("gap-tv")
    for r in (0.0, 1.0):
        settings = EquilibriumSettings.from_card(model.card.equilibrium, consistency_relaxation=r)
        found = solve(model.network, camera, measurement, settings)
        quality = np.mean(psnr(found.x[0].numpy().clip(0, 1), truth[0].numpy()))
        print(
            f"consistency_relaxation = {r:g}: {quality:.2f} dB, {found.status[0]} "
            f"in {found.evaluations[0]} evaluations"
        )


if __name__ == "__main__":
    main()
