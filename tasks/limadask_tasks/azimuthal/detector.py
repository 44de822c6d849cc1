"""The pixels of an image as a detector that pyFAI can work with; needs pyFAI."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyFAI.detectors import Detector

from limadask.errors import ConfigError
from limadask.geometry import Affine, Grid

MIRRORED = {1: 2, 2: 1, 3: 4, 4: 3}
"""pyFAI's number for the orientation of a mirrored image."""


class GridDetector(Detector):  # type: ignore[misc]
    """What is left of a detector after crops, flips, turns and binning.

    A pixel covers all that it was made of: positions and corners are those of the detector, to
    the last bit where pixels were only moved.

    Parameters
    ----------
    detector:
        The detector itself.
    affine:
        Pixel positions of the image to those of the detector.
    shape:
        Rows and columns of the image.
    """

    def __init__(self, detector: Any, affine: Affine, shape: tuple[int, int]) -> None:
        turned = int(detector.orientation)
        super().__init__(
            pixel1=detector.pixel1,
            pixel2=detector.pixel2,
            max_shape=shape,
            orientation=MIRRORED[turned] if affine.mirrors else turned,
        )
        self.uniform_pixel = False
        self.IS_FLAT, self.IS_CONTIGUOUS = detector.IS_FLAT, detector.IS_CONTIGUOUS
        self.dummy, self.delta_dummy = detector.dummy, detector.delta_dummy
        self._whole, self._affine = detector, affine

    def calc_cartesian_positions(
        self, d1: Any = None, d2: Any = None, center: bool = True, use_cython: bool = True
    ) -> tuple[Any, Any, Any]:
        """Return where pixel positions lie, in metres, as pyFAI's own detectors do."""
        if d1 is None or d2 is None:
            edge = 0 if center else 1
            d1, d2 = np.indices([size + edge for size in self.shape], np.float64)
        shift = 0.0 if center else 0.5  # edges are counted from the corner of the first pixel
        y, x = self._affine(d1 - shift, d2 - shift)
        return self._whole.calc_cartesian_positions(  # type: ignore[no-any-return]
            y + shift, x + shift, center, use_cython
        )

    def get_pixel_corners(self, correct_binning: bool = False) -> NDArray[np.float32]:
        """Return the corners of pixels ``(y, x, 4, (z, y, x))``, in metres."""
        if self.IS_CONTIGUOUS:
            return np.asarray(super().get_pixel_corners(correct_binning))
        return self._outer_corners()

    def calc_mask(self) -> NDArray[np.int8] | None:
        """Return where pixels have a masked one of the detector in them."""
        if self._whole.mask is None:
            return None
        masked = np.zeros(self.shape, np.int8)
        for y in self._offsets(0):
            for x in self._offsets(1):
                masked |= self._whole.mask[self._nearest(y, x)] != 0
        return masked

    def _outer_corners(self) -> NDArray[np.float32]:
        """Take each corner from the detector pixel that lies there."""
        whole = self._whole.get_pixel_corners()
        corners = np.empty((*self.shape, 4, 3), np.float32)
        places = {(-1, -1): 0, (1, -1): 1, (1, 1): 2, (-1, 1): 3}  # pyFAI's order
        (a, b, _), (d, e, _), _ = self._affine.matrix
        for (y, x), place in places.items():
            towards = int(np.sign(a * y + b * x)), int(np.sign(d * y + e * x))
            inside = [span[0 if side < 0 else -1]
                      for side, span in ((y, self._offsets(0)), (x, self._offsets(1)))]  # fmt: skip
            corners[:, :, place] = whole[(*self._nearest(*inside), places[towards])]
        return corners

    def _offsets(self, axis: int) -> NDArray[np.float64]:
        """Return where the detector's pixels lie along an axis of an image pixel, 0 its centre."""
        column = [row[axis] for row in self._affine.matrix[:2]]
        count = max(1, round(sum(map(abs, column))))
        return (np.arange(count) - (count - 1) / 2) / count

    def _nearest(self, y: float, x: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the detector pixels at an offset from the centre of every image pixel."""
        rows, columns = np.ogrid[: self.shape[0], : self.shape[1]]
        found = self._affine(rows + y, columns + x)
        return tuple(  # type: ignore[return-value]
            np.broadcast_to(np.rint(one).astype(np.intp), self.shape) for one in found
        )


def seen_by(detector: Any, grid: Grid) -> tuple[Any, float]:
    """Return an image's pixels as a detector, and how many of the detector's pixels each covers.

    Parameters
    ----------
    detector:
        The calibrated detector of pyFAI; may be binned itself.
    grid:
        The image's place on the full, unbinned detector.

    Raises
    ------
    ConfigError
        When the image does not lie on it.
    """
    bin_y, bin_x = detector.binning
    own = Affine(((float(bin_y), 0.0, (bin_y - 1) / 2), (0.0, float(bin_x), (bin_x - 1) / 2),
                  (0.0, 0.0, 1.0)))  # fmt: skip
    affine = ~own @ grid.affine
    if not affine.keeps_axes:
        raise _misplaced("the image stands askew on the detector", detector, grid)
    if detector.shape is None:
        if int(detector.orientation) not in (0, 3):
            raise _misplaced(
                "the detector has an orientation, but no shape (max_shape)", detector, grid
            )
    else:
        rows, columns = grid.shape
        corners = affine(np.array([-0.5, rows - 0.5]), np.array([-0.5, columns - 0.5]))
        for edges, size in zip(corners, detector.shape, strict=True):
            if min(edges) < -0.5 - 1e-6 or max(edges) > size - 0.5 + 1e-6:
                raise _misplaced("the image does not fit the detector", detector, grid)
    if detector.CORNERS != 4 or detector.spline is not None:
        if affine == Affine() and grid.shape == tuple(detector.shape or grid.shape):
            return detector, 1.0
        raise _misplaced(
            "images of hexagonal pixels or with a spline can only be integrated as they are",
            detector,
            grid,
        )
    # also where nothing was moved: pyFAI's own mix up turned images once they know their corners
    return GridDetector(detector, affine, grid.shape), affine.scale**2


def _misplaced(why: str, detector: Any, grid: Grid) -> ConfigError:
    rows, columns = grid.shape
    places = [tuple(map(float, grid(*corner))) for corner in ((0, 0), (rows - 1, columns - 1))]
    size = "" if detector.shape is None else f" of {detector.shape[0]} × {detector.shape[1]} pixels"
    return ConfigError(
        f"{why}: its pixels lie at {places[0]} to {places[1]} (y, x)",
        field="poni",
        value=f"{detector.name}{size}",
        allowed=f"the geometry of the detector whose image has {rows} × {columns} pixels",
    )
