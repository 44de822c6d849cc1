"""Compiled loops between dense and sparse frames: no GIL, one pass over memory each."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]
STRIDE = 64
"""Pixels looked at together: most of these hold nothing."""
_compiled = njit(nogil=True, cache=True, error_model="numpy")


@_compiled
def select(
    pixels: Array, threshold: Any, masked: Array, pointers: Array, index: Array, intensity: Array
) -> int:
    """Collect the pixels above ``threshold``, and NaN; return how many there are.

    ``pixels`` are C-contiguous ``(frame, band, y, x)``, ``masked`` is ``(band or 1, pixel)`` or
    ``(0, 0)``, ``pointers`` is ``(frame · band + 1,)``; ``index`` and ``intensity`` have room for
    all pixels.
    """
    size, bands = pixels.shape[2] * pixels.shape[3], pixels.shape[1]
    count = image = 0
    pointers[0] = 0
    for f in range(pixels.shape[0]):
        for b in range(bands):
            source = pixels[f, b].reshape(size)
            for start in range(0, size, STRIDE):
                row = source[start : start + STRIDE]
                some = np.uint16(0)  # narrow, and no branch: many pixels are compared at once
                for i in range(len(row)):
                    some |= np.uint16(not row[i] <= threshold)
                if some:
                    for i in range(len(row)):
                        if not row[i] <= threshold:
                            place = start + i
                            if masked.shape[0] and masked[b % masked.shape[0], place]:
                                continue
                            index[count] = place
                            intensity[count] = row[i]
                            count += 1
            image += 1
            pointers[image] = count
    return count


@_compiled
def scatter(pointers: Array, index: Array, intensity: Array, out: Array) -> None:
    """Put pixels where they belong; ``out`` is C-contiguous ``(frame, band, y, x)``."""
    size = out.shape[2] * out.shape[3]
    images = out.reshape(out.shape[0] * out.shape[1], size)
    for image in range(images.shape[0]):
        target = images[image]
        for i in range(pointers[image], pointers[image + 1]):
            target[index[i]] = intensity[i]


@_compiled
def fill_masked(masked: Array, fill: Any, out: Array) -> None:
    """Put ``fill`` where ``masked``, shape ``(band or 1, pixel)``."""
    size = out.shape[2] * out.shape[3]
    for f in range(out.shape[0]):
        for b in range(out.shape[1]):
            target, m = out[f, b].reshape(size), masked[b % masked.shape[0]]
            for i in range(size):
                if m[i]:
                    target[i] = fill


def comparable(threshold: float, dtype: np.dtype[Any]) -> Any:
    """Return a threshold, 0 or more, in the type of the pixels: the same are above it."""
    if dtype.kind == "f":
        return dtype.type(threshold)
    return dtype.type(min(int(threshold), np.iinfo(dtype).max))  # above 2.5 is above 2


@_compiled
def pick(
    pixels: Array, place: Array, background: Array, cutoff: float, noise: float,
    pointers: Array, index: Array, intensity: Array,
) -> int:  # fmt: skip
    """Collect the pixels that stand out of their background; return how many there are.

    ``place`` is ``(band or 1, pixel)``: where a pixel lies among the radii, NaN where it is left
    out; ``background`` is ``(frame, band, radius, 2)``, mean and standard deviation.
    """
    size, bands = pixels.shape[2] * pixels.shape[3], pixels.shape[1]
    last = background.shape[2] - 1
    count = image = 0
    pointers[0] = 0
    for f in range(pixels.shape[0]):
        for b in range(bands):
            source, told = pixels[f, b].reshape(size), background[f, b]
            where = place[b % place.shape[0]]
            for i in range(size):
                at = where[i]
                if not at >= 0:  # NaN
                    continue
                low = min(int(at), last)
                high, part = min(low + 1, last), at - low
                mean = told[low, 0] + part * (told[high, 0] - told[low, 0])
                spread = told[low, 1] + part * (told[high, 1] - told[low, 1])
                if source[i] - mean > max(noise, cutoff * spread):
                    index[count] = i
                    intensity[count] = source[i]
                    count += 1
            image += 1
            pointers[image] = count
    return count


@_compiled
def spread_out(place: Array, told: Array, which: int, out: Array) -> None:
    """Put a background ``(frame, band, radius, 2)``, or its deviation, into all pixels."""
    size, last = out.shape[2] * out.shape[3], told.shape[2] - 1
    for f in range(out.shape[0]):
        for b in range(out.shape[1]):
            target, where, one = out[f, b].reshape(size), place[b % place.shape[0]], told[f, b]
            for i in range(size):
                at = where[i]
                if not at >= 0:
                    target[i] = 0
                    continue
                low = min(int(at), last)
                high = min(low + 1, last)
                target[i] = one[low, which] + (at - low) * (one[high, which] - one[low, which])


def place_among(radius: Array, pixel_radius: Array, masked: Array | None) -> Array:
    """Return where pixels lie among radii of equal distance, ``(band or 1, pixel)``; NaN: nowhere.

    Those below the first radius, and above the last, count as there.
    """
    step = float(radius[1] - radius[0]) if len(radius) > 1 else 1.0
    place: Array = np.clip((pixel_radius - float(radius[0])) / step, 0, len(radius) - 1)
    place = place.astype(np.float32).reshape(1, -1)
    if masked is None:
        return place
    return np.where(masked.reshape(-1, place.shape[1]), np.float32(np.nan), place)
