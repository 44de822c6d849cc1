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
    low = np.floor(corners.min(axis=0)).astype(int)
    high = np.ceil(corners.max(axis=0)).astype(int) + 1
    rows, columns = (
        slice(int(max(first, 0)), int(max(min(last, size), 0)))
        for first, last, size in zip(low, high, grid.shape, strict=True)
    )
    y, x = np.ogrid[rows, columns]
    y, x = np.broadcast_arrays(y, x)
    if coordinates == "detector":
        y, x = grid(y, x)
    return (rows, columns), np.atleast_2d(roi.contains(y, x))
