"""Tables of the peaks of each frame."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeFloat

from limadask.frames import Spec
from limadask.geometry import Coordinates
from limadask.memory import Scratch
from limadask.task import Measure, Products, Reduction, Values, Variable
from limadask_tasks import peak_kernels
from limadask_tasks.min_intensity import bands_of

ROOM = 256
"""Peaks of a frame that there is room for at first."""


class FindPeaks(Reduction):
    """Find the peaks of each frame: a table with a row for each.

    A peak is as for ``min_peaks``: a pixel above the threshold that none of its eight neighbours
    exceeds; neighbours of the same value make one peak together, at their mean position. Masked
    pixels and NaN are no peaks, and no neighbours. By-products: ``count`` with dim ``frame``, and
    ``y``, ``x`` (pixels), ``intensity`` (value of the pixel) and ``band`` (its number) with dim
    ``peak``: those of the first frame, by rows of the image, then those of the second, …
    """

    threshold: float
    """What a peak must exceed."""
    min_distance: NonNegativeFloat = 0
    """Pixels of the image: of two peaks of a band that are nearer, only the higher one counts."""
    band: str | None = None
    """The band that is looked at; None looks at each."""
    coordinates: Coordinates = "image"
    """Whether positions are in pixels of the node's input or of the detector."""

    def plan(self, spec: Spec) -> Products:
        """Check the band; predict the columns."""
        bands_of(self.band, spec)
        kinds = {"y": ("f8", "pixel"), "x": ("f8", "pixel"), "intensity": ("f8", "")}
        columns = {
            name: Variable(("peak",), np.dtype(dtype), units)
            for name, (dtype, units) in {**kinds, "band": ("i4", "")}.items()
        }
        return Products(
            {"count": Variable((), np.dtype("i4")), **columns}, ragged={"peak": "count"}
        )

    def measure(self, spec: Spec) -> Measure:
        """Return the compiled function."""
        bands = bands_of(self.band, spec)
        masked = np.zeros((1, 0, 0), bool)
        if spec.masked is not None:
            masked = spec.masked if spec.masked.ndim == 3 else spec.masked[np.newaxis]
        masked, grid, scratch = np.ascontiguousarray(masked), spec.grid, Scratch()

        def measure(pixels: NDArray[Any]) -> Values:
            shape = pixels.shape[2:]
            seen = scratch.array("seen", shape, np.uint8)
            memory = seen, scratch.array("stack", (seen.size,), np.int64)
            tables = [
                self._table(pixels[number], masked, band, *memory)
                for number in range(len(pixels))
                for band in bands
            ]
            counts = np.array([len(table) for table in tables], np.int32).reshape(len(pixels), -1)
            rows = np.concatenate([np.empty((0, 3)), *tables])
            y, x, intensity = np.ascontiguousarray(rows.T)
            if self.coordinates == "detector":
                y, x = grid(y, x)
            band = np.tile(np.array(bands, np.int32), len(pixels)).repeat(counts.ravel())
            count = counts.sum(axis=1, dtype=np.int32)
            return {"count": count, "y": y, "x": x, "intensity": intensity, "band": band}

        return measure

    def _table(
        self,
        frame: NDArray[Any],
        masked: NDArray[np.bool_],
        band: int,
        seen: NDArray[np.uint8],
        stack: NDArray[np.int64],
    ) -> NDArray[np.float64]:
        """Return the peaks of one band of a frame: rows of y, x and intensity."""
        room = ROOM
        while True:
            table = np.empty((room, 3))
            found = peak_kernels.tops(frame, masked, band, self.threshold, seen, stack, table)
            if found <= room:
                break
            room = found
        table = table[:found]
        if self.min_distance and found:
            order = np.argsort(-table[:, 2], kind="stable")
            table = table[peak_kernels.apart(table, order, self.min_distance, frame.shape[1:])]
        return table
