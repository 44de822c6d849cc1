"""Signs of life of workers: a frozen one is found within a second, a silent one after some."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Collection, Sequence
from typing import Any

import dask
import psutil
from distributed import Scheduler
from distributed.comm.addressing import get_address_host

logger = logging.getLogger(__name__)
LOOK = 0.25
"""Seconds between two looks at all workers."""
SUSPICIOUS = 0.75
"""Seconds without a sign of life after which somebody looks at the process."""
WITNESS = 0.5
"""Seconds that a worker may take to tell of another one's process."""
PREPARING = 4
"""By how much more time a silent worker has while a run is prepared: to compile, and to import what
tasks need, may keep a worker busy for seconds where its cores are shared."""
Process = tuple[int, float]
"""Number of a process, and when it began: together there is no other one."""
_FROZEN = {psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP, psutil.STATUS_ZOMBIE}


def own_process() -> Process:
    """Return what tells this process from all others."""
    return os.getpid(), psutil.Process().create_time()


def is_frozen(process: Process) -> bool | None:
    """Tell whether a process is stopped, or dead; None where it cannot be seen from here."""
    number, began = process
    try:
        found = psutil.Process(number)
        if abs(found.create_time() - began) > 1:
            return None
        return found.status() in _FROZEN
    except psutil.Error:
        return None


class Pulses:
    """When each worker was last heard of, and what becomes of one that is silent.

    A worker whose process is stopped counts as dead at once. One that is merely silent may hold
    Python's lock in some long computation, or be cut off for a moment: it has
    ``limadask.worker-stale-after`` seconds, 5 by default, and four times as long while a run is
    prepared.

    Parameters
    ----------
    scheduler:
        Dask's scheduler.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._last: dict[str, float] = {}
        self._processes: dict[str, Process] = {}

    def beat(self, worker: str, process: Sequence[Any]) -> None:
        """Note a sign of life, and the process that gave it; one that comes late counts no more."""
        if worker not in self._scheduler.workers:
            return
        self._last[worker] = time.monotonic()
        self._processes[worker] = int(process[0]), float(process[1])

    def forget(self, worker: str) -> None:
        """Note that a worker is gone."""
        self._last.pop(worker, None)
        self._processes.pop(worker, None)

    async def look(
        self, busy: Collection[str], late: float, preparing: Collection[str] = ()
    ) -> None:
        """Remove the workers that are frozen, or silent for too long.

        Parameters
        ----------
        busy:
            Those that take part in a run, from the moment on when they are chosen; the others
            give one sign, when limadask comes to them.
        late:
            By how many seconds the scheduler itself is late: that is nobody's fault.
        preparing:
            Those of a run that is being prepared.
        """
        bound = dask.config.get("limadask.worker-stale-after", 5.0)
        now = time.monotonic()
        self._last = {worker: self._last.get(worker, now) for worker in busy}
        for worker, heard in list(self._last.items()):
            silence = now - heard - late
            limit = bound * PREPARING if worker in preparing else bound
            if silence > min(SUSPICIOUS, limit) and (
                silence > limit or await self._is_frozen(worker)
            ):
                logger.warning("worker %s gives no sign of life: taken for dead", worker)
                await self._scheduler.remove_worker(worker, stimulus_id="limadask-stale")

    async def _is_frozen(self, worker: str) -> bool:
        """Ask whoever can see the process: this one, its nanny, or a worker beside it."""
        process = self._processes.get(worker)
        if process is None:  # it was frozen before it could say anything
            return False
        seen = is_frozen(process)
        if seen is not None:
            return seen
        for witness in self._witnesses(worker):
            try:
                async with asyncio.timeout(WITNESS):
                    told = await self._scheduler.rpc(witness).limadask_look(process=process)
            except OSError:  # TimeoutError is one
                continue
            if told["result"] is not None:
                return bool(told["result"])
        return False

    def _witnesses(self, worker: str) -> list[str]:
        """Return who is on the same computer as a worker, and alive."""
        host, now = get_address_host(worker), time.monotonic()
        beside = [
            other
            for other, heard in self._last.items()
            if other != worker and get_address_host(other) == host and now - heard <= SUSPICIOUS
        ]
        known = self._scheduler.workers.get(worker)
        return [known.nanny, *beside] if known is not None and known.nanny else beside
