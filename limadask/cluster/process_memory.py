"""How near a worker's process is to the memory limit where Dask begins to spill."""

from __future__ import annotations

import time

import psutil
from distributed import Worker

from limadask.memory import METERS, Judge, Pressure

FULL = 0.6
"""Part of the worker's limit that counts as full: above it Dask spills, pauses and kills."""
LEAST = 64 << 20
"""Bytes that must be left for tasks: of less, noise would be taken for pressure."""


class ProcessMemory:
    """Judges what a worker's process holds besides its pools, which are judged for themselves.

    What it held when a run began there counts as the process itself. To be looked at by one thread.

    Parameters
    ----------
    worker:
        The Dask worker.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker, self._process = worker, psutil.Process()
        self._judge, self._itself = Judge(), 0

    def begin(self, alone: bool) -> None:
        """Take note that a run begins, and whether it is the only one."""
        if alone:
            self._judge, self._itself = Judge(), self.unmetered

    def look(self) -> Pressure:
        """Return how full it is now; nothing presses where there is no limit."""
        limit = self._worker.memory_manager.memory_limit
        room = int(FULL * limit) - self._itself - sum(_metered()) if limit else 0
        if not self._itself or room < LEAST:
            return Pressure()
        used = max(0, self.unmetered - self._itself)
        found = self._judge.judge(time.monotonic(), used, room)
        return Pressure() if found.level == "ok" else found  # a process always grows a little

    @property
    def unmetered(self) -> int:
        """Resident bytes that are neither a pool's nor shared with this process."""
        info, (own, mapped) = self._process.memory_info(), _metered()
        read = min(mapped, int(getattr(info, "shared", 0)))  # what is mapped and not read is none
        return max(0, int(info.rss) - own - read)


def _metered() -> tuple[int, int]:
    """Return the bytes that pools have here, and those that others share with this process."""
    usages = [one for one in METERS.usages() if one.allocator != "none"]
    own = sum(one.allocated - one.reserved - one.unmapped for one in usages)
    return own, sum(one.mapped for one in usages)
