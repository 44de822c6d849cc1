"""What passive receivers hand on, one to the next, so that no series is lost between them."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from limadask_detectors.dectris.connection import ALONE, Connection, Parts

FRESH = 10.0
"""Seconds for which messages are kept when no receiver is there."""
MOST = 64 << 20
"""Bytes of the messages that are kept then."""
QUIET, LONGEST = 0.02, 0.2
"""Seconds without a message after which no more is on its way, and for which that is waited for."""
_handovers: dict[str, Handover] = {}
_lock = threading.Lock()


class Handover:
    """The connection to a stream, and messages that came to a receiver but are for the next one.

    The connection is open as long as a receiver is; the next one may join before the last leaves.

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
        self._left = 0.0
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
            if self._connection is None:
                self._connection = Connection(self._address, ALONE)
                if time.monotonic() - self._left > FRESH:
                    self._kept.clear()
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

    def leave(self, series: int | None, keeps: Callable[[Parts], bool]) -> None:
        """Say that a receiver has taken a series; the last one to go closes the connection.

        What has come already and ``keeps`` is left to the next.
        """
        with self._lock:
            self._receivers -= 1
            self.series = self.series if series is None else series
            if self._receivers or self._connection is None:
                return
            self._left = time.monotonic()
            self._keep(self._connection, keeps)
            self._connection.close()
            self._connection = None

    def _keep(self, connection: Connection, keeps: Callable[[Parts], bool]) -> None:
        room = MOST
        while room > 0 and time.monotonic() < self._left + LONGEST:
            parts = connection.receive(QUIET)
            if parts is None:
                return
            if keeps(parts):
                self._kept.append(parts)
                room -= sum(len(one) for one in parts)
