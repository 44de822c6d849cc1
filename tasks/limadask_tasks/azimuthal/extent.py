"""The range that bins cover, as pyFAI chooses it; needs pyFAI."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pyFAI import units
from pyFAI.integrator.azimuthal import AzimuthalIntegrator

from limadask.geometry import Grid
from limadask_tasks.azimuthal.geometry import integrator

Split = Literal["no", "bbox", "full"]
Range = tuple[float, float]
HALF_TURN = float(np.float32(np.pi))
"""Where pyFAI ends azimuthal bins that reach across the discontinuity."""


class Extent(NamedTuple):
    """Ranges in pyFAI's own units (radians and such), and how many pixels lie within."""

    radial: Range
    azimuthal: Range | None
    nb_pixels: int


class Masked:
    """A mask of an image that can be a key: equal by content; True is masked."""

    __slots__ = ("_digest", "array")

    def __init__(self, array: NDArray[np.bool_]) -> None:
        self.array = array
        self._digest = array.shape, blake2b(np.packbits(array).tobytes()).digest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Masked) and other._digest == self._digest

    def __hash__(self) -> int:
        return hash(self._digest)


@lru_cache(maxsize=8)
def extent(
    text: str,
    grid: Grid,
    unit: str,
    split: Split,
    masked: Masked,
    radial_range: Range | None,
    azimuth_range: Range | None,
    has_azimuthal_bins: bool,
) -> Extent:
    """Return what bins cover: the given ranges, else all unmasked pixels.

    That takes up to some seconds for millions of pixels, so it is remembered.

    Parameters
    ----------
    text, grid:
        As for :func:`~limadask_tasks.azimuthal.geometry.integrator`.
    unit:
        Name of the radial unit.
    split:
        How pixels are split.
    masked:
        The mask, shape ``(y, x)``.
    radial_range, azimuth_range:
        What the user has given, in ``unit`` and in degrees.
    has_azimuthal_bins:
        Whether there are any, so that their range is needed.
    """
    engine, _ = integrator(text, grid)
    radial = units.to_unit(unit)
    used = ~masked.array
    low, high = (one[used] for one in _edges(engine, grid.shape, radial, split))
    inside = np.isfinite(low) & np.isfinite(high)
    ends = _ends(low[inside], high[inside], radial.positive)
    if radial_range is not None:
        ends = min(radial_range) / radial.scale, max(radial_range) / radial.scale
    inside &= (high >= ends[0]) & (low <= ends[1])
    turns = engine.normalize_azimuth_range(azimuth_range)
    if turns is not None:
        angle = engine.center_array(grid.shape, units.CHI_RAD, scale=False)[used]
        inside &= (turns[0] <= angle) & (angle <= turns[1]) | (angle + 2 * np.pi <= turns[1])
    elif has_azimuthal_bins:
        low, high = (one[used] for one in _edges(engine, grid.shape, units.CHI_RAD, split))
        first, last = _ends(low, high, positive=False)
        turns = max(first, -HALF_TURN), min(last, HALF_TURN)
    return Extent(ends, turns, int(inside.sum()))


def centres(ends: Range, count: int) -> NDArray[np.float64]:
    """Return the centres of bins of equal width."""
    edges = np.linspace(*ends, count + 1)
    return np.asarray((edges[1:] + edges[:-1]) / 2)


def _edges(
    engine: AzimuthalIntegrator, shape: tuple[int, int], unit: units.Unit, split: Split
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the lowest and the highest position of each pixel."""
    if split == "full":
        corners = engine.array_from_unit(shape, "corner", unit, scale=False)[..., 0]
        return corners.min(axis=-1), corners.max(axis=-1)
    centre = engine.array_from_unit(shape, "center", unit, scale=False)
    if split == "no":
        return centre, centre
    half = engine.array_from_unit(shape, "delta", unit, scale=False)
    return centre - half, centre + half


def _ends(low: NDArray[Any], high: NDArray[Any], positive: bool) -> Range:
    if not low.size:
        return 0.0, 0.0
    first = float(low.min())
    return (max(first, 0.0) if positive else first), float(high.max())
