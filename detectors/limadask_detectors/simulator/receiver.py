"""The simulator's receiver: frames at the pace of the exposure."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from limadask.detector import End, Frame, Receiver
from limadask.parameters import HardwareParameters
from limadask_detectors.simulator.images import Bank

FIFO = 4
"""Frames that a camera in real time keeps while nobody takes them."""


class SimulatorReceiver(Receiver):
    """Makes frames when their exposure is over.

    Parameters
    ----------
    bank:
        Makes a full frame.
    buffers:
        Whether given buffers are filled, or own ones lent.
    realtime:
        Whether frames are lost when nobody takes them in time.
    dropped:
        Frames that never come.
    """

    def __init__(
        self,
        bank: Callable[[], Bank],
        buffers: Literal["fill", "lend"],
        realtime: bool,
        dropped: frozenset[int],
    ) -> None:
        super().__init__()
        self._make_bank, self._buffers, self._realtime = bank, buffers, realtime
        self._dropped = dropped
        self._ended, self._triggered = threading.Event(), threading.Semaphore(0)
        self._index, self._missed = 0, ""

    def arm(self, hardware: HardwareParameters) -> None:
        """Draw the bank of frames."""
        self._hardware, self._bank = hardware, self._make_bank()
        self._cut = _Cut(hardware)

    def start(self) -> None:
        """Begin the first exposure."""
        self._started, self._started_ns = time.monotonic(), time.time_ns()
        self._left = self._hardware.nb_frames_per_trigger
        if self._hardware.trigger_mode == "software":
            self._left = 0

    def trigger(self) -> None:
        """Expose some frames more."""
        self._triggered.release()

    def take(self, timeout: float) -> Frame | End | None:
        """Return the next frame when its exposure is over."""
        hardware = self._hardware
        while self._index in self._dropped:
            self._index += 1
            self._missed = "detector"
        if self._ended.is_set() or 0 < hardware.nb_frames <= self._index:
            return End()
        if hardware.trigger_mode == "software" and self._left <= 0:
            if not self._triggered.acquire(timeout=timeout):
                return None
            self._left = hardware.nb_frames_per_trigger
            passed = self._index * hardware.period
            self._started = time.monotonic() - passed
            self._started_ns = time.time_ns() - int(passed * 1e9)
        due = self._started + self._index * hardware.period + hardware.expo_time
        wait = due - time.monotonic()
        if wait > 0 and self._ended.wait(min(wait, timeout)):
            return End()
        if wait > timeout:
            return None
        if self._realtime and hardware.period and -wait > FIFO * hardware.period:
            self._index += int(-wait / hardware.period)
            self._missed = "overrun"
            if 0 < hardware.nb_frames <= self._index:
                return End()
        return self._frame()

    def stop(self, abort: bool) -> None:
        """End before the next frame."""
        self._ended.set()

    def _frame(self) -> Frame:
        index = self._index
        self._index += 1
        self._left -= 1
        stamp = self._started_ns + int(index * self._hardware.period * 1e9)
        if not self._hardware.period:
            stamp = time.time_ns()
        missed, self._missed = self._missed, ""
        if self._buffers == "lend":
            lent = np.empty((len(self._hardware.bands), *self._hardware.shape), self._cut.dtype)
            self._cut.fill(self._bank, index, lent)
            return Frame(index, lent=lent, timestamp=stamp, missed=missed)
        self._cut.fill(self._bank, index, self.given.popleft())
        return Frame(index, timestamp=stamp, missed=missed)


class _Cut:
    """The ROI, binning and flip that the camera does itself."""

    def __init__(self, hardware: HardwareParameters) -> None:
        self.dtype = np.dtype(hardware.dtype)
        self._hardware = hardware
        self._whole: NDArray[Any] | None = None
        bins = hardware.binning
        self._plain = hardware.roi is None and bins.y == bins.x == 1 and hardware.flip == "none"

    def fill(self, bank: Bank, index: int, out: NDArray[Any]) -> None:
        """Write what the camera delivers of frame ``index`` into ``out``."""
        if self._plain:
            bank.fill(index, out)
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
