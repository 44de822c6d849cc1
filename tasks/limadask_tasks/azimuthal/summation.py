"""Integration by this package's own kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limadask.frames import Spec
from limadask_tasks.azimuthal.band import Band
from limadask_tasks.azimuthal.matrix import Pixels


class Summation:
    """Integrates frames band by band, without the GIL; several threads share it.

    Parameters
    ----------
    bands:
        How each band is integrated; one for all where they are alike.
    numbers:
        How many bins there are, the radial ones last.
    """

    def __init__(self, bands: Sequence[Band], numbers: tuple[int, ...]) -> None:
        self._bands, self._numbers = bands, numbers

    def __call__(self, pixels: Pixels) -> NDArray[np.float32]:
        """Return a table ``(frame, band, …, variable)``."""
        curves = [
            self._bands[number % len(self._bands)].curves(pixels, number)
            for number in range(pixels.shape[1])
        ]
        table = np.stack(curves, axis=1)
        # pyFAI counts its bins along the azimuth first
        shape = *table.shape[:2], *reversed(self._numbers), table.shape[-1]
        return np.swapaxes(table.reshape(shape), 2, -2)

    def lacking(self, spec: Spec) -> Summation:
        """Return the same for frames that lack pixels, on the same bins."""
        masked: NDArray[Any] = np.zeros((1, 1), bool) if spec.masked is None else spec.masked
        stack = masked.reshape(-1, masked.shape[-2] * masked.shape[-1])
        count = max(len(self._bands), len(stack))
        bands = [
            self._bands[number % len(self._bands)].without(stack[number % len(stack)])
            for number in range(count)
        ]
        return Summation(bands, self._numbers)
