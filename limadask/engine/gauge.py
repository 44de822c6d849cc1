"""How full a receiver's pool is, looked at where frames are put into it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from limadask.memory import BufferPool, Judge, Pressure


class Gauge:
    """Judges a receiver's pool: at each slot that is taken, and whenever it is asked.

    It counts blocks that are out of the receiver's hands, of those that may be: the slot that is
    being filled is nobody's burden. Any thread may use it.

    Parameters
    ----------
    pool:
        The pool.
    changed:
        Called, from the acquisition thread, when the level is another one than before.
    """

    def __init__(self, pool: BufferPool, changed: Callable[[], object] = lambda: None) -> None:
        self._pool, self._changed = pool, changed
        self._lock, self._judge = threading.Lock(), Judge()
        self._starved = False
        self.pressure, self.free = Pressure(), pool.statistics().left
        """How it was when it was last looked at, and slots that were free then."""

    def note(self, starved: bool) -> None:
        """Take note that a slot has been taken, or that none was free."""
        before = self.pressure.level
        with self._lock:
            self._starved = starved
        if self.look().level != before:
            self._changed()

    def look(self) -> Pressure:
        """Return how full the pool is now."""
        known = self._pool.statistics()
        lent, self.free = known.slots - known.free, known.left
        with self._lock:
            out, most = max(0, lent - 1), max(1, lent + known.left - 1)
            # who waits for a slot that is just being made is not out of memory
            starved = self._starved and known.left == 0
            self.pressure = self._judge.judge(time.monotonic(), out, most, starved)
            return self.pressure
