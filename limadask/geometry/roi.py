"""Regions of interest: rectangles, arcs, and the polygons they become under general maps."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, PositiveInt
from pydantic.dataclasses import dataclass

from limadask.errors import ConfigError
from limadask.geometry.affine import Affine

Coordinates = Literal["image", "detector"]
_config = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, config=_config)
class Rect:
    """The pixels ``y ≤ i < y + height``, ``x ≤ j < x + width``.

    >>> Rect(y=10, x=20, height=2, width=3).contains(11, 22)
    np.True_
    """

    y: int
    x: int
    height: PositiveInt
    width: PositiveInt
    name: str | None = None

    @property
    def slices(self) -> tuple[slice, slice]:
        """Its rows and columns, to pick them out of an image."""
        return slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)

    def contains(self, y: Any, x: Any) -> NDArray[np.bool_]:
        """Tell which positions lie inside; ``y`` and ``x`` are numbers or arrays."""
        inside = (y >= self.y) & (y < self.y + self.height)
        return np.asarray(inside & (x >= self.x) & (x < self.x + self.width))[()]

    def outline(self) -> NDArray[np.float64]:
        """Return the corners along the pixels' edges, shape (corner, 2) as ``(y, x)``."""
        y0, x0 = self.y - 0.5, self.x - 0.5
        y1, x1 = y0 + self.height, x0 + self.width
        return np.array([(y0, x0), (y0, x1), (y1, x1), (y1, x0)])

    def mapped(self, affine: Affine) -> Roi:
        """Return the region that ``affine`` maps this one to.

        Under maps that keep the axes it is a rectangle again: of all pixels whose centre comes
        from inside where the map shrinks, of all pixels that these pixels cover where it enlarges.
        """
        (a, b, c), (d, e, f), _ = affine.matrix
        spans = None
        if a and e and b == d == 0:
            spans = _span(self.y, self.height, a, c), _span(self.x, self.width, e, f)
        elif b and d and a == e == 0:
            spans = _span(self.x, self.width, b, c), _span(self.y, self.height, d, f)
        if spans is None or not all(len(span) for span in spans):
            corners = np.transpose(affine(*self.outline().T))
            return Polygon(tuple(map(tuple, corners.tolist())), self.name)
        rows, columns = spans
        return Rect(rows[0], columns[0], len(rows), len(columns), self.name)


def _span(start: int, count: int, scale: float, offset: float) -> range:
    """Return the pixels that ``start ≤ i < start + count`` becomes under ``scale·i + offset``."""
    edges = sorted(scale * (edge - 0.5) + offset for edge in (start, start + count))
    low, high = (math.ceil(round(edge, 9)) for edge in edges)
    if abs(scale) < 1:  # only those whose own centre comes from inside
        centres = (
            (target, round((target - offset) / scale, 9)) for target in range(low - 1, high + 2)
        )
        inside = [target for target, source in centres if start <= source < start + count]
        return range(inside[0], inside[-1] + 1) if inside else range(0)
    return range(low, high)


@dataclass(frozen=True, config=_config)
class Arc:
    """Part of a ring around ``(y, x)``: ``r1 ≤ r < r2``, ``a1 ≤ a < a2``.

    Radii are in pixels; angles in degrees from +x towards +y. A span of 360° or more is the
    whole ring.
    """

    y: float
    x: float
    r1: Annotated[float, Field(ge=0)]
    r2: Annotated[float, Field(gt=0)]
    a1: float = 0.0
    a2: float = 360.0
    name: str | None = None

    def __post_init__(self) -> None:
        bounds = {"r2": (self.r1, self.r2), "a2": (self.a1, self.a2)}
        for field, (low, high) in bounds.items():
            if high <= low:
                raise ConfigError(
                    "an arc needs r1 < r2 and a1 < a2",
                    field=field,
                    value=high,
                    allowed=f"> {low:g}",
                )

    def contains(self, y: Any, x: Any) -> NDArray[np.bool_]:
        """Tell which positions lie inside; ``y`` and ``x`` are numbers or arrays."""
        dy, dx = np.asarray(y) - self.y, np.asarray(x) - self.x
        radius = np.hypot(dy, dx)
        inside = (radius >= self.r1) & (radius < self.r2)
        if self.a2 - self.a1 < 360:
            angle = (np.degrees(np.arctan2(dy, dx)) - self.a1) % 360
            inside &= angle < self.a2 - self.a1
        return np.asarray(inside)[()]

    def outline(self) -> NDArray[np.float64]:
        """Return points along the border, shape (point, 2) as ``(y, x)``."""
        span = min(self.a2 - self.a1, 360.0)
        angles = np.radians(self.a1 + np.linspace(0, span, max(8, int(span))))
        rings = [(self.r2, angles), (self.r1, angles[::-1])]
        points = [
            (self.y + radius * np.sin(ring), self.x + radius * np.cos(ring))
            for radius, ring in rings
        ]
        return np.concatenate([np.transpose(point) for point in points])

    def mapped(self, affine: Affine) -> Roi:
        """Return the arc that ``affine`` maps this one to, a polygon where circles are lost."""
        if not affine.keeps_circles:
            corners = np.transpose(affine(*self.outline().T))
            return Polygon(tuple(map(tuple, corners.tolist())), self.name)
        y, x = affine(self.y, self.x)
        turned = []
        for angle in (self.a1, self.a2):
            dy, dx = np.sin(np.radians(angle)), np.cos(np.radians(angle))
            (a, b, _), (d, e, _), _ = affine.matrix
            turned.append(float(np.degrees(np.arctan2(a * dy + b * dx, d * dy + e * dx))))
        if affine.mirrors:
            turned.reverse()
        span = min(self.a2 - self.a1, 360.0)
        start = round(turned[0], 9) + 0.0
        radii = (self.r1 * affine.scale, self.r2 * affine.scale)
        return Arc(y, x, *radii, start, start + span, self.name)


@dataclass(frozen=True, config=_config)
class Polygon:
    """A closed line through ``points`` (each ``(y, x)``), inside by the even-odd rule."""

    points: tuple[tuple[float, float], ...]
    name: str | None = None

    def __post_init__(self) -> None:
        if len(self.points) < 3:
            raise ConfigError(
                f"a polygon of {len(self.points)} points has no inside",
                field="points",
                value=self.points,
                allowed="at least 3 points",
            )

    def contains(self, y: Any, x: Any) -> NDArray[np.bool_]:
        """Tell which positions lie inside; ``y`` and ``x`` are numbers or arrays."""
        y, x = np.broadcast_arrays(np.asarray(y, float), np.asarray(x, float))
        inside = np.zeros(y.shape, bool)
        corners = np.asarray(self.points)
        for (ya, xa), (yb, xb) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            if ya != yb:
                crosses = (y >= min(ya, yb)) & (y < max(ya, yb))
                inside ^= crosses & (x < xa + (y - ya) * (xb - xa) / (yb - ya))
        return inside[()]

    def outline(self) -> NDArray[np.float64]:
        """Return the corners, shape (corner, 2) as ``(y, x)``."""
        return np.asarray(self.points, float)

    def mapped(self, affine: Affine) -> Roi:
        """Return the polygon that ``affine`` maps this one to."""
        corners = np.transpose(affine(*self.outline().T))
        return Polygon(tuple(map(tuple, corners.tolist())), self.name)


Roi = Rect | Arc | Polygon
