"""Rings on a detector, and pyFAI itself, for the tests of azimuthal integration."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyFAI.detectors import Detector
from pyFAI.integrator.azimuthal import AzimuthalIntegrator

PIXEL = 1e-4


def integrator(
    shape: tuple[int, int],
    dist: float = 0.05,
    centre: tuple[float, float] = (0.5, 0.5),
    rotations: tuple[float, float, float] = (0.0, 0.0, 0.0),
    orientation: int = 3,
    wavelength: float | None = 1e-10,
) -> AzimuthalIntegrator:
    """pyFAI's integrator; ``centre`` is the PONI in fractions of the image."""
    poni1, poni2 = (part * size * PIXEL for part, size in zip(centre, shape, strict=True))
    detector = Detector(PIXEL, 1.1 * PIXEL, max_shape=shape, orientation=orientation)
    rot1, rot2, rot3 = rotations
    return AzimuthalIntegrator(
        dist, poni1, 1.1 * poni2, rot1, rot2, rot3, detector=detector, wavelength=wavelength
    )


def counts(seed: int, shape: tuple[int, ...], mean: float = 20.0) -> NDArray[np.uint16]:
    """Frames of a photon-counting detector."""
    return np.random.default_rng(seed).poisson(mean, shape).astype(np.uint16)


def smooth_rings(ai: AzimuthalIntegrator, shape: tuple[int, int]) -> NDArray[np.float64]:
    """A pattern that changes little from pixel to pixel: what each pixel of the detector gets."""
    q = ai.center_array(shape, "q_nm^-1")
    span = q.max() - q.min()
    pattern = 1000 * (2 + np.sin(6 * np.pi * (q - q.min()) / span))
    return np.asarray(pattern * ai.solidAngleArray(shape))


def alike(found: Any, expected: Any, tolerance: float = 1e-5) -> None:
    """Hold against pyFAI's single-precision numbers."""
    expected = np.asarray(expected, float)
    scale = np.nanmax(np.abs(expected), initial=0)
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * scale * 1e-2)
