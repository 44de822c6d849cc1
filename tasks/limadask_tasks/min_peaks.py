"""Veto frames with too few peaks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt

from limadask.frames import Frames, Spec
from limadask.task import Judge, Veto
from limadask_tasks import peak_kernels
from limadask_tasks.min_intensity import bands_of


class MinPeaks(Veto):
    """Keep the frames with enough peaks, as hit finders of serial crystallography do.

    A peak is a pixel above the threshold that none of its eight neighbours exceeds; neighbours of
    the same value make one peak together. Masked pixels and NaN are no peaks, and no neighbours.
    """

    count: PositiveInt
    """Peaks that a frame must have to be kept."""
    threshold: float
    """What a peak must exceed."""
    band: str | None = None
    """The band that is looked at; None counts the peaks of all bands together."""

    def plan(self, spec: Spec) -> Spec:
        """Check the band."""
        bands_of(self.band, spec)
        return spec

    def judge(self, spec: Spec) -> Judge:
        """Return the compiled function."""
        bands = bands_of(self.band, spec)
        masked = np.zeros((1, 0, 0), bool)
        if spec.masked is not None:
            masked = spec.masked if spec.masked.ndim == 3 else spec.masked[np.newaxis]
        masked = np.ascontiguousarray(masked)

        def judge(frames: Frames) -> NDArray[np.bool_]:
            found = np.zeros(len(frames), np.int64)
            for band in bands:
                peak_kernels.count(frames.pixels, masked, band, self.threshold, self.count, found)
            return np.asarray(found >= self.count)

        return judge
