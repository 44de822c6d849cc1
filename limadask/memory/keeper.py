"""The thread that makes the pools of a process larger and smaller."""

from __future__ import annotations

import logging
import queue
import threading
import time
import weakref
from collections.abc import Callable
from typing import Protocol

logger = logging.getLogger(__name__)
LOOK = 1.0
"""Seconds between two looks at whether pools are larger than they need be."""


class Kept(Protocol):
    """A pool, as the keeper sees it."""

    def grow(self) -> None:
        """Add what is needed; may take its time."""

    def shrink(self) -> None:
        """Give back what has not been needed for a while."""

    @property
    def is_gone(self) -> bool:
        """Whether it has nothing, and never will."""


class Keeper:
    """Serves all pools of a process in one thread, which ends when there are none any more.

    Pages cost time when they are first touched: some 50 ms for a large block, which no acquisition
    thread has. The keeper keeps no pool alive but those that wait for the last of their memory.
    """

    def __init__(self, look: float = LOOK) -> None:
        self._look = look
        self._pools: weakref.WeakSet[Kept] = weakref.WeakSet()
        self._leaving: set[Kept] = set()
        self._asked: queue.SimpleQueue[weakref.ref[Kept]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, pool: Kept) -> None:
        """Look after a pool from now on, until it is gone."""
        with self._lock:
            self._pools.add(pool)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="limadask-pools", daemon=True
                )
                self._thread.start()

    def see_off(self, pool: Kept) -> None:
        """Look after a pool until it is gone, and keep it alive till then."""
        with self._lock:
            self._leaving.add(pool)
        self.add(pool)

    def ask(self, pool: Kept) -> None:
        """Let a pool grow soon; returns at once, and may be called from a destructor."""
        self._asked.put(weakref.ref(pool))

    @property
    def is_idle(self) -> bool:
        """Whether there is no thread."""
        return self._thread is None

    def _run(self) -> None:
        due = time.monotonic() + self._look
        while True:
            self._serve(max(0.0, due - time.monotonic()))
            if time.monotonic() < due:
                continue
            due = time.monotonic() + self._look
            self._shrink_all()
            self._let_go()
            with self._lock:
                if not self._pools:
                    self._thread = None
                    return

    def _serve(self, timeout: float) -> None:
        """Let the next pool grow that asks."""
        try:
            pool = self._asked.get(timeout=timeout)()
        except queue.Empty:
            return
        if pool is not None:
            _safely(pool.grow)
            self._let_go()

    def _let_go(self) -> None:
        with self._lock:
            self._leaving = {one for one in self._leaving if not one.is_gone}

    def _shrink_all(self) -> None:
        with self._lock:
            pools = list(self._pools)
        for pool in pools:
            _safely(pool.shrink)


def _safely(work: Callable[[], None]) -> None:
    """Do something for one pool: what goes wrong there is not to end the thread of all."""
    try:
        work()
    except Exception:  # any allocator's code
        logger.exception("a pool could not be made larger or smaller")


KEEPER = Keeper()
"""That of this process."""
