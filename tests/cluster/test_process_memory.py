"""The memory of a worker's process, against the limit where Dask begins to spill."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from distributed import Client

from limadask.cluster.process_memory import FULL, LEAST, ProcessMemory
from limadask.memory import BufferPool, Pressure

GIB = 1 << 30


class Process(ProcessMemory):
    """A process that holds what a test says."""

    def __init__(self, limit: int | None) -> None:
        worker: Any = SimpleNamespace(memory_manager=SimpleNamespace(memory_limit=limit))
        super().__init__(worker)
        self._process = SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=self.held))
        self.held = GIB


@pytest.mark.parametrize(("part", "level"), [(0.0, "ok"), (0.8, "high"), (0.95, "critical")])
def test_what_tasks_hold_counts_against_what_is_left(part: float, level: str) -> None:
    process = Process(10 * GIB)
    process.begin(alone=True)
    left = FULL * 10 * GIB - GIB
    process.held += int(part * left)
    assert process.look().level == level


def test_pools_are_judged_for_themselves() -> None:
    process = Process(10 * GIB)
    process.begin(alone=True)
    pool = BufferPool(4, 1 << 20)
    process.held += pool.nbytes
    assert process.look() == Pressure()
    assert process.unmetered == GIB


def test_what_a_second_run_finds_there_is_not_the_process_itself() -> None:
    process = Process(10 * GIB)
    process.begin(alone=True)
    process.held += 4 * GIB
    process.begin(alone=False)
    assert process.look().level == "high"


@pytest.mark.parametrize("limit", [None, 0, int((GIB + LEAST // 2) / FULL)])
def test_where_there_is_no_limit_or_no_room_nothing_presses(limit: int | None) -> None:
    process = Process(limit)
    process.begin(alone=True)
    process.held += 20 * GIB
    assert process.look() == Pressure()


def test_a_worker_says_its_limit(client: Client) -> None:
    def limits(dask_worker: Any) -> tuple[int, str]:
        memory = dask_worker.extensions["limadask"]._memory
        held = np.ones(1 << 20)  # so that there is something to measure
        memory.begin(alone=True)
        assert memory.unmetered > held.nbytes
        return dask_worker.memory_manager.memory_limit, memory.look().level

    import limadask as ld
    from limadask_detectors import Simulator

    with ld.Acquisition(client, Simulator(shape=(64, 48)), nb_frames=1) as acquisition:
        acquisition.prepare()  # limadask is on all workers then
    for limit, level in client.run(limits).values():
        assert limit == 2 * GIB
        assert level == "ok"
