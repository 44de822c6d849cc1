"""Blocks in order, though several threads have one each."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

GRACE = 2.0
"""Seconds that a block which has not begun is waited for."""
LOOK = 1.0
"""Seconds after which a thread that waits looks again."""


class Turns:
    """Lets threads pass in the order of their blocks.

    A thread that comes to a task which needs order waits for the blocks before its own that are
    under way; the first of them never waits, so all come through. Blocks begin in order, but for
    the moment that two threads need: one that finds that frames before it are with nobody gives
    their block :data:`GRACE`, and goes on without it then.
    """

    def __init__(self) -> None:
        self._under_way: list[int] = []
        self._begun = 0
        self._passed = threading.Condition()
        self._own = threading.local()

    def begin(self, first: int) -> None:
        """Be told the number of the first frame, where it is not 0."""
        self._begun = first

    @contextmanager
    def block(self, first: int, stop: int) -> Iterator[None]:
        """Have the block of frames ``first ≤ i < stop`` under way in this thread."""
        with self._passed:
            self._passed.wait_for(lambda: self._begun >= first, GRACE)
            self._begun = max(self._begun, stop)
            self._under_way.append(first)
            self._passed.notify_all()
        self._own.first = first
        try:
            yield
        finally:
            del self._own.first
            with self._passed:
                self._under_way.remove(first)
                self._passed.notify_all()

    def wait(self) -> None:
        """Wait until no block before this thread's own is under way; its stall is the run's."""
        first: int | None = getattr(self._own, "first", None)
        if first is None:  # what is left at the end is taken by one thread alone
            return
        with self._passed:
            while min(self._under_way) < first:
                self._passed.wait(LOOK)
