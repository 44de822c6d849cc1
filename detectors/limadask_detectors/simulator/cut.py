"""What the simulated camera does itself to its images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from limadask.geometry import Rect
from limadask.parameters import HardwareParameters
from limadask_detectors.simulator.images import Bank


class Cut:
    """The ROI, binning and flip that the camera does itself, or the part it sends.

    Parameters
    ----------
    hardware:
        What it does.
    part:
        The part of the image that is sent; then it does nothing else.
    """

    def __init__(self, hardware: HardwareParameters, part: Rect | None = None) -> None:
        self._part = part
        self.shape = hardware.shape if part is None else (part.height, part.width)
        self.dtype = np.dtype(hardware.dtype)
        self._hardware = hardware
        self._whole: NDArray[Any] | None = None
        bins = hardware.binning
        self._plain = hardware.roi is None and bins.y == bins.x == 1 and hardware.flip == "none"

    def fill(self, bank: Bank, index: int, out: NDArray[Any]) -> None:
        """Write what the camera delivers of frame ``index`` into ``out``."""
        if self._plain:
            bank.fill(index, out, self._part)
            return
        if self._whole is None:
            self._whole = bank.blank()
        bank.fill(index, self._whole)
        image, roi, bins = self._whole, self._hardware.roi, self._hardware.binning
        if roi is not None:
            image = image[:, roi.y : roi.y + roi.height, roi.x : roi.x + roi.width]
        if (bins.y, bins.x) != (1, 1):
            rows, columns = self._hardware.shape
            image = image[:, : rows * bins.y, : columns * bins.x]
            image = image.reshape(len(image), rows, bins.y, columns, bins.x)
            image = image.sum(axis=(2, 4), dtype=self.dtype)
        if self._hardware.flip in ("y", "both"):
            image = image[:, ::-1]
        if self._hardware.flip in ("x", "both"):
            image = image[:, :, ::-1]
        np.copyto(out, image)
