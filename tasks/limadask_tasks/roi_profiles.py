"""Profiles of regions of interest."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from limadask.errors import ConfigError
from limadask.frames import Spec
from limadask.geometry import Coordinates, Rect
from limadask.task import Measure, Products, Reduction, Variable
from limadask_tasks import kernels
from limadask_tasks.roi_statistics import STATISTICS, check_roi


class RoiProfiles(Reduction):
    """Statistics of every column or row of rectangles.

    By-products with dims ``(frame, band, roi, position)``. ``horizontal`` profiles run along x:
    position *p* is column ``x + p``, over all rows of the rectangle; ``vertical`` ones run along
    y. Shorter profiles are filled up with NaN, count 0.
    """

    rois: Annotated[tuple[Rect, ...], Field(min_length=1)]
    """The rectangles ``{y, x, height, width}``, with an optional name."""
    direction: Literal["horizontal", "vertical"] = "horizontal"
    """Along which axis the profiles run."""
    coordinates: Coordinates = "image"
    """Whether the rectangles are given in pixels of the node's input or of the detector."""

    def plan(self, spec: Spec) -> Products:
        """Check that every rectangle lies in the image and stays one."""
        boxes = self.boxes(spec)
        dims = ("band", "roi", "position")
        variables = {name: Variable(dims, np.dtype(dtype)) for name, dtype in STATISTICS.items()}
        names = [roi.name or str(number) for number, roi in enumerate(self.rois)]
        return Products(
            variables,
            {
                "band": (("band",), list(spec.bands)),
                "roi": (("roi",), names),
                "position": (("position",), np.arange(self._length(boxes))),
            },
        )

    def measure(self, spec: Spec) -> Measure:
        """Return the compiled function."""
        boxes = self.boxes(spec)
        shape = len(spec.bands), len(boxes), self._length(boxes), len(STATISTICS)
        masked = np.zeros((1, 0, 0), bool)
        if spec.masked is not None:
            masked = spec.masked if spec.masked.ndim == 3 else spec.masked[np.newaxis]
        masked, along_x = np.ascontiguousarray(masked), self.direction == "horizontal"

        def measure(pixels: NDArray[Any]) -> NDArray[Any]:
            table = np.full((len(pixels), *shape), np.nan)
            table[..., -2:] = 0  # sum and count of nothing
            for number, box in enumerate(boxes):
                kernels.profiles(pixels, masked, box, along_x, table[:, :, number])
            return table

        return measure

    def boxes(self, spec: Spec) -> list[NDArray[np.int64]]:
        """Return the rectangles ``(y, x, height, width)`` in pixels of the image."""
        found = []
        for number, roi in enumerate(self.rois):
            mapped = spec.grid.from_detector(roi) if self.coordinates == "detector" else roi
            if not isinstance(mapped, Rect):
                raise ConfigError(
                    "the rectangle does not stay one in this image",
                    field=f"rois.{number}",
                    value=roi,
                    allowed="a rectangle of whole pixels of the image",
                )
            check_roi(mapped, f"rois.{number}", spec, "image")
            found.append(np.array([mapped.y, mapped.x, mapped.height, mapped.width], np.int64))
        return found

    def _length(self, boxes: list[NDArray[np.int64]]) -> int:
        return int(max(box[3 if self.direction == "horizontal" else 2] for box in boxes))
