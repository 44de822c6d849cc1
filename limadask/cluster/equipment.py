"""Memory and cores that the acquisitions of a worker have been given."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from distributed import Worker

from limadask.cluster.answers import answer_of
from limadask.cluster.limits import budget_nbytes, pool_nbytes
from limadask.cluster.process_memory import ProcessMemory
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
    process:
        What the worker's process has besides frames.
    """

    def __init__(
        self, worker: Worker, transfers: Transfers, pool: PriorityPool, process: ProcessMemory
    ) -> None:
        self._worker, self._transfers, self._process = worker, transfers, process
        self._pinning = Pinning(pool)
        self._given: dict[str, Callable[[], dict[str, Any]]] = {}

    def bound(self, neighbours: int | None = None) -> None:
        """Tell the budget what frames may have, by what the process itself has by now.

        Parameters
        ----------
        neighbours:
            Workers that share the computer; None where its share is what it was: they may have
            taken theirs meanwhile.
        """
        limit = self._worker.memory_manager.memory_limit
        if limit or neighbours:
            itself = self._process.unmetered
            most = budget_nbytes(limit, neighbours or 1, BUDGET.used, itself)
            BUDGET.bound(self._worker.address, most)

    def pool_nbytes(self, station: Station) -> tuple[int, int | None]:
        """Return the bytes of a station's pool where the user does not say, and at most."""
        limit = self._worker.memory_manager.memory_limit
        memory = self._memory(station)
        # Dask counts what is mapped of files as the process's own
        is_bound = memory.is_bound or (limit and not memory.is_reserved)
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
        memory = self._memory(station)
        others = any(one != self._worker.address for one in processors)
        shared, by_tcp = None, list[str]()
        if slots and nbytes and memory.pages:
            share = self._transfers.share
            shared, by_tcp = await share(uuid, slots, nbytes, processors, memory.pages)

        def work() -> dict[str, Any]:
            self.bound()  # tasks have been set up since: tables, models, libraries
            if slots and nbytes:
                station.make_pool(memory.open(slots, nbytes, shared, others))
            processes = station.processing is not None
            pinned = self._pinning.pin(uuid, request.topology.affinity.processing, processes)
            station.cores = pinned.receiver

            def told() -> dict[str, Any]:
                held = station.spool.warnings if station.spool is not None else []
                warnings = [*by_tcp, *memory.warnings, *held, *pinned.warnings]
                all_of_it = {
                    "allocator": memory.told() if slots and nbytes else None,
                    "affinity": pinned.told(),
                    "warnings": warnings,
                }
                return {name: one for name, one in all_of_it.items() if one}

            self._given[uuid] = told
            return {"ready": answer["result"], "settings": told()}

        return await answer_of(work)

    def told(self, uuid: str) -> dict[str, Any]:
        """Return what an acquisition has by now: a pool that grew may have fallen back since."""
        given = self._given.get(uuid)
        return given() if given is not None else {}

    def release(self, uuid: str) -> None:
        """Take back what an acquisition has been given."""
        self._given.pop(uuid, None)
        self._transfers.release(uuid)
        self._pinning.release(uuid)

    def _memory(self, station: Station) -> PoolMemory:
        folder = self._worker.local_directory
        return PoolMemory(station.request.buffers, folder, station.keeps)
