"""Compiled loops of correlations in time: no GIL."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]
_compiled = njit(nogil=True, cache=True, error_model="numpy")


@_compiled
def correlate(
    image: Array, regions: Array, ring: Array, sums: Array, there: Array, position: int, first: int,
    products: Array, past: Array, future: Array, times: Array,
) -> None:  # fmt: skip
    """Multiply an image with those before it, delays ``first ≤ k < channels``, and keep it.

    ``image`` is ``(pixel,)``, ``regions`` tells the region of each; ``ring`` is
    ``(channel, pixel)`` with the last images, ``sums`` ``(channel, region)`` their sums, and
    ``there`` ``(channel,)`` whether they are there; this one goes to ``position``. What is added
    up, ``(channel, region)``: products, and the sums of earlier and later images; ``times`` counts.
    """
    channels = ring.shape[0]
    ring[position] = image
    sums[position] = 0
    for i in range(image.size):
        sums[position, regions[i]] += image[i]
    there[position] = True
    for k in range(first, channels):
        other = (position - k) % channels
        if not there[other]:
            continue
        total = np.zeros(products.shape[1])
        before = ring[other]
        for i in range(image.size):
            total[regions[i]] += image[i] * before[i]
        products[k] += total
        past[k] += sums[other]
        future[k] += sums[position]
        times[k] += 1
