"""The receiver of a replay: frames from files at full speed, or at the pace of the exposure."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np

from limadask.detector import End, Frame, Lost, Receiver
from limadask.errors import ConfigError
from limadask.parameters import HardwareParameters
from limadask_detectors.replay.images import Layout, Missing
from limadask_detectors.replay.series import Series


class ReplayReceiver(Receiver):
    """Reads frames straight into the given buffers.

    Frames come in order; one that cannot be read leaves a gap. When files are slower than the
    asked rate, frames follow each other at full speed until the rate is kept again.

    Parameters
    ----------
    open_series:
        Opens the files.
    loop:
        Whether to begin again after the last image; timestamps in the files are then left out,
        since they would repeat.
    """

    pulls = True

    def __init__(self, open_series: Callable[[], Series], loop: bool) -> None:
        super().__init__()
        self._open_series, self._loop = open_series, loop
        self._series: Series | None = None
        self._ended = threading.Event()
        self._index, self._taken = 0, 0
        self._started, self._paused = 0.0, 0.0

    def arm(self, hardware: HardwareParameters) -> None:
        """Open the first file."""
        self._hardware = hardware
        self._series = self._open_series()
        expected = Layout(hardware.shape, np.dtype(hardware.dtype), hardware.bands)
        if self._series.layout != expected:
            raise ConfigError(
                "the files changed since they were looked at",
                field="path",
                value=str(self._series.layout),
                allowed=str(expected),
            )

    def start(self) -> None:
        """Begin the first exposure."""
        self._started = time.monotonic()

    def pause(self) -> None:
        """Note when: the core takes no frame until it is over."""
        self._paused = self._paused or time.monotonic()

    def resume(self) -> None:
        """Let the frames that are left come as much later as the pause has taken."""
        if self._paused:
            self._started += time.monotonic() - max(self._paused, self._started)
            self._paused = 0.0

    def take(self, timeout: float) -> Frame | Lost | End | None:
        """Return the next frame when its exposure is over."""
        hardware = self._hardware
        if self._ended.is_set() or 0 < hardware.nb_frames <= self._index:
            return End()
        due = self._started + self._index * hardware.period + hardware.expo_time
        wait = due - time.monotonic()
        if wait > 0 and self._ended.wait(min(wait, timeout)):
            return End()
        return None if wait > timeout else self._next()

    def stop(self, abort: bool) -> None:
        """End before the next frame."""
        self._ended.set()

    def close(self) -> None:
        """Close the files."""
        if self._series is not None:
            self._series.close()
            self._series = None

    def _next(self) -> Frame | Lost | End | None:
        series = self._series
        if series is None:
            return End()
        is_wanted = self.deal.wants(self._index)
        found = series.read(self.given[0] if is_wanted else None)
        if found is None:
            return self._again(series)
        if isinstance(found, Missing):
            self._index += found.count
            return Lost(self._index - found.count, self._index - 1, found.cause)
        if not is_wanted:
            self._index += 1
            self._taken += 1
            return None
        frame = Frame(self._index, complete=found.complete, invalid=found.invalid)
        if not self._loop:
            frame.timestamp = found.timestamp
        self.given.popleft()
        self._index += 1
        self._taken += 1
        return frame

    def _again(self, series: Series) -> End | None:
        """Begin again with the first image, or end."""
        if not self._loop:
            return End()
        if not self._taken:
            raise OSError("not one of the images to be repeated can be read")
        self._taken = 0
        series.rewind()
        return None
