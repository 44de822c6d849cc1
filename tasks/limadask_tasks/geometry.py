"""Tasks that move pixels about: crop, flip, rotate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray
from pydantic import NonNegativeInt, PositiveInt

from limadask.errors import ConfigError
from limadask.frames import Spec
from limadask.geometry import Axis, Grid, Rect
from limadask.task import ViewTask


class GeometryTask(ViewTask):
    """A task that says where each pixel goes; its view and its grid must say the same."""

    def grid(self, grid: Grid) -> Grid:
        """Return the grid of the result."""
        raise NotImplementedError

    def plan(self, spec: Spec) -> Spec:
        """Move the grid, and the mask with the pixels."""
        try:
            grid = self.grid(spec.grid)
        except ValueError as error:
            raise ConfigError(str(error), allowed=f"within the image {spec.grid.shape}") from error
        return spec.replace(grid=grid, masked=moved(spec.masked, self.view))


class Crop(GeometryTask):
    """Cut a rectangle out of every frame."""

    y: NonNegativeInt
    """First row."""
    x: NonNegativeInt
    """First column."""
    height: PositiveInt
    """Rows."""
    width: PositiveInt
    """Columns."""

    def grid(self, grid: Grid) -> Grid:
        """Return the grid of the rectangle."""
        return grid.crop(self.y, self.x, self.height, self.width)

    def plan(self, spec: Spec) -> Spec:
        """Refuse a rectangle that leaves the image."""
        rows, columns = spec.grid.shape
        for field, end, bound in (
            ("height", self.y + self.height, rows),
            ("width", self.x + self.width, columns),
        ):
            if end > bound:
                raise ConfigError(
                    f"the rectangle ends at {end}, the image at {bound}",
                    field=field,
                    value=getattr(self, field),
                    allowed=f"within {rows} rows and {columns} columns",
                )
        return super().plan(spec)

    def for_part(self, whole: Spec, region: Rect) -> Crop:
        """Return what cuts out as much of the rectangle as lies in the part."""
        y, x = max(self.y, region.y), max(self.x, region.x)
        height = min(self.y + self.height, region.y + region.height) - y
        width = min(self.x + self.width, region.x + region.width) - x
        if height < 1 or width < 1:
            raise ConfigError(
                "the rectangle takes no pixel of a part that some receiver has of every frame",
                field="y" if height < 1 else "x",
                value=self.y if height < 1 else self.x,
                allowed="a rectangle that meets every receiver's modules, or the task assemble",
            )
        return Crop(y=y - region.y, x=x - region.x, height=height, width=width)

    def view(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Return the rectangle."""
        return pixels[..., self.y : self.y + self.height, self.x : self.x + self.width]


class Flip(GeometryTask):
    """Mirror every frame."""

    axis: Axis
    """``y`` turns it upside down, ``x`` left to right."""

    def grid(self, grid: Grid) -> Grid:
        """Return the mirrored grid."""
        return grid.flip(self.axis)

    def view(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Return the mirrored frames."""
        return pixels[..., ::-1, :] if self.axis == "y" else pixels[..., ::-1]


class Rotate(GeometryTask):
    """Turn every frame by quarter turns, counter-clockwise as ``np.rot90``."""

    turns: int
    """Quarter turns; negative ones are clockwise."""

    def grid(self, grid: Grid) -> Grid:
        """Return the turned grid."""
        return grid.rotate(self.turns)

    def view(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Return the turned frames."""
        for _ in range(self.turns % 4):
            pixels = pixels[..., ::-1].swapaxes(-1, -2)
        return pixels


def moved(
    masked: NDArray[Any] | None, view: Callable[[NDArray[Any]], NDArray[Any]]
) -> NDArray[Any] | None:
    """Return the mask moved as the pixels are."""
    return None if masked is None else view(masked)
