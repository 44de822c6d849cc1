"""Statistics of regions of interest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Discriminator, Field, Tag

from limadask.errors import ConfigError
from limadask.frames import Spec
from limadask.geometry import Arc, Coordinates, Polygon, Rect, Roi, select
from limadask.task import Measure, Products, Reduction, Variable
from limadask_tasks import kernels


def _kind(value: Any) -> str:
    """Tell which kind of region is meant, so that mistakes are told of this one."""
    if not isinstance(value, Mapping):
        return type(value).__name__ if isinstance(value, Arc | Polygon) else "Rect"
    if "points" in value:
        return "Polygon"
    return "Arc" if value.keys() & {"r1", "r2", "a1", "a2"} else "Rect"


Region = Annotated[
    Annotated[Rect, Tag("Rect")] | Annotated[Arc, Tag("Arc")] | Annotated[Polygon, Tag("Polygon")],
    Discriminator(_kind),
]
Rois = Annotated[tuple[Region, ...], Field(min_length=1)]
STATISTICS = {"min": "f8", "max": "f8", "mean": "f8", "std": "f8", "sum": "f8", "count": "i8"}
"""What is computed, in the order of the kernel's table, and its type."""


class RoiStatistics(Reduction):
    """Minimum, maximum, mean, population standard deviation, sum and count of each region.

    By-products with dims ``(frame, band, roi)``. Masked pixels and NaN are left out; ``count``
    tells how many pixels were used. A region without any gives NaN, sum 0.
    """

    rois: Rois
    """The regions: ``{y, x, height, width}`` or ``{y, x, r1, r2, a1, a2}``, ``name`` if wanted."""
    coordinates: Coordinates = "image"
    """Whether they are given in pixels of the node's input or of the detector."""

    def plan(self, spec: Spec) -> Products:
        """Check that every region takes pixels of the image."""
        for number, roi in enumerate(self.rois):
            check_roi(roi, f"rois.{number}", spec, self.coordinates)
        dims = ("band", "roi")
        variables = {name: Variable(dims, np.dtype(dtype)) for name, dtype in STATISTICS.items()}
        names = [roi.name or str(number) for number, roi in enumerate(self.rois)]
        return Products(
            variables,
            {"band": (("band",), list(spec.bands)), "roi": (("roi",), names)},
        )

    def measure(self, spec: Spec) -> Measure:
        """Return the compiled function."""
        shape = len(spec.bands), len(self.rois), len(STATISTICS)
        per_band = spec.masked is not None and spec.masked.ndim == 3
        bands = range(len(spec.bands)) if per_band else [-1]
        tables = [
            (band, pixel_runs(self.rois, spec, self.coordinates, max(band, 0))) for band in bands
        ]

        def measure(pixels: NDArray[Any]) -> NDArray[Any]:
            table = np.empty((len(pixels), *shape))
            for band, runs in tables:
                kernels.statistics(pixels, runs, band, table)
            return table

        return measure


def check_roi(roi: Roi, field: str, spec: Spec, coordinates: Coordinates) -> None:
    """Refuse a region that leaves the image, or takes none of its pixels.

    Raises
    ------
    ConfigError
        Naming the field that holds the region.
    """
    rows, columns = spec.grid.shape
    leaves = (
        isinstance(roi, Rect)
        and coordinates == "image"
        and not (
            roi.y >= 0
            and roi.x >= 0
            and roi.y + roi.height <= rows
            and roi.x + roi.width <= columns
        )
    )
    if leaves or not select(roi, spec.grid, coordinates)[1].any():
        raise ConfigError(
            "the region leaves the image" if leaves else "the region takes no pixel of the image",
            field=field,
            value=roi,
            allowed=f"within {rows} rows and {columns} columns of {coordinates} pixels"
            if coordinates == "image"
            else f"on the part of the detector in the image, corners {corners(spec)}",
        )


def corners(spec: Spec) -> list[tuple[float, float]]:
    """Return the image's first and last pixel in detector coordinates."""
    rows, columns = spec.grid.shape
    return [spec.grid(0, 0), spec.grid(rows - 1, columns - 1)]


def pixel_runs(
    rois: tuple[Roi, ...], spec: Spec, coordinates: Coordinates, band: int = 0
) -> NDArray[np.int64]:
    """Return the unmasked pixels of regions as runs of neighbours.

    Returns
    -------
    array
        Rows ``(roi, first, last + 1)`` of flat pixel indices, sorted by roi.
    """
    columns = spec.grid.shape[1]
    table = []
    for number, roi in enumerate(rois):
        (rows, cols), inside = select(roi, spec.grid, coordinates)
        if spec.masked is not None:
            masked = spec.masked if spec.masked.ndim == 2 else spec.masked[band]
            inside = inside & ~masked[rows, cols]
        edges = np.diff(np.pad(inside.astype(np.int8), ((0, 0), (1, 1))), axis=1)
        y, first = np.nonzero(edges == 1)
        _, last = np.nonzero(edges == -1)
        offset = (y + rows.start) * columns + cols.start
        table.append(np.stack([np.full_like(y, number), offset + first, offset + last], axis=1))
    return np.ascontiguousarray(np.concatenate(table), np.int64)
