"""The grid of an image: its shape and where its pixels lie on the detector."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Self

from limadask.geometry.affine import Affine
from limadask.geometry.roi import Roi

Axis = Literal["y", "x"]


@dataclass(frozen=True, slots=True)
class Grid:
    """Image shape plus the affine map from this image's pixels to detector pixels.

    Positions are ``(y, x)`` with pixel centres on integers, on the detector those of the full,
    unbinned detector: ``(y, x, 1)ᵀ_detector = affine · (y, x, 1)ᵀ_image``. Every operation
    returns a new grid.

    Parameters
    ----------
    shape:
        ``(rows, columns)`` of the image.
    affine:
        Map from image to detector positions.

    Examples
    --------
    >>> grid = Grid((100, 200)).crop(y=10, x=20, height=50, width=60).flip("y")
    >>> grid.shape, grid(0, 0)
    ((50, 60), (59.0, 20.0))
    """

    shape: tuple[int, int]
    affine: Affine = field(default_factory=Affine)

    def __post_init__(self) -> None:
        if len(self.shape) != 2 or min(self.shape) < 1:
            raise ValueError(f"shape is (rows, columns), both at least 1, not {self.shape}")

    @classmethod
    def of(cls, image: Any) -> Self:
        """Return the grid of labelled pixels: of a block, an observed or a saved frame.

        Parameters
        ----------
        image:
            An :class:`xarray.DataArray` with dims ``(…, y, x)``.

        Raises
        ------
        ValueError
            When it has none: plain pixels, or ones picked in a way that is no image any more.
        """
        grid = getattr(image.xindexes.get("det_y"), "grid", None)
        if not isinstance(grid, cls):
            raise ValueError(f"these pixels, dims {image.dims}, have no place on a detector")
        return grid

    def __call__(self, y: Any, x: Any) -> tuple[Any, Any]:
        """Return the detector positions of image positions."""
        return self.affine(y, x)

    def __invert__(self) -> Affine:
        """Return the map from detector positions to image positions."""
        return ~self.affine

    def crop(self, y: int, x: int, height: int, width: int) -> Grid:
        """Return the grid of ``image[y:y+height, x:x+width]``."""
        rows, columns = self.shape
        if not (y >= 0 and x >= 0 and y + height <= rows and x + width <= columns):
            raise ValueError(
                f"crop y={y} x={x} height={height} width={width} leaves the image {self.shape}"
            )
        return Grid((height, width), self.affine @ Affine.translation(y, x))

    def flip(self, axis: Axis) -> Grid:
        """Return the grid of the image mirrored along ``axis`` (``"y"``: upside down)."""
        rows, columns = self.shape
        if axis == "y":
            mirror = Affine(((-1.0, 0.0, rows - 1.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)))
        elif axis == "x":
            mirror = Affine(((1.0, 0.0, 0.0), (0.0, -1.0, columns - 1.0), (0.0, 0.0, 1.0)))
        else:
            raise ValueError(f"axis is 'y' or 'x', not {axis!r}")
        return Grid(self.shape, self.affine @ mirror)

    def rotate(self, turns: int) -> Grid:
        """Return the grid of ``np.rot90(image, turns)``, counter-clockwise quarter turns."""
        grid = self
        for _ in range(turns % 4):
            rows, columns = grid.shape
            turn = Affine(((0.0, 1.0, 0.0), (-1.0, 0.0, columns - 1.0), (0.0, 0.0, 1.0)))
            grid = Grid((columns, rows), grid.affine @ turn)
        return grid

    def bin(self, y: int, x: int) -> Grid:
        """Return the grid of the image binned by ``y`` × ``x``; incomplete bins are dropped."""
        rows, columns = self.shape
        if not (1 <= y <= rows and 1 <= x <= columns):
            raise ValueError(f"binning y={y} x={x} must lie between 1 and the image {self.shape}")
        scale = Affine(
            ((float(y), 0.0, (y - 1) / 2), (0.0, float(x), (x - 1) / 2), (0.0, 0.0, 1.0))
        )
        return Grid((rows // y, columns // x), self.affine @ scale)

    def to_detector(self, roi: Roi) -> Roi:
        """Map a region drawn on this image to detector pixels.

        A rectangle stays one under flips, quarter turns, crops and binning, an arc under those
        that keep circles; anything else becomes a polygon.
        """
        return roi.mapped(self.affine)

    def from_detector(self, roi: Roi) -> Roi:
        """Map a region in detector pixels to this image (see :meth:`to_detector`)."""
        return roi.mapped(~self.affine)

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return (type(self).__name__, self.shape, self.affine.matrix)

    def _repr_html_(self) -> str:
        from limadask.views import grid_html

        return grid_html(self)
