"""Compiled loops that take frames into what is known of a whole run: no GIL.

Blocks are C-contiguous ``(frame, band, y, x)``, results ``(band, pixel)``; ``masked`` is
``(band or 1, pixel)``, or ``(0, 0)`` where no pixel is. Some pixels are taken from all frames
before the next ones, so that their results stay in the cache.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]
SOME = 4096
_compiled = njit(nogil=True, cache=True, error_model="numpy")


@_compiled
def add(pixels: Array, masked: Array, total: Array) -> None:
    """Add up."""
    size = total.shape[1]
    for b in range(pixels.shape[1]):
        for start in range(0, size, SOME):
            stop = min(start + SOME, size)
            for f in range(pixels.shape[0]):
                source = pixels[f, b].reshape(size)
                if masked.shape[0]:
                    m = masked[b % masked.shape[0]]
                    for i in range(start, stop):
                        if not m[i]:
                            total[b, i] += source[i]
                else:
                    for i in range(start, stop):
                        total[b, i] += source[i]


@_compiled
def spread(
    pixels: Array, masked: Array, count: int, missing: Array, mean: Array, squares: Array
) -> None:
    """Take frames into means and sums of squared differences from them.

    ``count`` frames are in them already; ``missing`` tells how many of these each pixel lacks,
    ``(0, 0)`` where none does. B. P. Welford, Technometrics 4 (1962) 419.
    """
    size = mean.shape[1]
    for b in range(pixels.shape[1]):
        for start in range(0, size, SOME):
            stop = min(start + SOME, size)
            for f in range(pixels.shape[0]):
                source, number = pixels[f, b].reshape(size), count + f + 1
                if masked.shape[0] or missing.shape[0]:
                    for i in range(start, stop):
                        if masked.shape[0] and masked[b % masked.shape[0], i]:
                            continue
                        there = number - (missing[b, i] if missing.shape[0] else 0)
                        difference = source[i] - mean[b, i]
                        mean[b, i] += difference / there
                        squares[b, i] += difference * (source[i] - mean[b, i])
                else:
                    part = 1.0 / number
                    for i in range(start, stop):
                        difference = source[i] - mean[b, i]
                        mean[b, i] += difference * part
                        squares[b, i] += difference * (source[i] - mean[b, i])


@_compiled
def highest(pixels: Array, masked: Array, top: Array) -> None:
    """Keep the highest; NaN is left out."""
    size = top.shape[1]
    for b in range(pixels.shape[1]):
        for start in range(0, size, SOME):
            stop = min(start + SOME, size)
            for f in range(pixels.shape[0]):
                source = pixels[f, b].reshape(size)
                if masked.shape[0]:
                    m = masked[b % masked.shape[0]]
                    for i in range(start, stop):
                        if not m[i] and source[i] > top[b, i]:
                            top[b, i] = source[i]
                else:
                    for i in range(start, stop):
                        top[b, i] = source[i] if source[i] > top[b, i] else top[b, i]


@_compiled
def fill_bins(pixels: Array, masked: Array, low: float, width: float, counts: Array) -> None:
    """Count values in bins, shape ``(band, bin + 2)``: the first is below all, the last above.

    The upper edge belongs to the last bin; NaN is left out.
    """
    size, bins = pixels.shape[2] * pixels.shape[3], counts.shape[1] - 2
    high = low + width * bins
    for f in range(pixels.shape[0]):
        for b in range(pixels.shape[1]):
            source = pixels[f, b].reshape(size)
            for i in range(size):
                if masked.shape[0] and masked[b % masked.shape[0], i]:
                    continue
                value = float(source[i])
                if value < low:
                    counts[b, 0] += 1
                elif value > high:
                    counts[b, bins + 1] += 1
                elif value >= low:  # not NaN
                    counts[b, min(int((value - low) / width), bins - 1) + 1] += 1


def no_mask() -> NDArray[np.bool_]:
    """Return what stands for no masked pixel."""
    return np.zeros((0, 0), bool)
