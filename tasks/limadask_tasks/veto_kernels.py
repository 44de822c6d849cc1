"""Compiled loops of vetoes: no GIL; blocks as in :mod:`limadask_tasks.kernels`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]
_compiled = njit(nogil=True, cache=True, error_model="numpy")


@_compiled
def intensity(pixels: Array, runs: Array, band: int, table: Array) -> None:
    """Add the pixels of a band to the sum, the count and the maximum of each frame.

    ``runs`` as in :func:`limadask_tasks.kernels.statistics`; ``table`` is ``(frame, 3)``. NaN is
    left out.
    """
    size = pixels.shape[2] * pixels.shape[3]
    for f in range(pixels.shape[0]):
        image = pixels[f, band].reshape(size)
        total, count, high = 0.0, 0, -np.inf
        for k in range(runs.shape[0]):
            for i in range(runs[k, 1], runs[k, 2]):
                v = float(image[i])
                if v == v:
                    total += v
                    count += 1
                    high = max(high, v)
        table[f, 0] += total
        table[f, 1] += count
        table[f, 2] = max(table[f, 2], high)
