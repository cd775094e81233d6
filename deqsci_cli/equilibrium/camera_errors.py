"""How sure the parameters of a camera are."""

from __future__ import annotations

import numpy as np

from deqsci_cli.equilibrium.camera_score import CameraScore

# The step of the finite differences of slopes, in units of the parameters.
_STEP = 0.1


def standard_errors(
    score: CameraScore, values: np.ndarray, units: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The standard error of each parameter, and how much the score curves in it.

    With H the curvature and S the scatter of the slope over blocks of the picture, the covariance
    of a minimum is `H^-1 S H^-1`.
    Source: White, Econometrica 50 (1982) 1.

    Args:
        score: of the captures.
        values: where it is smallest.
        units: by how much each parameter is changed for a like effect.

    Returns:
        The errors `(p,)`, infinite where the score does not curve upwards, and the second
        derivative in each parameter when all others are fitted anew, `(p,)`.
    """
    count = len(values)
    curvature = np.zeros((count, count))
    for i in range(count):
        step = np.zeros(count)
        step[i] = _STEP * units[i]
        curvature[i] = (score(values + step)[1] - score(values - step)[1]) / (2 * step[i])
    curvature = (curvature + curvature.T) / 2 * np.outer(units, units)
    slopes = score.slopes(values) * units
    scatter = len(slopes) * np.atleast_2d(np.cov(slopes.T))
    eigenvalues, vectors = np.linalg.eigh(curvature)
    floor = 1e-6 * max(float(eigenvalues[-1]), 1e-12)
    inverse = (vectors / np.maximum(eigenvalues, floor)) @ vectors.T
    variances = np.diag(inverse @ scatter @ inverse)
    # Where the score curves downwards, or not at all, nothing is known of what takes part in it.
    lost = (vectors[:, eigenvalues <= floor] ** 2).sum(1) > 0.1
    errors = np.where(lost, np.inf, np.sqrt(np.maximum(variances, 0)) * units)
    return errors, np.where(lost, 0.0, 1 / np.diag(inverse)) / units**2
