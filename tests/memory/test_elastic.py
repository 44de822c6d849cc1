"""Pools follow the load between a floor and a ceiling."""

from __future__ import annotations

import gc
import os
import threading
import weakref
from typing import Any

import numpy as np
import pytest

from limadask.memory import (
    METERS,
    Budget,
    BufferPool,
    LockedAllocator,
    SharedAllocator,
    Traits,
    UntouchedAllocator,
)
from limadask.memory import pool as pool_module
from limadask.memory.keeper import Keeper

BOUND = 20.0
SLOT = 4096
LOOK = 0.01


class Watched:
    """An allocator that tells when it allocates and frees, and in which thread."""

    name = "watched"
    traits = Traits()

    def __init__(self) -> None:
        self.allocated, self.freed = threading.Semaphore(0), threading.Semaphore(0)
        self.threads: list[str] = []
        self.fails = False

    def allocate(self, nbytes: int) -> np.ndarray[Any, Any]:
        self.threads.append(threading.current_thread().name)
        if self.fails:
            self.allocated.release()
            raise MemoryError("no more")
        buffer = np.zeros(nbytes, np.uint8)
        self.allocated.release()
        return buffer

    def renew(self, buffer: np.ndarray[Any, Any]) -> bool:
        return True

    def free(self, buffer: np.ndarray[Any, Any]) -> None:
        self.freed.release()


class Asleep(Keeper):
    """A keeper that does nothing by itself."""

    def add(self, pool: Any) -> None: ...


def lent(pool: BufferPool, timeout: float = BOUND) -> np.ndarray[Any, Any]:
    array = pool.lend((SLOT,), "u1", timeout)
    assert array is not None
    return array


def elastic(floor: int, ceiling: int, **more: Any) -> tuple[BufferPool, Watched]:
    """A pool, and its allocator, after it has made the floor."""
    allocator = Watched()
    more.setdefault("keeper", Keeper(LOOK))
    pool = BufferPool(floor, SLOT, allocator, "receive", "elastic", ceiling=ceiling, **more)
    for _ in range(floor):
        assert allocator.allocated.acquire(timeout=BOUND)
    return pool, allocator


def test_the_floor_is_there_before_anything_is_lent() -> None:
    pool, allocator = elastic(3, 8, keeper=Asleep())
    told = pool.statistics()
    assert (told.slots, told.free, told.ceiling, told.left, told.lowest) == (3, 3, 8, 8, 8)
    assert allocator.threads == [threading.current_thread().name] * 3


def test_it_grows_before_it_is_empty_and_never_in_the_thread_that_is_lent_to() -> None:
    pool, allocator = elastic(3, 8)
    held = [lent(pool, 0) for _ in range(3)]  # these need not wait
    assert allocator.allocated.acquire(timeout=BOUND)
    held += [lent(pool) for _ in range(5)]
    assert pool.lend((SLOT,), "u1", LOOK) is None
    told = pool.statistics()
    assert (told.slots, told.free, told.left, told.high_water, told.lowest) == (8, 0, 0, 8, 0)
    assert set(allocator.threads[3:]) == {"limadask-pools"}
    assert len(held) == 8


def test_who_waits_gets_a_slot_that_is_made_meanwhile() -> None:
    pool, _ = elastic(1, 2)
    held = lent(pool)
    second = lent(pool)
    assert not np.shares_memory(held, second)


def test_what_was_not_needed_for_a_while_is_given_back_down_to_the_floor() -> None:
    pool, allocator = elastic(2, 6)
    held = [lent(pool) for _ in range(6)]
    assert not allocator.freed.acquire(timeout=LOOK * 3 * pool_module.IDLE)  # all are in use
    held.clear()
    gc.collect()
    for _ in range(4):
        assert allocator.freed.acquire(timeout=BOUND)
    assert not allocator.freed.acquire(timeout=LOOK * 3 * pool_module.IDLE)
    told = pool.statistics()
    assert (told.slots, told.free, told.ceiling, told.left) == (2, 2, 6, 6)
    assert pool.nbytes == 2 * SLOT
    assert pool.usage().high_water == 6 * SLOT
    assert pool.usage().total == 6 * SLOT
    again = [lent(pool) for _ in range(6)]  # and it grows again
    assert pool.usage().total > 6 * SLOT
    assert len(again) == 6


def test_slots_are_only_given_back_when_they_were_spare_at_every_look() -> None:
    pool, _ = elastic(1, 8, keeper=Asleep())
    held = []
    for _ in range(8):
        pool.grow()
        held.append(lent(pool, 0))
    held.clear()
    gc.collect()
    for look in range(3 * pool_module.IDLE):
        held = [lent(pool, 0) for _ in range(7 if look % pool_module.IDLE == 0 else 0)]
        held.clear()
        pool.shrink()
        assert pool.slots == 8
    for _ in range(pool_module.IDLE):
        pool.shrink()
    assert pool.slots < 8


def test_growth_that_fails_is_told_and_not_tried_again_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool, allocator = elastic(1, 4, keeper=Asleep())
    allocator.fails = True
    held = [lent(pool, 0)]
    pool.grow()
    pool.grow()
    assert pool.lend((SLOT,), "u1") is None
    told = pool.statistics()
    assert (told.slots, told.left, told.refused) == (1, 0, "no more")
    assert len(allocator.threads) == 2  # the floor, and one attempt
    allocator.fails = False
    monkeypatch.setattr(pool, "_retry", 0.0)  # some seconds later
    pool.grow()
    assert (pool.statistics().refused, pool.slots) == ("", 2)
    held.append(lent(pool, 0))


def test_a_budget_without_room_refuses_growth_and_the_floor() -> None:
    budget = Budget()
    budget.bound("test", budget.used + 2 * SLOT)
    pool, allocator = elastic(1, 4, keeper=Asleep(), budget=budget)
    held = [lent(pool, 0)]
    pool.grow()
    held.append(lent(pool, 0))
    pool.grow()
    told = pool.statistics()
    assert (told.slots, told.left) == (2, 0)
    assert f"{SLOT} bytes do not fit" in told.refused
    assert str(budget.most) in told.refused
    assert len(allocator.threads) == 2
    with pytest.raises(MemoryError, match="do not fit"):
        BufferPool(1, SLOT, budget=budget)
    del pool
    held.clear()
    gc.collect()
    assert BufferPool(2, SLOT, budget=budget).slots == 2  # what is given back is left for others


def test_memory_that_is_only_counted_needs_no_budget() -> None:
    budget = Budget()
    budget.bound("test", 0)
    pool = BufferPool(2, SLOT, UntouchedAllocator(), ceiling=4, keeper=Asleep(), budget=budget)
    lent(pool, 0)
    assert (pool.nbytes, pool.usage().allocated, pool.usage().high_water) == (0, 0, 0)
    assert pool.statistics().slots == 2


def test_only_the_floor_of_shared_memory_is_touched() -> None:
    allocator = SharedAllocator(6, SLOT)
    pool = BufferPool(2, SLOT, allocator, ceiling=6, keeper=Asleep())
    pages = allocator.segment.nbytes // SLOT
    assert resident(allocator) <= 2 + 1 < pages  # and the counters
    held = []
    for _ in range(6):
        pool.grow()
        held.append(lent(pool, 0))
        held[-1][...] = 1
    assert resident(allocator) == pages
    held.clear()
    gc.collect()
    for _ in range(4 * pool_module.IDLE):
        pool.shrink()
    assert pool.slots == 2
    assert resident(allocator) == 2 + 1


def resident(allocator: SharedAllocator) -> int:
    """Pages of the file that are there."""
    return os.stat(f"/proc/self/fd/{allocator.segment.descriptor}").st_blocks * 512 // SLOT


def test_slots_of_locked_shared_memory_are_given_back() -> None:
    allocator = SharedAllocator(6, SLOT, LockedAllocator())
    pool = BufferPool(2, SLOT, allocator, ceiling=6, keeper=Keeper(LOOK))
    held = [lent(pool) for _ in range(6)]
    assert resident(allocator) >= 6
    held.clear()
    gc.collect()
    deadline = threading.Event()
    for _ in range(int(BOUND / LOOK)):
        if pool.slots == 2:
            break
        deadline.wait(LOOK)
    assert pool.slots == 2
    assert len([lent(pool) for _ in range(6)]) == 6  # and it grows again


def test_an_allocator_that_fails_ends_no_pool_but_its_own(caplog: pytest.LogCaptureFixture) -> None:
    keeper = Keeper(LOOK)
    bad, failing = elastic(1, 3, keeper=keeper)
    failed = threading.Event()

    def free(buffer: np.ndarray[Any, Any]) -> None:
        failed.set()
        raise OSError("no")

    failing.free = free  # type: ignore[method-assign]
    held = [lent(bad) for _ in range(3)]
    held.clear()
    gc.collect()
    assert failed.wait(BOUND)
    good, _ = elastic(1, 3, keeper=keeper)
    assert len([lent(good) for _ in range(3)]) == 3
    assert "could not be given back" in caplog.text


def test_the_thread_ends_with_the_last_pool_and_keeps_none() -> None:
    keeper = Keeper(LOOK)
    pool, _ = elastic(1, 2, keeper=keeper)
    gone = threading.Event()
    weakref.finalize(pool, gone.set)
    (thread,) = (one for one in threading.enumerate() if one is keeper._thread)
    assert not keeper.is_idle
    del pool
    assert gone.wait(BOUND)
    thread.join(BOUND)
    assert not thread.is_alive()
    assert keeper.is_idle
    again, _ = elastic(1, 2, keeper=keeper)
    held = [lent(again), lent(again)]
    assert len(held) == 2


def test_a_retired_pool_does_not_grow_any_more() -> None:
    pool, allocator = elastic(1, 4, keeper=Asleep())
    held = [lent(pool, 0)]
    pool.retire()
    pool.grow()
    held.clear()
    gc.collect()
    pool.grow()  # as the keeper does when asked
    assert (pool.nbytes, pool.lend((SLOT,), "u1")) == (0, None)
    assert len(allocator.threads) == 1


def test_threads_lend_and_give_back_while_it_grows_and_shrinks() -> None:
    pool, _ = elastic(1, 6, keeper=Keeper(1e-3))
    wrong: list[str] = []

    def work(number: int) -> None:
        for turn in range(150):
            array = pool.lend((SLOT,), "u1", BOUND)
            if array is None:
                wrong.append("starved")
                return
            array[...] = value = (number * 40 + turn) % 251
            if not (array == value).all():
                wrong.append("shared")
            del array

    threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(3 * BOUND)
    gc.collect()
    told = pool.statistics()
    assert (wrong, told.lent) == ([], 750)
    assert told.free == told.slots <= 6


def test_memory_beside_a_pool_is_metered_until_it_is_gone() -> None:
    pool = BufferPool(1, SLOT, None, "decode", "beside")
    held = [pool.array((SLOT,), "u1"), pool.array((3, SLOT), "u2"), pool.array((SLOT,), "u1")]
    told = sorted(one.in_use for one in METERS.usages() if one.uuid == "beside")
    assert told == [SLOT, 7 * SLOT]
    held.pop()
    gc.collect()
    told = sorted(one.in_use for one in METERS.usages() if one.uuid == "beside")
    assert told == [SLOT, 6 * SLOT]
