"""Threads that take the most urgent block first."""

from __future__ import annotations

import asyncio
import itertools
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

Job = Callable[[], Any]


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
        self._jobs: queue.PriorityQueue[Any] = queue.PriorityQueue()
        self._count = itertools.count()
        self._threads = [
            threading.Thread(
                target=self._work, args=(prepare,), name=f"limadask-process-{number}", daemon=True
            )
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def run(self, rank: tuple[int, ...], job: Job) -> asyncio.Future[Any]:
        """Return a future of ``job()``; smaller ranks run first. The job must not raise."""
        future = asyncio.get_running_loop().create_future()
        self._jobs.put((rank, next(self._count), job, future))
        return future

    def close(self) -> None:
        """End the threads after the jobs that wait."""
        for _ in self._threads:
            self._jobs.put(((float("inf"),), next(self._count), None, None))

    def join(self, timeout: float) -> bool:
        """Wait for the threads to end, ``timeout`` seconds at most; tell whether they have."""
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self, prepare: Callable[[], object] | None) -> None:
        if prepare is not None:
            prepare()
        while True:
            *_, job, future = self._jobs.get()
            if job is None:
                return
            result = job()
            future.get_loop().call_soon_threadsafe(_resolve, future, result)
            del job, future, result  # an idle thread must hold no slot


def _resolve(future: asyncio.Future[Any], result: Any) -> None:
    if not future.done():  # its task may have been cancelled meanwhile
        future.set_result(result)
