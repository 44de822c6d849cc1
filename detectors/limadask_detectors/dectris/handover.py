"""What passive receivers hand on, one to the next, so that no series is lost between them."""

from __future__ import annotations

import atexit
import threading
from collections import deque

from limadask_detectors.dectris.connection import ALONE, Connection, Parts

LINGER = 5.0
"""Seconds for which the connection waits for the next receiver: a socket that is closed takes with
it what was on its way to it."""
_handovers: dict[str, Handover] = {}
_lock = threading.Lock()


class Handover:
    """The connection to a stream, and messages that came to a receiver but are for the next one.

    The connection stays open for a while after the last receiver has left.

    Parameters
    ----------
    address:
        Where the detector sends.
    """

    def __init__(self, address: str) -> None:
        self.series: int | None = None
        """The series that was taken last."""
        self._address, self._receivers = address, 0
        self._connection: Connection | None = None
        self._kept: deque[Parts] = deque()
        self._closing: threading.Timer | None = None
        self._lock = threading.Lock()

    @classmethod
    def at(cls, address: str) -> Handover:
        """Join that of a stream in this process."""
        with _lock:
            handover = _handovers.setdefault(address, cls(address))
        handover.join()
        return handover

    def join(self) -> None:
        """Connect, if no other receiver has."""
        with self._lock:
            if self._closing is not None:
                self._closing.cancel()
                self._closing = None
            if self._connection is None:
                self._connection = Connection(self._address, ALONE)
            self._receivers += 1

    def receive(self, timeout: float) -> Parts | None:
        """Return the next message, None when there is none within ``timeout`` s."""
        with self._lock:
            if self._kept or self._connection is None:
                return self._kept.popleft() if self._kept else None
            return self._connection.receive(timeout)

    def put_back(self, parts: Parts) -> None:
        """Keep a message for the next receiver."""
        with self._lock:
            self._kept.appendleft(parts)

    def leave(self, series: int | None) -> None:
        """Say that a receiver has taken a series, if it has."""
        with self._lock:
            self._receivers -= 1
            self.series = self.series if series is None else series
            if not self._receivers:
                self._closing = threading.Timer(LINGER, self.close)
                self._closing.name, self._closing.daemon = "limadask-dectris-linger", True
                self._closing.start()

    def close(self) -> None:
        """Close the connection, unless another receiver has come."""
        with self._lock:
            if self._receivers or self._connection is None:
                return
            self._connection.close()
            self._connection = self._closing = None
            self._kept.clear()


@atexit.register
def _close_all() -> None:
    """Close what lingers: ZeroMQ would wait for it at the end of the process."""
    for handover in _handovers.values():
        handover.close()
