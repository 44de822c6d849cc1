"""Work beside the event loop, in threads that keep no process alive."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

Job = tuple[Callable[[], Any], "asyncio.Future[Any]"]
_jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
_idle = threading.Semaphore(0)
"""How many threads wait for a job."""


def beside(work: Callable[[], Any]) -> asyncio.Future[Any]:
    """Return a future of ``work()``, done in a thread that nobody waits for at the end.

    The end of a process waits for the threads of Python's executors: with one that hangs in a
    plugin, a worker would never end. Threads are used again: each new one costs memory, since
    the C library gives it an arena of its own.
    """
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    _jobs.put((work, future))
    if not _idle.acquire(blocking=False):
        threading.Thread(target=_serve, name="limadask-beside", daemon=True).start()
    return future


def _serve() -> None:
    while True:
        work, future = _jobs.get()
        try:
            result = work()
        except BaseException as error:  # whoever waits is told of anything
            _tell(future, future.set_exception, error)
        else:
            _tell(future, future.set_result, result)
            del result
        del work, future  # an idle thread must hold nothing
        _idle.release()


def _tell(future: asyncio.Future[Any], tell: Callable[[Any], None], what: Any) -> None:
    """Tell the loop what came of it, unless nobody waits for it any more."""
    with suppress(RuntimeError):  # the loop has ended, and the process is about to
        future.get_loop().call_soon_threadsafe(lambda: None if future.done() else tell(what))
