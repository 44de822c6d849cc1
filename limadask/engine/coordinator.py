"""All acquisitions of a cluster, in its scheduler."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from limadask.engine.batch import Batch
from limadask.engine.options import Options
from limadask.engine.port import Port
from limadask.engine.run import Run
from limadask.errors import LimadaskError, StateError

RANKS = 1_000_000
"""Acquisitions of one priority."""
KEPT_RUNS = 100
"""Ended acquisitions that can still be asked for."""


class Coordinator:
    """Starts runs, finds them, and forgets old ones.

    Parameters
    ----------
    port:
        The cluster.
    """

    def __init__(self, port: Port) -> None:
        self._port = port
        self.runs: dict[str, Run] = {}
        self.batches: dict[str, Batch] = {}
        self._ranks = itertools.count()

    def create(self, uuid: str, request: bytes, options: Mapping[str, Any]) -> Run:
        """Take in an acquisition, still idle."""
        if uuid in self.runs:
            raise StateError(f"acquisition {uuid} exists already; prepare a new one")
        wanted = Options(**options)
        rank = wanted.priority * RANKS + next(self._ranks)
        run = Run(uuid, rank, request, wanted, self._port)
        self.runs[uuid] = run
        over = [
            name
            for name, one in self.runs.items()
            if one.is_over and (one.batch is None or one.batch.is_over)
        ]
        for name in over[: max(0, len(self.runs) - KEPT_RUNS)]:
            del self.runs[name]
        return run

    def queue(self, batch: str, uuid: str) -> None:
        """Let an acquisition follow those of a batch; the first one makes the batch."""
        run = self.find(uuid)
        if batch not in self.batches:
            known = set(self.runs.values())
            self.batches = {
                name: one for name, one in self.batches.items() if known.intersection(one.runs)
            }
            self.batches[batch] = Batch(self._port)
        self.batches[batch].add(run)

    def find_batch(self, uuid: str) -> Batch:
        """Return a batch.

        Raises
        ------
        LimadaskError
            When there is none of this uuid.
        """
        try:
            return self.batches[uuid]
        except KeyError:
            raise LimadaskError(f"the scheduler knows no batch {uuid}") from None

    def find(self, uuid: str) -> Run:
        """Return an acquisition.

        Raises
        ------
        LimadaskError
            When there is none of this uuid.
        """
        try:
            return self.runs[uuid]
        except KeyError:
            known = ", ".join(self.runs) or "none"
            raise LimadaskError(
                f"the scheduler knows no acquisition {uuid}; known: {known}"
            ) from None

    def worker_lost(self, worker: str) -> None:
        """Tell all runs that a worker is gone."""
        for run in list(self.runs.values()):
            if not run.is_over:
                run.worker_lost(worker)

    def look(self, now: float) -> None:
        """Let all runs look whether they still move; one may wait for another's frames."""
        going_on = [run for run in self.runs.values() if not run.is_over]
        for run in going_on:
            mine = set(run.crew.addresses)
            others = [
                one.watch.processed
                for one in going_on
                if one is not run and mine.intersection(one.crew.addresses)
            ]
            run.look(now, max(others, default=0.0))

    def busy(self) -> set[str]:
        """Return the workers of all runs that go on."""
        going_on = (run for run in self.runs.values() if not run.is_over)
        return {address for run in going_on for address in run.crew.addresses}

    def preparing(self) -> set[str]:
        """Return the workers of all runs that are being prepared."""
        runs = (run for run in self.runs.values() if run.detector.current == "preparing")
        return {address for run in runs for address in run.crew.addresses}
