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


@_compiled
def peaks(
    pixels: Array, masked: Array, band: int, threshold: float, enough: int, out: Array
) -> None:
    """Count the local maxima of a band above ``threshold``; go on until there are ``enough``.

    ``masked`` is ``(band or 1, y, x)``, or ``(1, 0, 0)`` where nothing is masked; ``out`` is
    ``(frame,)`` and is added to. A maximum is a pixel, or a plateau of pixels of one value that
    touch each other, without a higher pixel among its neighbours. Masked pixels and NaN are
    neither.
    """
    rows, columns = pixels.shape[2], pixels.shape[3]
    m = masked[band % masked.shape[0]]
    some = masked.size > 0
    seen = np.zeros((rows, columns), np.int64)  # frame + 1 in which it was part of a plateau
    stack = np.empty(rows * columns, np.int64)
    for f in range(pixels.shape[0]):
        image = pixels[f, band]
        for y in range(rows):
            if out[f] >= enough:
                break
            for x in range(columns):
                value = image[y, x]
                if not value > threshold or (some and m[y, x]) or seen[y, x] == f + 1:
                    continue
                is_top, depth = True, 1
                stack[0], seen[y, x] = y * columns + x, f + 1
                while depth:  # the whole plateau, so that it is looked at once
                    depth -= 1
                    py, px = stack[depth] // columns, stack[depth] % columns
                    for ny in range(max(0, py - 1), min(rows, py + 2)):
                        for nx in range(max(0, px - 1), min(columns, px + 2)):
                            if some and m[ny, nx]:
                                continue
                            if image[ny, nx] > value:
                                is_top = False
                            elif image[ny, nx] == value and seen[ny, nx] != f + 1:
                                seen[ny, nx] = f + 1
                                stack[depth] = ny * columns + nx
                                depth += 1
                out[f] += is_top
