"""What flows along one edge of a pipeline, known before any data."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from limadask.frames.sparse_pixels import Background
from limadask.geometry import Grid

DIMS = ("frame", "band", "y", "x")


@dataclass(frozen=True, slots=True, eq=False)
class Spec:
    """Shape, type and place of the frames on one edge of a pipeline.

    Parameters
    ----------
    grid:
        Shape of the image and its place on the detector.
    dtype:
        Type of a pixel.
    bands:
        Names of the bands, in order.
    nb_frames:
        Frames expected in the whole run; None while nobody knows (until stopped).
    nb_merged:
        How many of the detector's frames one frame here stands for (accumulation).
    masked:
        True where a pixel holds no value in any frame, shape ``(y, x)`` or ``(band, y, x)``;
        None where all do. Such pixels hold :attr:`fill`.
    columns:
        What else the detector tells of each frame: names and units.
    is_sparse:
        Whether only pixels that hold something are kept, as :class:`SparsePixels`.
    background:
        Where that of sparse frames is known; None where all other pixels are 0.
    pattern:
        Colours of the detector's pixels (0, 0), (0, 1), (1, 0) and (1, 1) where each has a colour
        filter of its own, such as ``rggb``; empty where all are alike. :attr:`grid` tells which
        pixel here is which there.
    nb_averaged:
        Of how many of the detector's pixels a pixel holds the mean; 1 where it holds their sum.
    """

    grid: Grid
    dtype: np.dtype[Any]
    bands: tuple[str, ...] = ("0",)
    nb_frames: int | None = None
    nb_merged: int = 1
    masked: NDArray[np.bool_] | None = field(default=None, repr=False)
    columns: tuple[tuple[str, str], ...] = ()
    is_sparse: bool = False
    background: Background | None = field(default=None, repr=False)
    pattern: str = ""
    nb_averaged: int = 1

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """Shape ``(band, y, x)`` of one frame."""
        return (len(self.bands), *self.grid.shape)

    @property
    def frame_nbytes(self) -> int:
        """Bytes of one frame, all bands, all pixels."""
        return int(np.prod(self.frame_shape)) * self.dtype.itemsize

    @property
    def fill(self) -> Any:
        """The value of masked pixels and absent frames: the dtype's maximum, or NaN."""
        return fill_value(self.dtype)

    def replace(self, **changes: Any) -> Spec:
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def merged(self, number: int) -> range:
        """Return the numbers of the detector's frames that a frame here stands for."""
        return range(number * self.nb_merged, (number + 1) * self.nb_merged)

    def lacking(self, missing: NDArray[np.bool_]) -> Spec:
        """Return the spec of a frame without these pixels, ``(y, x)`` or ``(band, y, x)``."""
        if self.masked is not None:
            missing = missing | self.masked
        return self.replace(masked=missing)

    def __str__(self) -> str:
        bands, rows, columns = self.frame_shape
        several = f", {bands} bands" if bands > 1 else ""
        return f"{rows} × {columns} {self.dtype}{several}{', sparse' if self.is_sparse else ''}"


def fill_value(dtype: DTypeLike) -> Any:
    """Return what stands for "no value" in ``dtype``: its maximum, or NaN, as a NumPy scalar."""
    dtype = np.dtype(dtype)
    if dtype.kind in "iu":
        return np.array(np.iinfo(dtype).max, dtype)[()]
    if dtype.kind == "f":
        return np.array(np.nan, dtype)[()]
    raise TypeError(f"pixels are integers or floats, not {dtype}")
