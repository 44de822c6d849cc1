"""Tasks that wait without a thread."""

from __future__ import annotations

import asyncio
import contextvars
import time

from distributed import Worker
from distributed.worker_state_machine import SecedeEvent


def park(worker: Worker, key: tuple[str, int]) -> None:
    """Give the thread slot of a task back; called by the task itself.

    In a fresh context, or Dask's metrics callbacks nest and a parked task costs ever more.
    """
    event = SecedeEvent(key=key, compute_duration=0.0, stimulus_id=f"limadask-park-{time.time()}")
    loop = asyncio.get_running_loop()
    loop.call_soon(worker.handle_stimulus, event, context=contextvars.Context())
