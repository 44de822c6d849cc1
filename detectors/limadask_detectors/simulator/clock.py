"""When the simulated camera exposes."""

from __future__ import annotations

import threading
import time

from limadask.parameters import HardwareParameters
from limadask_detectors.simulator.faults import Faults


class Clock:
    """Tells when which exposure is over.

    Parameters
    ----------
    hardware:
        Times and triggers.
    faults:
        Which exposures are late.
    """

    def __init__(self, hardware: HardwareParameters, faults: Faults) -> None:
        self._hardware, self._faults = hardware, faults
        self._triggered, self._stopped = threading.Semaphore(0), threading.Event()
        self._looked_at = -1
        self.following = 0
        """The frame that is exposed next."""

    @property
    def is_over(self) -> bool:
        """Whether no further frame will be exposed."""
        return self._stopped.is_set() or 0 < self._hardware.nb_frames <= self.following

    def start(self) -> None:
        """Begin the first exposure."""
        self._started, self._started_ns = time.monotonic(), time.time_ns()
        self._left = self._hardware.nb_frames_per_trigger
        if self._hardware.trigger_mode == "software":
            self._left = 0

    def trigger(self) -> None:
        """Expose some frames more."""
        self._triggered.release()

    def stop(self) -> None:
        """Expose no further frame."""
        self._stopped.set()

    def is_triggered(self, timeout: float) -> bool:
        """Wait for a trigger, where one is needed for the next frame."""
        if self._hardware.trigger_mode != "software" or self._left > 0:
            return True
        if not self._triggered.acquire(timeout=timeout):
            return False
        self._left = self._hardware.nb_frames_per_trigger
        passed = self.following * self._hardware.period
        self._started = time.monotonic() - passed
        self._started_ns = time.time_ns() - int(passed * 1e9)
        return True

    def is_exposed(self, timeout: float) -> bool:
        """Wait for the end of the next exposure; False if it is not over, or will never be."""
        wait = self.due - time.monotonic()
        if wait > 0 and self._stopped.wait(min(wait, timeout)):
            return False
        return wait <= timeout

    @property
    def due(self) -> float:
        """When the next exposure is over, seconds of the monotonic clock."""
        if self.following != self._looked_at:
            self._looked_at = self.following
            if self._faults.happens("delay", self.following):
                self._started += self._faults.delay_time
        hardware = self._hardware
        return self._started + self.following * hardware.period + hardware.expo_time

    @property
    def late(self) -> float:
        """Seconds since the end of the next exposure."""
        return time.monotonic() - self.due

    def advance(self, count: int = 1) -> int:
        """Go on to the next frames; return the first of those passed."""
        first = self.following
        self.following += count
        self._left -= count
        return first

    def stamp(self, number: int) -> int:
        """Return when a frame's exposure began, UTC nanoseconds."""
        period = self._hardware.period
        return self._started_ns + int(number * period * 1e9) if period else time.time_ns()
