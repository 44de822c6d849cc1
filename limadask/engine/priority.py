"""Threads that take the most urgent block first."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

Rank = tuple[float, ...]
Job = Callable[[], Any]
EXPECTED = 0.05
"""Seconds that a thread waits for the next block of an acquisition, rather than begin one of an
older, when it has just worked through several: more of them are on their way from their receiver,
which may send only so many at a time."""
STREAK = 2
"""Blocks of one acquisition, without a pause between them, that tell of more on their way."""


class PriorityPool:
    """Runs blocks in the order of their rank, not of their arrival.

    Dask's own executor is first in, first out: there a new acquisition would wait behind the
    whole backlog of an old one.

    Parameters
    ----------
    threads:
        How many blocks run at a time.
    prepare:
        Called once in each thread.
    """

    def __init__(self, threads: int, prepare: Callable[[], object] | None = None) -> None:
        self._jobs: list[Any] = []
        self._busy = 0
        self._count, self._came = itertools.count(), threading.Condition()
        self._threads = [
            threading.Thread(
                target=self._work, args=(prepare,), name=f"limadask-process-{number}", daemon=True
            )
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def threads(self) -> list[int]:
        """The system's numbers of the threads."""
        return [one.native_id for one in self._threads if one.native_id is not None]

    def run(self, rank: Rank, job: Job) -> asyncio.Future[Any]:
        """Return a future of ``job()``; the job must not raise.

        Smaller ranks run first; the first number of a rank is that of the acquisition.
        """
        future = asyncio.get_running_loop().create_future()
        self._put(rank, job, future)
        return future

    @property
    def size(self) -> int:
        """How many blocks can run at a time."""
        return len(self._threads)

    @property
    def busy(self) -> int:
        """How many do."""
        return self._busy

    @property
    def queued(self) -> int:
        """How many wait for a thread."""
        return len(self._jobs)

    def close(self) -> None:
        """End the threads after the jobs that wait."""
        for _ in self._threads:
            self._put((float("inf"),), None, None)

    def join(self, timeout: float) -> bool:
        """Wait for the threads to end, ``timeout`` seconds at most; tell whether they have."""
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _put(self, rank: Rank, job: Job | None, future: asyncio.Future[Any] | None) -> None:
        with self._came:
            heapq.heappush(self._jobs, (rank, next(self._count), job, future))
            self._came.notify()

    def _work(self, prepare: Callable[[], object] | None) -> None:
        if prepare is not None:
            prepare()
        streak = _Streak()
        while True:
            rank, _, job, future = self._take(streak)
            if job is None:
                return
            result = job()
            with self._came:
                self._busy -= 1
            streak.add(rank[0])
            future.get_loop().call_soon_threadsafe(_resolve, future, result)
            del job, future, result  # an idle thread must hold no slot

    def _take(self, streak: _Streak) -> Any:
        """Return the most urgent job as soon as there is one that may begin."""
        until = time.monotonic() + EXPECTED
        with self._came:
            while True:
                wait = None
                if self._jobs:
                    expects = streak.expects_before(self._jobs[0][0][0])
                    wait = until - time.monotonic() if expects else 0.0
                    if wait <= 0:
                        self._busy += 1
                        return heapq.heappop(self._jobs)
                else:
                    streak.pause()
                self._came.wait(wait)


class _Streak:
    """How many blocks of one acquisition a thread has worked through without a pause."""

    def __init__(self) -> None:
        self._acquisition, self._length = float("inf"), 0

    def add(self, acquisition: float) -> None:
        """Note one more block."""
        self._length = self._length + 1 if acquisition == self._acquisition else 1
        self._acquisition = acquisition

    def pause(self) -> None:
        """Note that there was nothing to do: what came had not waited."""
        self._length = 0

    def expects_before(self, acquisition: float) -> bool:
        """Tell whether more blocks are expected that go before those of ``acquisition``."""
        return self._length >= STREAK and self._acquisition < acquisition < float("inf")


def _resolve(future: asyncio.Future[Any], result: Any) -> None:
    if not future.done():  # its task may have been cancelled meanwhile
        future.set_result(result)
