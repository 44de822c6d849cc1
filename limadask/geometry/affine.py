"""Affine maps between pixel positions ``(y, x)``, pixel centres on integers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Row = tuple[float, float, float]
Matrix = tuple[Row, Row, Row]


@dataclass(frozen=True, slots=True)
class Affine:
    """A 3×3 homogeneous matrix M that maps ``(y, x, 1)ᵀ`` to ``M · (y, x, 1)ᵀ``.

    >>> shift = Affine.translation(10, 20)
    >>> shift(1, 2)
    (11.0, 22.0)
    >>> (~shift)(*shift(1, 2))
    (1.0, 2.0)
    """

    matrix: Matrix = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))

    @classmethod
    def of(cls, matrix: ArrayLike) -> Affine:
        """Make one from anything array-like of shape (3, 3)."""
        array = np.asarray(matrix, float)
        if array.shape != (3, 3) or not np.array_equal(array[2], (0, 0, 1)):
            raise ValueError(f"an affine matrix is 3×3 with last row (0, 0, 1), not {matrix!r}")
        return cls(tuple(tuple(map(float, row)) for row in array))  # type: ignore[arg-type]

    @classmethod
    def translation(cls, y: float, x: float) -> Affine:
        """Shift by ``y`` rows and ``x`` columns."""
        return cls(((1.0, 0.0, float(y)), (0.0, 1.0, float(x)), (0.0, 0.0, 1.0)))

    def __matmul__(self, first: Affine) -> Affine:
        """Return the map that applies ``first``, then this one."""
        return Affine.of(np.array(self.matrix) @ np.array(first.matrix))

    def __invert__(self) -> Affine:
        (a, b, c), (d, e, f), _ = self.matrix
        determinant = a * e - b * d
        if determinant == 0:
            raise ValueError(f"{self} has no inverse")
        rows = ((e, -b, b * f - c * e), (-d, a, c * d - a * f))
        # + 0.0 turns -0.0 into 0.0: equal maps must also look equal
        top = tuple(tuple(value / determinant + 0.0 for value in row) for row in rows)
        return Affine((*top, (0.0, 0.0, 1.0)))  # type: ignore[arg-type]

    def __call__(self, y: Any, x: Any) -> tuple[Any, Any]:
        """Map positions; ``y`` and ``x`` are numbers or arrays of one shape."""
        (a, b, c), (d, e, f), _ = self.matrix
        return a * y + b * x + c, d * y + e * x + f

    @property
    def keeps_axes(self) -> bool:
        """Whether rows and columns stay parallel to the axes (flips, quarter turns, scales)."""
        (a, b, _), (d, e, _), _ = self.matrix
        return (b == d == 0) or (a == e == 0)

    @property
    def keeps_circles(self) -> bool:
        """Whether a circle stays a circle (rotation, mirror and one scale)."""
        (a, b, _), (d, e, _), _ = self.matrix
        return bool(np.isclose(a * a + d * d, b * b + e * e) and np.isclose(a * b + d * e, 0))

    @property
    def scale(self) -> float:
        """Square root of the area that a unit pixel maps to."""
        (a, b, _), (d, e, _), _ = self.matrix
        return float(abs(a * e - b * d) ** 0.5)

    @property
    def mirrors(self) -> bool:
        """Whether the sense of rotation is reversed."""
        (a, b, _), (d, e, _), _ = self.matrix
        return a * e - b * d < 0

    def as_array(self) -> NDArray[np.float64]:
        """Return the matrix as an array of shape (3, 3)."""
        return np.array(self.matrix)
