"""Compiled loops that find peaks: no GIL; blocks as in :mod:`limadask_tasks.kernels`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]
_compiled = njit(nogil=True, cache=True, error_model="numpy")


@_compiled
def plateau(
    image: Array, masked: Array, y: int, x: int, seen: Array, mark: int, stack: Array
) -> tuple[bool, int, float, float]:
    """Look at the pixels of one value that touch each other, from one of them on.

    ``masked`` is ``(y, x)``, or ``(0, 0)`` where nothing is. ``seen`` is ``mark`` where a pixel was
    in a plateau; ``stack`` has room for all pixels. Returns whether no neighbour is higher, how
    many pixels there are, and their mean position. Masked pixels and NaN are no neighbours.
    """
    rows, columns = image.shape
    some, value = masked.size > 0, image[y, x]
    is_top, depth, size, total_y, total_x = True, 1, 0, 0.0, 0.0
    stack[0], seen[y, x] = y * columns + x, mark
    while depth:
        depth -= 1
        py, px = stack[depth] // columns, stack[depth] % columns
        size, total_y, total_x = size + 1, total_y + py, total_x + px
        for ny in range(max(0, py - 1), min(rows, py + 2)):
            for nx in range(max(0, px - 1), min(columns, px + 2)):
                if some and masked[ny, nx]:
                    continue
                if image[ny, nx] > value:
                    is_top = False
                elif image[ny, nx] == value and seen[ny, nx] != mark:
                    seen[ny, nx] = mark
                    stack[depth] = ny * columns + nx
                    depth += 1
    return is_top, size, total_y / size, total_x / size


@_compiled
def count(
    pixels: Array, masked: Array, band: int, threshold: float, enough: int, out: Array
) -> None:
    """Count the local maxima of a band above ``threshold``; go on until there are ``enough``.

    ``masked`` is ``(band or 1, y, x)``, or ``(1, 0, 0)`` where nothing is masked; ``out`` is
    ``(frame,)`` and is added to. A maximum is a pixel, or a plateau, without a higher neighbour.
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
                if not image[y, x] > threshold or (some and m[y, x]) or seen[y, x] == f + 1:
                    continue
                out[f] += plateau(image, m, y, x, seen, f + 1, stack)[0]


@_compiled
def tops(
    frame: Array, masked: Array, band: int, threshold: float, seen: Array, stack: Array, out: Array
) -> int:
    """Find the local maxima of a band above ``threshold``, as above; return how many there are.

    ``frame`` is ``(band, y, x)``; ``seen``, ``(y, x)``, and ``stack``, as for a plateau, are memory
    to work in. As many rows ``(y, x, value)`` of ``out`` are filled as it has.
    """
    image, m = frame[band], masked[band % masked.shape[0]]
    rows, columns = image.shape
    some, found = masked.size > 0, 0
    seen[:] = 0
    for y in range(rows):
        for x in range(columns):
            if not image[y, x] > threshold or (some and m[y, x]) or seen[y, x]:
                continue
            is_top, _, mean_y, mean_x = plateau(image, m, y, x, seen, 1, stack)
            if is_top:
                if found < len(out):
                    out[found, 0], out[found, 1], out[found, 2] = mean_y, mean_x, image[y, x]
                found += 1
    return found


@_compiled
def apart(table: Array, order: Array, distance: float, shape: tuple[int, int]) -> Array:
    """Tell which peaks stay when each removes the lower ones that are nearer than ``distance``.

    ``table`` has rows ``(y, x, value)``; ``order`` are its rows from the highest on.
    """
    rows, columns, reach = shape[0], shape[1], int(np.ceil(distance)) + 1
    first = np.full(shape, -1, np.int64)  # the last peak kept at a pixel
    before = np.full(len(table), -1, np.int64)  # the one kept there before it
    kept = np.zeros(len(table), np.bool_)
    for number in order:
        y, x = table[number, 0], table[number, 1]
        row, column, is_free = int(y), int(x), True
        for ny in range(max(0, row - reach), min(rows, row + reach + 1)):
            for nx in range(max(0, column - reach), min(columns, column + reach + 1)):
                other = first[ny, nx]
                while other >= 0 and is_free:
                    dy, dx = table[other, 0] - y, table[other, 1] - x
                    is_free = dy * dy + dx * dx >= distance * distance
                    other = before[other]
        if is_free:
            kept[number] = True
            before[number], first[row, column] = first[row, column], number
    return kept
