"""The simulated camera as a process of its own kind: it deals frames to whoever is free."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any

from limadask.detector import End, Lost
from limadask.parameters import HardwareParameters
from limadask_detectors.simulator.clock import Clock
from limadask_detectors.simulator.faults import Faults
from limadask_detectors.simulator.shutter import connect, is_dead, overrun

PATIENCE = 0.02
"""Seconds that it waits for room before it looks at other things."""


class Dealer(threading.Thread):
    """Gives the number of each frame to the receiver that has most room.

    Parameters
    ----------
    endpoints:
        Where the receivers listen.
    hardware:
        Times and triggers.
    realtime:
        Whether frames are lost while no receiver has room.
    faults:
        Which exposures are late, and when the camera dies.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        hardware: HardwareParameters,
        realtime: bool,
        faults: Faults,
    ) -> None:
        super().__init__(name="limadask-simulator", daemon=True)
        self._hardware, self._realtime, self._faults = hardware, realtime, faults
        self._clock, self._closed = Clock(hardware, faults), threading.Event()
        self._room: dict[Connection[Any, Any], int] = {}
        for endpoint in endpoints:
            self._room[connect(endpoint)] = 0
        self.trigger = self._clock.trigger
        self.pause, self.resume = self._clock.pause, self._clock.resume

    def start(self) -> None:
        """Begin the first exposure."""
        self._clock.start()
        super().start()

    def stop(self) -> None:
        """Deal no further frame."""
        self._clock.stop()

    def close(self) -> None:
        """End the thread and close the connections."""
        self._clock.stop()
        self._closed.set()
        if self.is_alive():
            self.join(5.0)
        for receiver in self._room:
            receiver.close()

    def run(self) -> None:
        """Deal frames until the last, then tell every receiver so."""
        while self._room and not self._clock.is_over:
            if is_dead(self._faults, self._clock):
                self._closed.wait()
                return
            self._deal()
        for receiver in list(self._room):
            self._tell(receiver, End())

    def _deal(self) -> None:
        clock = self._clock
        if not clock.is_triggered(PATIENCE) or not clock.is_exposed(PATIENCE):
            return
        self._hear(0)
        if self._realtime and (lost := overrun(clock, self._hardware)):
            self._tell(next(iter(self._room)), lost)
            return
        receiver = max(self._room, key=self._room.__getitem__)
        if not self._room[receiver]:
            self._hear(PATIENCE)
            return
        number = clock.following
        if self._tell(receiver, (number, clock.stamp(number))):
            clock.advance()
            self._room[receiver] -= 1

    def _hear(self, timeout: float) -> None:
        """Learn who has room."""
        ready = wait(list(self._room), timeout)
        for receiver in [one for one in self._room if one in ready]:
            try:
                while receiver.poll(0):
                    self._room[receiver] += receiver.recv()
            except (OSError, EOFError):
                self._lose(receiver)

    def _tell(self, receiver: Connection[Any, Any], told: tuple[int, int] | Lost | End) -> bool:
        try:
            receiver.send(told)
        except OSError:
            self._lose(receiver)
            return False
        return True

    def _lose(self, receiver: Connection[Any, Any]) -> None:
        """Go on without a receiver that is gone."""
        del self._room[receiver]
        with suppress(OSError):
            receiver.close()
