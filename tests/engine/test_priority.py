"""Threads that take the most urgent block first."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limadask.engine import priority
from limadask.engine.priority import STREAK, PriorityPool, _Streak


class Busy:
    """A pool of one thread that is kept busy until told."""

    def __init__(self) -> None:
        self.pool = PriorityPool(1)
        self._begun, self._go = threading.Event(), threading.Event()
        self._first = self.pool.run((-1000,), self._wait)
        assert self._begun.wait(10)

    def _wait(self) -> None:
        self._begun.set()
        assert self._go.wait(10)

    async def free(self) -> None:
        self._go.set()
        await self._first


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 3)), min_size=1, max_size=20))
@settings(max_examples=30)
def test_jobs_run_by_rank_and_equal_ones_as_they_came(ranks: list[tuple[int, int]]) -> None:
    async def play() -> None:
        busy, order = Busy(), []

        def job(number: int) -> Callable[[], int]:
            def note() -> int:
                order.append(number)
                return number

            return note

        futures = [busy.pool.run(rank, job(number)) for number, rank in enumerate(ranks)]
        await busy.free()
        assert await asyncio.wait_for(asyncio.gather(*futures), 10) == list(range(len(ranks)))
        assert order == sorted(range(len(ranks)), key=lambda number: (ranks[number], number))
        busy.pool.close()

    asyncio.run(play())


def test_a_pool_knows_what_runs_and_what_waits() -> None:
    async def play() -> None:
        busy = Busy()
        waiting = [busy.pool.run((number,), lambda: None) for number in range(3)]
        assert (busy.pool.size, busy.pool.busy, busy.pool.queued) == (1, 1, 3)
        await busy.free()
        await asyncio.wait_for(asyncio.gather(*waiting), 10)
        assert (busy.pool.busy, busy.pool.queued) == (0, 0)
        busy.pool.close()

    asyncio.run(play())


def test_several_jobs_run_at_a_time() -> None:
    async def play() -> None:
        pool, meeting = PriorityPool(3), threading.Barrier(3)
        futures = [pool.run((0, number), lambda: meeting.wait(10)) for number in range(3)]
        assert sorted(await asyncio.gather(*futures)) == [0, 1, 2]
        pool.close()

    asyncio.run(play())


def test_each_thread_is_prepared_once() -> None:
    async def play() -> None:
        prepared: list[int] = []
        pool = PriorityPool(2, lambda: prepared.append(threading.get_ident()))
        meeting = threading.Barrier(2)
        idents: set[int] = set()

        def job() -> None:
            meeting.wait(10)
            idents.add(threading.get_ident())

        await asyncio.gather(*(pool.run((0,), job) for _ in range(2)))
        assert sorted(prepared) == sorted(idents)
        pool.close()

    asyncio.run(play())


def test_closing_lets_the_waiting_jobs_run_and_ends_the_threads() -> None:
    async def play() -> None:
        busy = Busy()
        future = busy.pool.run((5,), lambda: "done")
        busy.pool.close()
        assert not busy.pool.join(0.01)  # a block is still being processed
        await busy.free()
        assert await asyncio.wait_for(future, 10) == "done"
        assert busy.pool.join(10)

    asyncio.run(play())


def test_a_cancelled_future_disturbs_nobody() -> None:
    async def play() -> None:
        busy = Busy()
        cancelled, future = busy.pool.run((0,), lambda: 1), busy.pool.run((1,), lambda: 2)
        cancelled.cancel()
        await busy.free()
        assert await asyncio.wait_for(future, 10) == 2
        busy.pool.close()

    asyncio.run(play())


def test_an_idle_thread_holds_nothing_of_its_last_job() -> None:
    class Block:
        pass

    async def play() -> None:
        pool, block = PriorityPool(1), Block()
        alive = weakref.ref(block)

        def job(block: Any = block) -> Any:
            return block

        future = pool.run((0,), job)
        del job, block
        await future
        del future
        gc.collect()
        assert await pool.run((0,), lambda: alive() is None)  # the next job sees it gone
        pool.close()

    asyncio.run(play())


def test_more_of_the_newest_is_waited_for_when_several_of_it_had_piled_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A receiver may send only so many blocks at a time: more come when these are done."""
    monkeypatch.setattr(priority, "EXPECTED", 1.0)  # others need the processor as well

    async def play() -> None:
        busy, order = Busy(), list[str]()
        note = order.append
        newest = [busy.pool.run((-2, number), lambda: note("new")) for number in range(2)]
        old = busy.pool.run((-1, 0), lambda: note("old"))
        await busy.free()
        await asyncio.gather(*newest)
        later = busy.pool.run((-2, 2), lambda: note("new"))  # as its receiver hears of the others
        await asyncio.wait_for(asyncio.gather(later, old), 10)
        assert order == ["new"] * 3 + ["old"]
        busy.pool.close()

    asyncio.run(play())


def test_nothing_is_waited_for_where_nothing_had_piled_up() -> None:
    streak = _Streak()
    for _ in range(STREAK):
        streak.pause()
        streak.add(-2)
    assert not streak.expects_before(-1)
    streak.add(-2)
    assert streak.expects_before(-1)
    assert not streak.expects_before(-2)
    assert not streak.expects_before(-3)
    assert not streak.expects_before(float("inf"))  # the threads are to end
