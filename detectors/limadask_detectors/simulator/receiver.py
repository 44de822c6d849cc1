"""The simulator's receiver: frames at the pace of the exposure."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Literal

import numpy as np

from limadask.detector import End, Frame, Lost, Receiver
from limadask.parameters import HardwareParameters
from limadask_detectors.simulator.cut import Cut
from limadask_detectors.simulator.faults import Faults
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
    faults:
        What goes wrong.
    """

    def __init__(
        self,
        bank: Callable[[], Bank],
        buffers: Literal["fill", "lend"],
        realtime: bool,
        faults: Faults,
    ) -> None:
        super().__init__()
        self._make_bank, self._buffers, self._realtime = bank, buffers, realtime
        self._faults = faults
        self._ended, self._triggered = threading.Event(), threading.Semaphore(0)
        self._never = threading.Event()
        self._index, self._looked_at = 0, -1
        self._queue: deque[int] = deque()

    def arm(self, hardware: HardwareParameters) -> None:
        """Draw the bank of frames."""
        self._hardware, self._bank = hardware, self._make_bank()
        self._cut = Cut(hardware)

    def start(self) -> None:
        """Begin the first exposure."""
        self._started, self._started_ns = time.monotonic(), time.time_ns()
        self._left = self._hardware.nb_frames_per_trigger
        if self._hardware.trigger_mode == "software":
            self._left = 0

    def trigger(self) -> None:
        """Expose some frames more."""
        self._triggered.release()

    def take(self, timeout: float) -> Frame | Lost | End | None:
        """Return the next frame when its exposure is over."""
        hardware, faults = self._hardware, self._faults
        if self._queue:
            return self._frame(self._queue.popleft())
        if faults.die is not None and self._index >= faults.die:
            self._never.wait(timeout)
            return None
        if self._ended.is_set() or 0 < hardware.nb_frames <= self._index:
            return End()
        if hardware.trigger_mode == "software" and self._left <= 0:
            if not self._triggered.acquire(timeout=timeout):
                return None
            self._left = hardware.nb_frames_per_trigger
            passed = self._index * hardware.period
            self._started = time.monotonic() - passed
            self._started_ns = time.time_ns() - int(passed * 1e9)
        wait = self._due() - time.monotonic()
        if wait > 0 and self._ended.wait(min(wait, timeout)):
            return End()
        if wait > timeout:
            return None
        if self._realtime and hardware.period and -wait > FIFO * hardware.period:
            return self._overrun(int(-wait / hardware.period))
        return self._expose()

    def stop(self, abort: bool) -> None:
        """End before the next frame."""
        self._ended.set()

    def _due(self) -> float:
        """Return when the next exposure is over."""
        if self._index != self._looked_at:
            self._looked_at = self._index
            if self._faults.happens("delay", self._index):
                self._started += self._faults.delay_time
        hardware = self._hardware
        return self._started + self._index * hardware.period + hardware.expo_time

    def _overrun(self, count: int) -> Lost:
        """Lose the frames that nobody took in time."""
        first, expected = self._index, self._hardware.nb_frames
        self._index += count
        if expected:
            self._index = min(self._index, expected)
        return Lost(first, self._index - 1, "overrun")

    def _expose(self) -> Frame | Lost | None:
        """Return the next frame, or what becomes of it."""
        number, faults = self._next_number(), self._faults
        for fault, cause in (("corrupt", "decode_error"), ("overrun", "overrun")):
            if faults.happens(fault, number):
                return Lost(number, number, cause)
        if faults.happens("drop", number):
            return None
        is_last = 0 < self._hardware.nb_frames <= self._index
        if faults.happens("reorder", number) and not is_last:
            self._queue.append(number)
            return self._frame(self._next_number())
        if faults.happens("duplicate", number):
            self._queue.append(number)
        return self._frame(number)

    def _next_number(self) -> int:
        self._index += 1
        self._left -= 1
        return self._index - 1

    def _frame(self, number: int) -> Frame:
        hardware = self._hardware
        stamp = self._started_ns + int(number * hardware.period * 1e9)
        frame = Frame(number, timestamp=stamp if hardware.period else time.time_ns())
        if self._buffers == "lend":
            pixels = np.empty((len(hardware.bands), *hardware.shape), self._cut.dtype)
            frame.lent = pixels
        else:
            pixels = self.given.popleft()
        self._cut.fill(self._bank, number, pixels)
        if self._faults.happens("lose_packets", number):
            frame.complete, frame.cause = False, "packets_lost"
            frame.invalid = self._faults.lost_rows(number, hardware.shape)
        return frame
