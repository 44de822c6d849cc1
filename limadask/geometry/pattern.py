"""The colour filters on the pixels of a camera, as J. S. Bayer laid them out (US 3 971 065)."""

from __future__ import annotations

from typing import Literal

import numpy as np

from limadask.geometry.grid import Grid

Pattern = Literal["rggb", "bggr", "grbg", "gbrg"]
"""Colours of the pixels (0, 0), (0, 1), (1, 0) and (1, 1), which are repeated over the image."""
PATTERNS: tuple[Pattern, ...] = ("rggb", "bggr", "grbg", "gbrg")


def pattern_on(grid: Grid, pattern: str) -> str:
    """Return the pattern as the pixels of an image have it, however it was cropped and turned.

    Parameters
    ----------
    grid:
        The image.
    pattern:
        The pattern of the detector's pixels.

    Raises
    ------
    ValueError
        When the pixels of the image are not those of the detector: they were binned.

    Examples
    --------
    >>> pattern_on(Grid((8, 8)).crop(y=1, x=0, height=4, width=4), "rggb")
    'gbrg'
    """
    matrix = grid.affine.as_array()
    turn = np.abs(matrix[:2, :2])
    whole = np.array_equal(matrix, np.rint(matrix))
    if not whole or (turn.sum(axis=0) != 1).any() or (turn.sum(axis=1) != 1).any():
        scale = "×".join(f"{one:g}" for one in turn.sum(axis=1))
        raise ValueError(f"a pixel of the image is not one of the detector, but {scale} of them")
    places = zip(*(axis.ravel() % 2 for axis in grid(*np.indices((2, 2)))), strict=True)
    return "".join(pattern[2 * int(y) + int(x)] for y, x in places)
