"""Compiled loops that put pixels into bins: no GIL; blocks as in :mod:`limadask_tasks.kernels`.

``sums`` is ``(frame, 2, bin + 2)``, float64: of each bin the sum of the values and, with
``variance``, that of their variances, which are the values themselves, but at least ``least``. The
last two bins take pixels that belong nowhere, so that no loop has a branch for them. With
``checks``, pixels that are NaN, infinite, or within ``delta`` of ``dummy`` are left out, and
counted in ``unusable``, ``(frame,)``, where they belong to a bin.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]
_compiled = njit(nogil=True, cache=True, error_model="numpy")


@_compiled
def is_usable(value: Any, dummy: Any, delta: Any) -> Any:
    """Tell whether a value is finite and no dummy, in float32 as pyFAI does; NaN: no dummy."""
    single = np.float32(value)
    return np.isfinite(single) and not abs(single - dummy) <= delta


@_compiled
def scatter(
    pixels: Array, band: int, bins: Array, least: float, variance: bool, checks: bool,
    dummy: Any, delta: Any, sums: Array, unusable: Array,
) -> None:  # fmt: skip
    """Add each pixel to one bin."""
    nowhere = sums.shape[2] - 2
    for f in range(pixels.shape[0]):
        image, total, spread = pixels[f, band].reshape(bins.size), sums[f, 0], sums[f, 1]
        if not checks:  # loops of their own: a fifth faster
            for j in range(bins.size if variance else 0):
                value, i = float(image[j]), bins[j]
                total[i] += value
                spread[i] += max(value, least)
            for j in range(0 if variance else bins.size):
                total[bins[j]] += float(image[j])
            continue
        for j in range(bins.size):
            i = bins[j]
            if not is_usable(image[j], dummy, delta):
                unusable[f] += i < nowhere
                continue
            value = float(image[j])
            total[i] += value
            if variance:
                spread[i] += max(value, least)


@_compiled
def scatter_pairs(
    pixels: Array, band: int, bins: Array, shares: Array, least: float, variance: bool,
    checks: bool, dummy: Any, delta: Any, sums: Array, unusable: Array,
) -> None:  # fmt: skip
    """Add a share of each pixel to one bin, and the rest of it to the next."""
    nowhere = sums.shape[2] - 2
    for f in range(pixels.shape[0]):
        image, total, spread = pixels[f, band].reshape(bins.size), sums[f, 0], sums[f, 1]
        for j in range(bins.size):
            i = bins[j]
            if checks and not is_usable(image[j], dummy, delta):
                unusable[f] += i < nowhere
                continue
            value, share = float(image[j]), shares[j]
            part = share * value
            total[i] += part
            total[i + 1] += value - part
            if variance:
                value, rest = max(value, least), np.float32(1) - share
                spread[i] += share * share * value
                spread[i + 1] += rest * rest * value


@_compiled
def scatter_entries(
    pixels: Array, band: int, places: Array, bins: Array, shares: Array, least: float,
    variance: bool, checks: bool, dummy: Any, delta: Any, sums: Array, unusable: Array,
) -> None:  # fmt: skip
    """Add shares of pixels to bins, entry by entry: ``places`` are flat indices of pixels."""
    for f in range(pixels.shape[0]):
        image, total, spread = pixels[f, band].reshape(-1), sums[f, 0], sums[f, 1]
        for k in range(places.size):
            pixel = image[places[k]]
            if checks and not is_usable(pixel, dummy, delta):
                unusable[f] += 1
                continue
            value, share, i = float(pixel), shares[k], bins[k]
            total[i] += share * value
            if variance:
                spread[i] += share * share * max(value, least)
