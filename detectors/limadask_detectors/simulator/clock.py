"""When the simulated camera exposes."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from math import ceil, inf

from limadask.parameters import HardwareParameters
from limadask_detectors.simulator.faults import Faults


@dataclass(slots=True)
class Leg:
    """Exposures that follow each other without a pause.

    Parameters
    ----------
    first:
        The first of them.
    started, started_ns:
        When frame 0 began, or would have: seconds of the monotonic clock, and UTC nanoseconds.
    stop:
        The last one + 1; inf while it goes on.
    paused:
        When it was broken off, seconds of the monotonic clock.
    """

    first: int
    started: float
    started_ns: int
    stop: float = inf
    paused: float = inf


class Clock:
    """Tells when which exposure is over; paused and stopped from other threads.

    A pause lets the exposure end that has begun. The next one begins when it is over, and the
    others follow in their pace.

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
        self._changed = threading.Condition()
        self._legs: list[Leg] = []
        self._is_paused = False
        self._looked_at = -1
        self.following = 0
        """The frame that is exposed next."""

    @property
    def is_over(self) -> bool:
        """Whether no further frame will be exposed."""
        return self._stopped.is_set() or 0 < self._hardware.nb_frames <= self.following

    def start(self) -> None:
        """Begin the first exposure."""
        with self._changed:
            self._legs = [Leg(0, time.monotonic(), time.time_ns())]
            if self._is_paused:
                self._break_off()
        self._left = self._hardware.nb_frames_per_trigger
        if self._hardware.trigger_mode == "software":
            self._left = 0

    def trigger(self) -> None:
        """Expose some frames more."""
        self._triggered.release()

    def pause(self) -> None:
        """Begin no further exposure until :meth:`resume`."""
        with self._changed:
            if not self._is_paused:
                self._is_paused = True
                self._break_off()

    def resume(self) -> None:
        """Begin the next exposure now."""
        with self._changed:
            if self._is_paused and self._legs:
                self._begin(int(self._legs[-1].stop))
            self._is_paused = False
            self._changed.notify_all()

    def stop(self) -> None:
        """Expose no further frame."""
        self._stopped.set()
        with self._changed:
            self._changed.notify_all()

    def is_triggered(self, timeout: float) -> bool:
        """Wait for a trigger, where one is needed for the next frame."""
        if self._hardware.trigger_mode != "software" or self._left > 0:
            return True
        if not self._is_on(timeout) or not self._triggered.acquire(timeout=timeout):
            return False
        self._left = self._hardware.nb_frames_per_trigger
        with self._changed:
            self._begin(self.following)
            if self._is_paused:
                self._break_off()
        return True

    def is_exposed(self, timeout: float) -> bool:
        """Wait for the end of the next exposure; False if it is not over, or will never be."""
        if not self._is_on(timeout):
            return False
        wait = self.due - time.monotonic()
        if wait > 0 and self._stopped.wait(min(wait, timeout)):
            return False
        return wait <= timeout and self.following < self._leg().stop

    @property
    def due(self) -> float:
        """When the next exposure is over, seconds of the monotonic clock."""
        leg = self._leg()
        if self.following != self._looked_at:
            self._looked_at = self.following
            if self._faults.happens("delay", self.following):
                leg.started += self._faults.delay_time
        hardware = self._hardware
        return leg.started + self.following * hardware.period + hardware.expo_time

    @property
    def late(self) -> float:
        """Seconds for which the camera has gone on since the end of the next exposure."""
        return min(time.monotonic(), self._leg().paused) - self.due

    def advance(self, count: int = 1) -> int:
        """Go on to the next frames; return the first of those passed."""
        first = self.following
        self.following += count
        self._left -= count
        return first

    def stamp(self, number: int) -> int:
        """Return when a frame's exposure began, UTC nanoseconds."""
        period, leg = self._hardware.period, self._leg(number)
        return leg.started_ns + int(number * period * 1e9) if period else time.time_ns()

    def _is_on(self, timeout: float) -> bool:
        """Wait while the next exposure must not begin; False if that takes too long."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._stopped.is_set() or not self._is_held(), timeout=timeout
            )
            return not self._is_held()

    def _is_held(self) -> bool:
        return self._is_paused and self.following >= self._legs[-1].stop

    def _leg(self, number: int | None = None) -> Leg:
        """Return the leg that a frame belongs to, the next one if no other is asked for."""
        number = self.following if number is None else number
        with self._changed:
            while len(self._legs) > 1 and self._legs[1].first < self.following:
                del self._legs[0]
            return next(leg for leg in reversed(self._legs) if leg.first <= number)

    def _begin(self, first: int) -> None:
        """Begin a leg now; a frame before it belongs to the one before."""
        passed = first * self._hardware.period
        begun = Leg(first, time.monotonic() - passed, time.time_ns() - int(passed * 1e9))
        self._legs = [*(leg for leg in self._legs if leg.first < first), begun]

    def _break_off(self) -> None:
        """Let the exposure that has begun be the last of its leg."""
        if self._legs:
            leg, now, period = self._legs[-1], time.monotonic(), self._hardware.period
            begun = ceil((now - leg.started) / period) if period else self.following
            leg.stop, leg.paused = max(leg.first, begun), now
