"""Work beside the event loop, in threads that keep no process alive."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any


def beside(work: Callable[[], Any]) -> asyncio.Future[Any]:
    """Return a future of ``work()``, done in a thread of its own.

    The end of a process waits for the threads of Python's executors: with one that hangs in a
    plugin, a worker would never end.
    """
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # whoever waits is told of anything
            _tell(future, future.set_exception, error)
        else:
            _tell(future, future.set_result, result)

    threading.Thread(target=run, name="limadask-beside", daemon=True).start()
    return future


def _tell(future: asyncio.Future[Any], tell: Callable[[Any], None], what: Any) -> None:
    """Tell the loop what came of it, unless nobody waits for it any more."""
    with suppress(RuntimeError):  # the loop has ended, and the process is about to
        future.get_loop().call_soon_threadsafe(lambda: None if future.done() else tell(what))
