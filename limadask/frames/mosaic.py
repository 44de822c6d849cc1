"""Parts of frames, and their places in the whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from limadask.frames.spec import Spec
from limadask.geometry import Rect


@dataclass(frozen=True, slots=True, eq=False)
class Mosaic:
    """How the parts of a frame, such as the modules of a detector, make the whole.

    Parameters
    ----------
    whole:
        The full frames; where no part is they are masked.
    regions:
        Where each part lies, in pixels of the full frame.
    """

    whole: Spec
    regions: tuple[Rect, ...]

    @classmethod
    def of(cls, whole: Spec, parts: Sequence[Spec]) -> Mosaic:
        """Find the place of each part by its grid.

        Raises
        ------
        ValueError
            When they do not fit together.
        """
        regions = tuple(region_of(whole, part) for part in parts)
        for one, other in combinations(regions, 2):
            if _overlap(one, other):
                raise ValueError(f"the parts {_text(one)} and {_text(other)} overlap")
        mosaic = cls(whole, regions)
        bare = np.ones(whole.grid.shape, bool) if whole.masked is None else ~whole.masked
        for y, x in mosaic.places:
            bare[..., y, x] = False
        if bare.any():
            raise ValueError(
                f"{int(bare.sum())} pixels of the full image are in no part, and not masked"
            )
        return mosaic

    @property
    def places(self) -> tuple[tuple[slice, slice], ...]:
        """Where each part lies, as slices along ``(y, x)``."""
        return tuple(one.slices for one in self.regions)


def region_of(whole: Spec, part: Spec) -> Rect:
    """Return where a part lies in the full frame, by their grids.

    Raises
    ------
    ValueError
        When its pixels are not among those of the full frame.
    """
    matrix = (~whole.grid @ part.grid.affine).as_array()
    corner = np.rint(matrix[:2, 2])
    height, width = part.grid.shape
    inside = (corner >= 0).all() and (corner + part.grid.shape <= whole.grid.shape).all()
    exact = np.eye(3)
    exact[:2, 2] = corner
    if not inside or not np.allclose(matrix, exact, atol=1e-6):
        raise ValueError(
            f"the part's image {part.grid.shape} does not lie on pixels of the full image "
            f"{whole.grid.shape}: its first pixel would be {tuple(matrix[:2, 2].tolist())}"
        )
    return Rect(int(corner[0]), int(corner[1]), height, width)


def _overlap(one: Rect, other: Rect) -> bool:
    rows = one.y < other.y + other.height and other.y < one.y + one.height
    return rows and one.x < other.x + other.width and other.x < one.x + one.width


def _text(region: Rect) -> str:
    return f"{region.height} × {region.width} at {region.y, region.x}"
