"""What the scheduler tells of all workers and runs, to clients and to Prometheus."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from typing import Any

from distributed import Scheduler

from limadask.engine.coordinator import Coordinator
from limadask.engine.run import Run
from limadask.engine.standing import waterfall_of
from limadask.monitoring.prometheus import EXPORTER, Reading
from limadask.monitoring.readings import of_run

logger = logging.getLogger(__name__)
PATIENCE = 2.0
"""Seconds that a worker may take to say what it uses."""
SHOWN = 300.0
"""Seconds for which ended runs are still shown: somebody is to see their last values."""


class Overview:
    """Asks the workers, and looks at the runs; touched by the scheduler's event loop alone.

    Parameters
    ----------
    scheduler:
        Dask's scheduler.
    coordinator:
        All runs.
    """

    def __init__(self, scheduler: Scheduler, coordinator: Coordinator) -> None:
        self._scheduler, self._coordinator = scheduler, coordinator
        scheduler.handlers["limadask_resources"] = self._resources
        scheduler.handlers["limadask_waterfall"] = self._waterfall
        EXPORTER.add(self)

    def close(self) -> None:
        """Tell nothing more."""
        EXPORTER.remove(self)

    def readings(self) -> Iterator[Reading]:
        """Yield what is known of the runs that go on, or have ended just now."""
        now = time.time()
        for run in list(self._coordinator.runs.values()):
            if run.began and (not run.ended or now - run.ended < SHOWN):
                yield from of_run(_counted(run))

    async def _resources(self) -> dict[str, Any]:
        """Return what each worker uses, by address; None of one that does not answer in time."""
        workers = list(self._scheduler.workers.values())
        told = await asyncio.gather(*(self._ask(one.address) for one in workers))
        return {
            one.address: {"name": str(one.name), "host": one.host, "told": answer}
            for one, answer in zip(workers, told, strict=True)
        }

    async def _ask(self, worker: str) -> dict[str, Any] | None:
        try:
            async with asyncio.timeout(PATIENCE):
                answer = await self._scheduler.rpc(worker).limadask_resources()
            result: dict[str, Any] = answer["result"]
        except OSError:  # TimeoutError is one
            return None
        except Exception:  # what is metered has raised there, or limadask is not there yet
            logger.exception("worker %s cannot say what it uses", worker)
            return None
        return result

    async def _waterfall(self, uuid: str) -> dict[str, Any]:
        return waterfall_of(self._coordinator.find(uuid))


def _counted(run: Run) -> dict[str, Any]:
    crew, account = run.crew, run.account
    return {
        "uuid": run.uuid,
        "received": crew.received,
        "processed": account.done,
        "absent": account.ledger.absent(),
        "backlog": {crew.name(one): crew.backlog(one) for one in crew.progress},
        "rate": 0.0 if run.ended else run.recording.rate,
        "latency": account.timeline.latency(),
    }
