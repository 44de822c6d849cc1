"""Slots of a pool come back by themselves, and there are never more than were made."""

from __future__ import annotations

import gc
import mmap
import os
import threading
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from waiting import until

from limadask.memory import BufferPool, PageAllocator, SharedAllocator, Traits
from limadask.memory.allocator import address
from limadask.memory.keeper import Keeper
from limadask.memory.reader import SharedReader


class Counting:
    """An allocator that keeps what it has made."""

    traits = Traits()

    name = "counting"

    def __init__(self) -> None:
        self.made: list[np.ndarray[Any, Any]] = []
        self.freed: list[tuple[int, str]] = []

    def allocate(self, nbytes: int) -> np.ndarray[Any, Any]:
        self.made.append(np.zeros(nbytes, np.uint8))
        return self.made[-1]

    def renew(self, buffer: np.ndarray[Any, Any]) -> bool:
        return True

    def free(self, buffer: np.ndarray[Any, Any]) -> None:
        self.freed.append((address(buffer), threading.current_thread().name))


def free(pool: BufferPool) -> int:
    gc.collect()
    return pool.statistics().free


def lent(pool: BufferPool, *shape: int) -> np.ndarray[Any, Any]:
    array = pool.lend(shape or (4,), "u2")
    assert array is not None
    return array


def test_a_slot_comes_back_with_the_last_array_on_it() -> None:
    pool = BufferPool(2, 64)
    first, second = lent(pool), lent(pool)
    assert pool.lend((4,), "u2") is None
    del first
    assert free(pool) == 1
    assert lent(pool) is not None
    del second
    assert free(pool) == 2


def test_a_view_of_a_view_keeps_its_slot() -> None:
    pool = BufferPool(1, 64)
    array = lent(pool, 2, 3, 4)
    view = array[1:, ::-1].transpose(2, 0, 1)
    single = view[0][0]
    del array
    assert free(pool) == 0
    del view
    assert free(pool) == 0
    single[...] = 7
    del single
    assert free(pool) == 1


def test_a_memoryview_and_a_reshaped_type_keep_it_too() -> None:
    pool = BufferPool(1, 64)
    array = lent(pool, 8)
    raw = memoryview(array.view("u1").reshape(4, 4))
    del array
    assert free(pool) == 0
    raw.release()
    del raw
    assert free(pool) == 1


def test_a_caught_exception_gives_its_slots_back() -> None:
    pool = BufferPool(2, 64)

    def fails() -> None:
        array = lent(pool)
        part = array[1:]
        raise RuntimeError(f"with {part.shape}")

    with pytest.raises(RuntimeError) as caught:
        fails()
    assert free(pool) == 1  # the traceback holds it, as it would in Dask
    del caught
    assert free(pool) == 2


def test_lent_arrays_do_not_overlap_and_keep_what_is_written() -> None:
    allocator = Counting()
    pool = BufferPool(3, 64, allocator)
    arrays = [lent(pool, 4, 2) for _ in range(3)]
    for number, array in enumerate(arrays):
        array[...] = number
    assert [set(array.ravel().tolist()) for array in arrays] == [{0}, {1}, {2}]
    assert len(allocator.made) == 3
    assert all(any(np.shares_memory(array, one) for one in allocator.made) for array in arrays)


def test_waiting_for_a_slot_ends_after_its_timeout() -> None:
    pool = BufferPool(1, 64)
    array = lent(pool)
    began = time.monotonic()
    assert pool.lend((4,), "u2", timeout=0.05) is None
    assert time.monotonic() - began >= 0.05
    del array


def test_waiting_for_a_slot_ends_when_one_comes_back() -> None:
    pool = BufferPool(1, 64)
    held = [lent(pool)]
    waits, got = threading.Event(), []

    def wait() -> None:
        waits.set()
        got.append(pool.lend((4,), "u2", timeout=30))

    thread = threading.Thread(target=wait)
    thread.start()
    assert waits.wait(10)
    held.clear()
    thread.join(10)
    assert not thread.is_alive()
    assert got[0] is not None


def test_what_does_not_fit_into_a_slot_is_refused() -> None:
    pool = BufferPool(1, 15)
    with pytest.raises(ValueError, match="needs 16 bytes, a slot has 15"):
        pool.lend((8,), "u2")
    assert free(pool) == 1
    array = pool.lend((15,), "u1")
    assert array is not None
    assert array.shape == (15,)


def test_statistics_count_loans_and_the_fewest_free_slots() -> None:
    pool = BufferPool(3, 100)
    assert pool.statistics().lowest == 3
    first, second = lent(pool), lent(pool)
    del first, second
    gc.collect()
    third = lent(pool)
    told = pool.statistics()
    assert (told.slots, told.slot_nbytes, told.free, told.lowest, told.lent) == (3, 100, 2, 1, 3)
    del third


@given(st.lists(st.sampled_from(["lend", "drop first", "drop last", "view"]), max_size=40))
def test_there_are_never_more_slots_out_than_were_made(actions: list[str]) -> None:
    pool = BufferPool(3, 64)
    out: list[list[np.ndarray[Any, Any]]] = []
    for action in actions:
        if action == "lend":
            array = pool.lend((2, 4), "u4")
            assert (array is None) == (len(out) == 3)
            if array is not None:
                out.append([array])
                del array
        elif out and action == "view":
            out[0].append(out[0].pop()[..., ::2])  # only the view is left
        elif out:
            out.pop(0 if action == "drop first" else -1)
        assert pool.statistics().free == 3 - len(out)


def test_many_threads_share_a_pool_without_losing_a_slot() -> None:
    pool, wrong = BufferPool(3, 64), []

    def work(number: int) -> None:
        for turn in range(200):
            array = pool.lend((8,), "i8", timeout=10)
            if array is None:
                wrong.append("starved")
                return
            array[...] = number * 1000 + turn
            if not (array == number * 1000 + turn).all():
                wrong.append("shared")
            del array

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    told = pool.statistics()
    assert (told.free, told.lent) == (3, 1200)


@pytest.mark.parametrize("nbytes", [1, 4096, 5000, 3 << 20])
def test_pages_are_aligned_zeroed_and_writable(nbytes: int) -> None:
    buffer = PageAllocator().allocate(nbytes)
    assert buffer.shape == (nbytes,)
    assert buffer.ctypes.data % mmap.PAGESIZE == 0
    assert not buffer.any()
    buffer[-1] = 255
    assert buffer[-1] == 255


def test_memory_that_cannot_be_had_is_a_memory_error() -> None:
    with pytest.raises(MemoryError):
        BufferPool(1, 1 << 62)


def test_a_retired_pool_gives_its_memory_back() -> None:
    pool = BufferPool(4, 100)
    lent = [pool.lend((100,), "uint8") for _ in range(2)]
    assert pool.nbytes == 400
    pool.retire()
    assert pool.nbytes == 200
    assert pool.lend((100,), "uint8") is None
    lent.pop()
    until(lambda: pool.nbytes == 100)
    assert not pool.is_gone
    lent.clear()
    until(lambda: pool.is_gone)
    assert pool.nbytes == 0


def test_each_buffer_of_a_retired_pool_is_freed_once_by_no_destructor() -> None:
    allocator = Counting()
    pool = BufferPool(4, 100, allocator)
    lent = [pool.lend((100,), "uint8") for _ in range(3)]
    pool.retire()
    del pool  # as a station does: the last blocks come back later
    assert len(allocator.freed) == 1
    lent.clear()
    until(lambda: len(allocator.freed) == 4)
    assert sorted(at for at, _ in allocator.freed) == sorted(map(address, allocator.made))
    assert {thread for _, thread in allocator.freed[1:]} == {"limadask-pools"}


def test_an_allocator_that_fails_keeps_no_retired_pool(caplog: pytest.LogCaptureFixture) -> None:
    allocator = Counting()
    pool = BufferPool(2, 100, allocator)
    held = pool.lend((100,), "uint8")
    allocator.renew = lambda buffer: 1 // 0  # type: ignore[method-assign]
    pool.retire()
    assert pool.nbytes == 100
    del held
    until(lambda: pool.is_gone)
    assert len(allocator.freed) == 2
    assert "cannot be made ready" in caplog.text


def test_shared_pages_of_a_retired_pool_go_when_nobody_reads_them() -> None:
    allocator = SharedAllocator(2, 1 << 20)
    pool = BufferPool(2, 1 << 20, allocator, keeper=Keeper(0.05))
    lent = [pool.lend((1 << 20,), "uint8") for _ in range(2)]
    handle = allocator.handle(lent[0])
    assert handle is not None

    def held() -> int:
        """Bytes of the segment that are there, the counters' page left out."""
        there = os.stat(f"/proc/self/fd/{allocator.segment.descriptor}").st_blocks * 512
        return there - mmap.PAGESIZE

    assert held() == 2 << 20
    reader = SharedReader("run")
    reader.open(allocator.segment)
    read = reader.read(handle)
    assert read is not None
    pool.retire()
    lent.clear()
    until(lambda: held() == 1 << 20)
    assert pool.nbytes == 1 << 20
    del read
    until(lambda: held() == 0)
    assert pool.is_gone
