"""Where pixels are: grids, affine maps, regions of interest and the xarray index."""

from limadask.geometry.affine import Affine
from limadask.geometry.grid import Axis, Grid
from limadask.geometry.index import GridIndex, grid_coordinates
from limadask.geometry.pattern import PATTERNS, Pattern, pattern_on
from limadask.geometry.roi import Arc, Coordinates, Polygon, Rect, Roi
from limadask.geometry.selection import select

__all__ = [
    "PATTERNS",
    "Affine",
    "Arc",
    "Axis",
    "Coordinates",
    "Grid",
    "GridIndex",
    "Pattern",
    "Polygon",
    "Rect",
    "Roi",
    "grid_coordinates",
    "pattern_on",
    "select",
]
