"""Values on their way to the coordinator."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from typing import TypedDict
from uuid import uuid4

from limadask.timeseries.value import Value

MOST = 4096
"""Values that wait to be taken: they are, several times a second."""
REPEATED = 512
"""Values that are handed out once more at the end: the message that had them may be overtaken."""
Sample = tuple[str, int, Value | None, str]
"""Name, time in UTC nanoseconds, value, and why there is none."""


class Parcel(TypedDict):
    """Some values of one outbox."""

    sender: str
    """Which outbox."""
    first: int
    """How many values it had handed out before: what comes twice is known by it."""
    samples: list[Sample]


class Outbox:
    """Takes values from any thread until it is closed."""

    def __init__(self) -> None:
        self._sender, self._lock = uuid4().hex, threading.Lock()
        self._new: list[Sample] = []
        self._sent: deque[Sample] = deque(maxlen=REPEATED)
        self._count = 0
        self._refused: Counter[str] = Counter()
        self._is_closed = False

    def put(self, name: str, when: int, value: Value | None, reason: str = "") -> None:
        """Add a value, or why there is none; what comes too fast is counted only."""
        with self._lock:
            if self._is_closed:
                return
            if len(self._new) < MOST:
                self._new.append((name, when, value, reason))
            else:
                self._refused[name] += 1

    def take(self) -> Parcel:
        """Return what has come since the last call."""
        with self._lock:
            return self._take()

    def close(self) -> Parcel:
        """Return what has come since the last call, and again what was taken just before it."""
        with self._lock:
            self._is_closed = True
            before = list(self._sent)
            parcel = self._take()
        first = parcel["first"] - len(before)
        return {**parcel, "first": first, "samples": before + parcel["samples"]}

    def _take(self) -> Parcel:
        taken, self._new = self._new, []
        for name, count in self._refused.items():
            taken.append((name, time.time_ns(), None, f"{count} values came too fast"))
        self._refused.clear()
        first, self._count = self._count, self._count + len(taken)
        self._sent += taken
        return {"sender": self._sender, "first": first, "samples": taken}
