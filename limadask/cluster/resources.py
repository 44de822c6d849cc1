"""What a worker says of what it uses, and of the blocks that it holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isnan
from typing import Any

from distributed import Worker
from distributed.comm.addressing import get_address_host
from tornado.ioloop import PeriodicCallback

from limadask.engine.priority import PriorityPool
from limadask.engine.station import Station
from limadask.memory import METERS
from limadask.monitoring.node_seconds import NodeSeconds
from limadask.monitoring.prometheus import EXPORTER, Reading
from limadask.monitoring.readings import of_worker
from limadask.monitoring.sampler import EVERY, Sampler, high_water


class Resources:
    """Samples a worker's process, and answers who asks, in any thread.

    Parameters
    ----------
    worker:
        The Dask worker.
    pool:
        The threads that process.
    stations:
        Its acquisitions.
    """

    def __init__(self, worker: Worker, pool: PriorityPool, stations: Mapping[str, Station]) -> None:
        self._worker, self._pool, self._stations = worker, pool, stations
        self._sampler = Sampler()
        self._nodes = NodeSeconds()
        self._began: dict[str, dict[str, float]] = {}
        worker.handlers["limadask_resources"] = self._answer
        self._looking = PeriodicCallback(self._sampler.look, EVERY * 1000)
        self._looking.start()
        EXPORTER.add(self)

    def close(self) -> None:
        """Look no more."""
        self._looking.stop()
        EXPORTER.remove(self)

    def note(self, receipt: Mapping[str, Any]) -> None:
        """Take note of the time that a block took."""
        self._nodes.take(receipt)

    def begin(self, uuid: str) -> None:
        """Count from now on what is used while an acquisition is there."""
        self._began[uuid] = self._sampler.totals()

    def end(self, uuid: str) -> None:
        """Count no more for an acquisition."""
        self._began.pop(uuid, None)

    def of_run(self, uuid: str) -> dict[str, Any]:
        """Return what an acquisition has used, as plain data.

        ``memory``: the most bytes in use by stage, of it and of what serves all. ``used``: what the
        whole process has used since it began, others' acquisitions included.
        """
        now = self._sampler.totals()
        before = self._began.get(uuid, now)
        used = {name: value - before[name] for name, value in now.items()}
        return {
            "memory": high_water(METERS.usages(), uuid),
            "used": {name: value for name, value in used.items() if not isnan(value)},
        }

    def told(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        blocks = [one.blocks for one in self._stations.values() if one.blocks is not None]
        return {
            "name": str(self._worker.name),
            "host": get_address_host(self._worker.address),
            **self._sampler.told(),
            "memory_limit": self._worker.memory_manager.memory_limit,
            "blocks_held": sum(one.unprocessed for one in blocks),
            "tickets": sum(one.tickets for one in blocks),
            "blocks_queued": self._pool.queued,
            "threads_busy": self._pool.busy,
            "threads": self._pool.size,
            "blocks_processed": self._nodes.blocks,
            "nodes": dict(self._nodes.seconds),
        }

    def readings(self) -> Iterator[Reading]:
        """Yield what Prometheus is told."""
        return of_worker(self.told())

    async def _answer(self) -> dict[str, Any]:
        return {"result": self.told()}
