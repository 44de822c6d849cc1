"""The grid of a block as an xarray index with lazy detector coordinates."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from xarray.core.indexing import IndexSelResult
from xarray.indexes import CoordinateTransform, CoordinateTransformIndex

from limadask.geometry.affine import Affine
from limadask.geometry.grid import Grid

NAMES = ("det_y", "det_x")


class GridTransform(CoordinateTransform):
    """Positions ``(y, x)`` of an image to ``(det_y, det_x)`` on the detector."""

    def __init__(self, grid: Grid) -> None:
        super().__init__(NAMES, dict(zip(("y", "x"), grid.shape, strict=True)))
        self.grid = grid

    def forward(self, dim_positions: dict[str, Any]) -> dict[Hashable, Any]:
        """Return detector positions."""
        y, x = self.grid(dim_positions["y"], dim_positions["x"])
        return {"det_y": y, "det_x": x}

    def reverse(self, coord_labels: dict[Hashable, Any]) -> dict[str, Any]:
        """Return image positions."""
        y, x = (~self.grid)(coord_labels["det_y"], coord_labels["det_x"])
        return {"y": y, "x": x}

    def equals(self, other: CoordinateTransform, **kwargs: Any) -> bool:
        """Tell whether both place their pixels alike."""
        return isinstance(other, GridTransform) and other.grid == self.grid


class GridIndex(CoordinateTransformIndex):
    """Keeps ``det_y`` and ``det_x`` right under slicing, and finds pixels by them.

    ``image.sel(det_y=…, det_x=…, method="nearest")`` takes the pixel nearest to a detector
    position, or several when given arrays of one shape; a position outside the image is a
    KeyError.
    """

    transform: GridTransform

    @property
    def grid(self) -> Grid:
        """The grid behind the coordinates."""
        return self.transform.grid

    def isel(self, indexers: Mapping[Any, Any]) -> GridIndex | None:
        """Follow a slice of y and x; anything else loses the index, as xarray allows."""
        shape, step, start = [], [], []
        for dim, size in zip(("y", "x"), self.grid.shape, strict=True):
            indexer = indexers.get(dim, slice(None))
            if not isinstance(indexer, slice):
                return None
            taken = range(size)[indexer]
            if not taken:
                return None
            shape.append(len(taken))
            step.append(float(taken.step))
            start.append(float(taken.start))
        move = Affine(((step[0], 0.0, start[0]), (0.0, step[1], start[1]), (0.0, 0.0, 1.0)))
        return type(self)(GridTransform(Grid((shape[0], shape[1]), self.grid.affine @ move)))

    def sel(
        self, labels: dict[Any, Any], method: Any = None, tolerance: Any = None
    ) -> IndexSelResult:
        """Find pixels by detector position, given as numbers, arrays or labelled arrays."""
        labelled = {
            name: xr.Variable((), label)
            if np.ndim(label) == 0 and not isinstance(label, xr.Variable | xr.DataArray)
            else label
            for name, label in labels.items()
        }
        result = super().sel(labelled, method=method, tolerance=tolerance)
        for dim, size in zip(("y", "x"), self.grid.shape, strict=True):
            position = np.asarray(result.dim_indexers[dim])
            if np.any((position < 0) | (position >= size)):
                raise KeyError(
                    f"detector position {dict(labels)} lies outside the image {self.grid.shape}"
                )
        return result


def grid_coordinates(grid: Grid) -> xr.Coordinates:
    """Return the lazy coordinates ``det_y(y, x)`` and ``det_x(y, x)`` of a grid."""
    return xr.Coordinates.from_xindex(GridIndex(GridTransform(grid)))
