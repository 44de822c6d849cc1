"""Memory and cores that the acquisitions of a worker have been given."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from distributed import Worker

from limadask.cluster.answers import answer_of
from limadask.cluster.limits import pool_nbytes
from limadask.cluster.transfer import Transfers
from limadask.engine.pinning import Pinning
from limadask.engine.pool_memory import PoolMemory
from limadask.engine.priority import PriorityPool
from limadask.engine.station import Station
from limadask.memory import BUDGET


class Equipment:
    """Gives stations what their frames and threads need; touched by the event loop alone.

    Parameters
    ----------
    worker:
        The Dask worker.
    transfers:
        Knows who can open shared memory.
    pool:
        The threads that process.
    """

    def __init__(self, worker: Worker, transfers: Transfers, pool: PriorityPool) -> None:
        self._worker, self._transfers = worker, transfers
        self._pinning = Pinning(pool)

    def pool_nbytes(self, station: Station) -> tuple[int, int | None]:
        """Return the bytes of a station's pool where the user does not say, and at most."""
        limit = self._worker.memory_manager.memory_limit
        # Dask counts what is mapped of files as the process's own
        is_bound = limit or not station.request.buffers.is_on_disk
        return pool_nbytes(limit, BUDGET.left if is_bound else None)

    def claim(self, station: Station) -> None:
        """Choose the cores of a receiver, before any worker of the run chooses others."""
        request = station.request
        affinity = request.topology.affinity.receiver
        self._pinning.claim(request.uuid, affinity, station.host)

    async def equip(
        self, station: Station, answer: dict[str, Any], processors: Iterable[str]
    ) -> dict[str, Any]:
        """Make a station's pool and pin threads; add to an answer what was given, or an error.

        Parameters
        ----------
        station:
            One that is set up.
        answer:
            What came of that, without an error.
        processors:
            Addresses of the workers that its blocks go to.
        """
        uuid, request = station.request.uuid, station.request
        slots, nbytes = station.pool_size
        memory = PoolMemory(request.buffers, self._worker.local_directory, station.keeps)
        others = any(one != self._worker.address for one in processors)
        shared = None
        if slots and nbytes and memory.pages:
            share = self._transfers.share
            shared = await share(uuid, slots, nbytes, processors, memory.pages)

        def work() -> dict[str, Any]:
            told: dict[str, Any] = {}
            if slots and nbytes:
                station.make_pool(memory.open(slots, nbytes, shared, others))
                told["allocator"] = memory.told()
            processes = station.processing is not None
            pinned = self._pinning.pin(uuid, request.topology.affinity.processing, processes)
            station.cores = pinned.receiver
            if cores := pinned.told():
                told["affinity"] = cores
            if warnings := [*memory.warnings, *pinned.warnings]:
                told["warnings"] = warnings
            return {"ready": answer["result"], "settings": told}

        return await answer_of(work)

    def release(self, uuid: str) -> None:
        """Take back what an acquisition has been given."""
        self._transfers.release(uuid)
        self._pinning.release(uuid)
