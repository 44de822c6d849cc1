"""Veto frames with too little on them."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from limadask.errors import ConfigError
from limadask.frames import Frames, Spec
from limadask.geometry import Coordinates, Rect
from limadask.task import Judge, Veto
from limadask_tasks import veto_kernels
from limadask_tasks.roi_statistics import Region, check_roi, pixel_runs


class MinIntensity(Veto):
    """Keep the frames whose sum, mean or maximum reaches a minimum.

    Masked pixels and NaN are left out. A frame without any other pixel has the sum 0, and no mean
    or maximum: these reach nothing.
    """

    minimum: float
    """What a frame must reach to be kept."""
    statistic: Literal["sum", "mean", "max"] = "sum"
    """What is compared with it."""
    band: str | None = None
    """The band that is looked at; None takes the pixels of all bands together."""
    roi: Region | None = None
    """The region that is looked at: ``{y, x, height, width}`` or another one; None takes all."""
    coordinates: Coordinates = "image"
    """Whether the region is given in pixels of the node's input or of the detector."""

    def plan(self, spec: Spec) -> Spec:
        """Check band and region."""
        bands_of(self.band, spec)
        if self.roi is not None:
            check_roi(self.roi, "roi", spec, self.coordinates)
        return spec

    def judge(self, spec: Spec) -> Judge:
        """Return the compiled function."""
        roi, coordinates = self.roi, self.coordinates
        if roi is None:
            roi, coordinates = Rect(0, 0, *spec.grid.shape), "image"
        bands = [
            (band, pixel_runs((roi,), spec, coordinates, band))
            for band in bands_of(self.band, spec)
        ]

        def judge(frames: Frames) -> NDArray[np.bool_]:
            table: NDArray[Any] = np.zeros((len(frames), 3))
            table[:, 2] = -np.inf
            for band, runs in bands:
                veto_kernels.intensity(frames.pixels, runs, band, table)
            total, count, high = table.T
            if self.statistic == "sum":
                return np.asarray(total >= self.minimum)
            with np.errstate(invalid="ignore"):
                value = high if self.statistic == "max" else total / count
            return np.asarray((count > 0) & (value >= self.minimum))

        return judge


def bands_of(band: str | None, spec: Spec) -> range:
    """Return the numbers of the bands that are meant.

    Raises
    ------
    ConfigError
        When there is no such band.
    """
    if band is None:
        return range(len(spec.bands))
    if band not in spec.bands:
        raise ConfigError(
            "the frames have no such band", field="band", value=band, allowed=list(spec.bands)
        )
    number = spec.bands.index(band)
    return range(number, number + 1)
