"""Compiled pixel loops: no GIL, one pass over memory each.

Blocks are C-contiguous ``(frame, band, y, x)``, coefficients ``(band or 1, pixel)``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]
_compiled = njit(nogil=True, cache=True, error_model="numpy")


@_compiled
def mask(pixels: Array, masked: Array, fill: Any, out: Array) -> None:
    """Put ``fill`` where ``masked``."""
    size = pixels.shape[2] * pixels.shape[3]
    for f in range(pixels.shape[0]):
        for b in range(pixels.shape[1]):
            source, target = pixels[f, b].reshape(size), out[f, b].reshape(size)
            m = masked[b % masked.shape[0]]
            for i in range(size):
                target[i] = fill if m[i] else source[i]


@_compiled
def subtract(
    pixels: Array, dark: Array, masked: Array, zero: Any, low: Any, high: Any, fill: Any, out: Array
) -> None:
    """Subtract ``dark`` in the type of ``zero``, cut to ``low`` … ``high``; ``fill`` if masked."""
    size = pixels.shape[2] * pixels.shape[3]
    for f in range(pixels.shape[0]):
        for b in range(pixels.shape[1]):
            source, target = pixels[f, b].reshape(size), out[f, b].reshape(size)
            d, m = dark[b % dark.shape[0]], masked[b % masked.shape[0]]
            for i in range(size):
                value = min(max((zero + source[i]) - d[i], low), high)
                target[i] = fill if m[i] else value


@_compiled
def divide(pixels: Array, flat: Array, out: Array) -> None:
    """Divide by ``flat``, which is NaN where masked."""
    size = pixels.shape[2] * pixels.shape[3]
    for f in range(pixels.shape[0]):
        for b in range(pixels.shape[1]):
            source, target = pixels[f, b].reshape(size), out[f, b].reshape(size)
            c = flat[b % flat.shape[0]]
            for i in range(size):
                target[i] = source[i]  # through memory of out's type: numba would divide in float64
                target[i] /= c[i]


@_compiled
def subtract_divide(pixels: Array, dark: Array, flat: Array, zero: Any, out: Array) -> None:
    """Subtract ``dark`` in the type of ``zero``, then divide by ``flat``, NaN where masked."""
    size = pixels.shape[2] * pixels.shape[3]
    for f in range(pixels.shape[0]):
        for b in range(pixels.shape[1]):
            source, target = pixels[f, b].reshape(size), out[f, b].reshape(size)
            d, c = dark[b % dark.shape[0]], flat[b % flat.shape[0]]
            for i in range(size):
                # in the type of dark, as if it had been stored between: numba adds in float64
                target[i] = d.dtype.type((zero + source[i]) - d[i])
                target[i] /= c[i]


@_compiled
def statistics(pixels: Array, runs: Array, band: int, table: Array) -> None:
    """Minimum, maximum, mean, standard deviation, sum and count of regions.

    ``runs`` are the pixels of the regions as rows ``(roi, first, last + 1)`` of flat indices,
    sorted by roi; ``table`` is ``(frame, band, roi, 6)``; ``band`` is the one to do, -1 all. NaN
    is left out. The deviation is taken from the mean in a second pass, so that large means lose
    no digits.
    """
    size = pixels.shape[2] * pixels.shape[3]
    first_band = 0 if band < 0 else band
    last_band = pixels.shape[1] if band < 0 else band + 1
    for f in range(pixels.shape[0]):
        for b in range(first_band, last_band):
            image, rows = pixels[f, b].reshape(size), table[f, b]
            for r in range(rows.shape[0]):
                rows[r, 0], rows[r, 1], rows[r, 3] = np.inf, -np.inf, 0.0
                rows[r, 4], rows[r, 5] = 0.0, 0.0
            for k in range(runs.shape[0]):
                row = rows[runs[k, 0]]
                low, high, total, count = row[0], row[1], 0.0, 0
                for i in range(runs[k, 1], runs[k, 2]):
                    v = float(image[i])
                    if v == v:
                        low, high = min(low, v), max(high, v)
                        total += v
                        count += 1
                row[0], row[1] = low, high
                row[4] += total
                row[5] += count
            for r in range(rows.shape[0]):
                row = rows[r]
                if row[5] == 0:
                    row[0] = row[1] = row[2] = np.nan
                else:
                    row[2] = row[4] / row[5]
            for k in range(runs.shape[0]):
                row = rows[runs[k, 0]]
                mean, total = row[2], 0.0
                for i in range(runs[k, 1], runs[k, 2]):
                    v = float(image[i])
                    if v == v:
                        total += (v - mean) ** 2
                row[3] += total
            for r in range(rows.shape[0]):
                row = rows[r]
                row[3] = np.sqrt(row[3] / row[5]) if row[5] else np.nan


@_compiled
def bin_pixels(
    pixels: Array,
    masked: Array,
    ny: int,
    nx: int,
    mean: bool,
    rounds: bool,
    zero: Any,
    low: Any,
    high: Any,
    fill: Any,
    out: Array,
) -> None:
    """Sum or average tiles of ``ny`` × ``nx`` pixels, in the type of ``zero``.

    ``masked`` is ``(band or 1, y, x)``, or ``(1, 0, 0)`` where nothing is masked.
    """
    some = masked.size > 0
    for f in range(out.shape[0]):
        for b in range(out.shape[1]):
            m = masked[b % masked.shape[0]]
            for y in range(out.shape[2]):
                for x in range(out.shape[3]):
                    total, count = zero, 0
                    for j in range(y * ny, (y + 1) * ny):
                        for i in range(x * nx, (x + 1) * nx):
                            if not (some and m[j, i]):
                                total += pixels[f, b, j, i]
                                count += 1
                    if count == 0 or (count < ny * nx and not mean):
                        out[f, b, y, x] = fill
                        continue
                    if mean:
                        average = total / count
                        average = np.rint(average) if rounds else average
                        out[f, b, y, x] = min(max(average, low), high)
                    else:
                        out[f, b, y, x] = min(max(total, low), high)


@_compiled
def profiles(pixels: Array, masked: Array, box: Array, along_x: bool, table: Array) -> None:
    """Statistics of each column (``along_x``) or row of a rectangle ``(y, x, height, width)``.

    ``masked`` as in :func:`bin_pixels`; ``table`` is ``(frame, band, position, 6)``, its columns
    as in :func:`statistics`.
    """
    some = masked.size > 0
    y0, x0, height, width = box[0], box[1], box[2], box[3]
    positions, depth = (width, height) if along_x else (height, width)
    for f in range(pixels.shape[0]):
        for b in range(pixels.shape[1]):
            image, m = pixels[f, b], masked[b % masked.shape[0]]
            for p in range(positions):
                row = table[f, b, p]
                low, high, total, count = np.inf, -np.inf, 0.0, 0
                for d in range(depth):
                    y, x = (y0 + d, x0 + p) if along_x else (y0 + p, x0 + d)
                    v = float(image[y, x])
                    if v == v and not (some and m[y, x]):
                        low, high = min(low, v), max(high, v)
                        total += v
                        count += 1
                row[4], row[5] = total, count
                if count == 0:
                    row[0] = row[1] = row[2] = row[3] = np.nan
                    continue
                mean, deviation = total / count, 0.0
                for d in range(depth):
                    y, x = (y0 + d, x0 + p) if along_x else (y0 + p, x0 + d)
                    v = float(image[y, x])
                    if v == v and not (some and m[y, x]):
                        deviation += (v - mean) ** 2
                row[0], row[1], row[2], row[3] = low, high, mean, np.sqrt(deviation / count)


@_compiled
def combine(
    pixels: Array,
    weights: Array,
    masked: Array,
    rounds: bool,
    low: Any,
    high: Any,
    fill: Any,
    out: Array,
) -> None:
    """Add up the bands, each times its weight, in float64; those of weight 0 are not looked at.

    ``masked`` is ``(1, pixel)``; sums are rounded, and cut to ``low`` … ``high``, if ``rounds``.
    """
    columns = pixels.shape[3]
    total = np.empty(columns)  # row by row: it stays in the processor's cache
    for f in range(pixels.shape[0]):
        for y in range(pixels.shape[2]):
            total[:] = 0.0
            for b in range(weights.size):
                if weights[b] != 0:
                    row, weight = pixels[f, b, y], weights[b]
                    for x in range(columns):
                        total[x] += weight * row[x]
            m, target = masked[0, y * columns : (y + 1) * columns], out[f, 0, y]
            for x in range(columns):
                value = total[x]
                if rounds:
                    is_none = m[x] | (value != value)
                    value = min(max(np.rint(value), low), high)
                else:
                    is_none = m[x]
                target[x] = fill if is_none else value


@_compiled
def accumulate(pixels: Array, masked: Array, fill: Any, out: Array) -> None:
    """Add frames ``(frame, band, y, x)`` to ``out`` ``(band, y, x)``; ``fill`` where masked."""
    size = pixels.shape[2] * pixels.shape[3]
    for b in range(pixels.shape[1]):
        target, m = out[b].reshape(size), masked[b % masked.shape[0]]
        for f in range(pixels.shape[0]):
            source = pixels[f, b].reshape(size)
            for i in range(size):
                target[i] = fill if m[i] else target[i] + source[i]
