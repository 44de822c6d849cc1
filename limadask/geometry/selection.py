"""Which pixels of an image a region of interest takes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from limadask.geometry.grid import Grid
from limadask.geometry.roi import Coordinates, Roi


def select(
    roi: Roi, grid: Grid, coordinates: Coordinates = "image"
) -> tuple[tuple[slice, slice], NDArray[np.bool_]]:
    """Return the pixels of an image whose centre lies inside ``roi``.

    Parameters
    ----------
    roi:
        The region.
    grid:
        The image's grid.
    coordinates:
        Whether ``roi`` is given in pixels of this image or of the detector.

    Returns
    -------
    tuple of slice, array
        A window ``(y, x)`` of the image and, of the window's shape, the pixels taken.
        Inside is decided in the region's own coordinates, so that a pixel on the border is
        counted alike after any chain of flips and turns.
    """
    corners = roi.outline()
    if coordinates == "detector":
        corners = np.transpose((~grid)(*corners.T))
    low = np.clip(np.floor(corners.min(axis=0)), 0, grid.shape)  # clipped while they are floats
    high = np.clip(np.ceil(corners.max(axis=0)) + 1, 0, grid.shape)
    rows, columns = (slice(int(first), int(last)) for first, last in zip(low, high, strict=True))
    y, x = np.ogrid[rows, columns]
    y, x = np.broadcast_arrays(y, x)
    if coordinates == "detector":
        y, x = grid(y, x)
    return (rows, columns), np.atleast_2d(roi.contains(y, x))
