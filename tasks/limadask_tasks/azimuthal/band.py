"""The integration of one band: sums, and what they are divided by."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from limadask_tasks.azimuthal.matrix import Matrix, Pixels, Usable

COUNT = 1.0
"""pyFAI's least variance of a pixel, so that one without counts is not taken as exact."""


@dataclass(frozen=True, slots=True)
class Band:
    """Weighted means of one band's pixels, as pyFAI takes them.

    With value *v*, dark *d*, weight *w* (flat-field · solid angle · polarisation) and share *c* of
    each pixel, a bin's intensity is Σ c (v - d) / Σ c w. Its sigma, the standard error of this
    mean, is √(Σ c² max(v, 1)) / Σ c w for Poisson errors; where the dark has counts, too, it is
    √(Σ c² (max(v, 1) + d)) / Σ c w. pyFAI 2026.9 takes the former for curves, the latter for maps.

    Parameters
    ----------
    matrix:
        The bins; without masked pixels.
    weight:
        Of each pixel, flat.
    dark:
        The same; None for none.
    scale:
        What makes a pixel's value the sum of counts: more than 1 where it is a mean.
    poisson:
        Whether sigma is wanted.
    usable:
        Which values are used; None for all.
    empty:
        Value of bins without any pixel.
    dark_counts:
        Whether the dark has counts.
    norm, dark_sums:
        Σ c w, and Σ c d with Σ c² d, of each bin.
    """

    matrix: Matrix
    weight: NDArray[np.float32]
    dark: NDArray[np.float32] | None
    scale: float
    poisson: bool
    usable: Usable | None
    empty: float
    dark_counts: bool
    norm: NDArray[np.float64]
    dark_sums: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        matrix: Matrix,
        weight: NDArray[Any],
        dark: NDArray[Any] | None,
        scale: float,
        poisson: bool,
        usable: Usable | None,
        empty: float,
        dark_counts: bool,
    ) -> Self:
        """Make one, with its sums over all pixels."""
        norm, dark_sums = _constants(matrix, weight, dark, scale)
        return cls(
            matrix, weight, dark, scale, poisson, usable, empty, dark_counts, norm, dark_sums
        )

    def without(self, masked: NDArray[np.bool_]) -> Band:
        """Return the same without some pixels, given as a flat mask."""
        matrix = self.matrix.without(masked)
        norm, dark_sums = _constants(matrix, self.weight, self.dark, self.scale)
        return replace(self, matrix=matrix, norm=norm, dark_sums=dark_sums)

    def curves(self, pixels: Pixels, number: int) -> NDArray[np.float32]:
        """Return intensities, and sigmas if wanted, of a block: ``(frame, bin, 1 or 2)``.

        Parameters
        ----------
        pixels:
            The block, C-contiguous, ``(frame, band, y, x)``.
        number:
            Which of its bands this one is.
        """
        sums, unusable = self.matrix.sums(
            pixels,
            number,
            scale=self.scale,
            least=COUNT,
            variance=self.poisson,
            usable=self.usable,
        )
        curves = np.empty((len(pixels), self.matrix.nb_bins, 1 + self.poisson), np.float32)
        for frame in range(len(pixels)):
            norm, dark_sums = self.norm, self.dark_sums
            if unusable[frame]:
                norm, dark_sums = self._of_usable(pixels[frame, number])
            with np.errstate(invalid="ignore", divide="ignore"):
                curves[frame, :, 0] = (sums[frame, 0] - dark_sums[0]) / norm
                if self.poisson:
                    variance = sums[frame, 1]
                    if self.dark_counts:
                        variance = variance + dark_sums[1]
                    curves[frame, :, 1] = np.sqrt(variance) / norm
            curves[frame, norm == 0] = self.empty
        return curves

    def _of_usable(self, image: Pixels) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return what sums are divided by in a frame that has unusable pixels."""
        used = (self.usable or Usable()).of(image).ravel()
        dark = None if self.dark is None else np.where(used, self.dark, 0)
        return _constants(self.matrix, np.where(used, self.weight, 0), dark, self.scale)


def _constants(
    matrix: Matrix, weight: NDArray[Any], dark: NDArray[Any] | None, scale: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    (norm,), _ = matrix.sums(weight.reshape(1, 1, 1, -1), variance=False)
    if dark is None:
        return norm[0], np.zeros((2, matrix.nb_bins))
    (dark_sums,), _ = matrix.sums(dark.reshape(1, 1, 1, -1), scale=scale)
    return norm[0], dark_sums
