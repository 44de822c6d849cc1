"""Blocks that are held in memory and on disk until they are asked for."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from disk import on_disk

from limadask.engine.blocks import Ending
from limadask.engine.holding import HeldBlocks
from limadask.engine.spool import Spool
from limadask.frames import Frames
from limadask.memory import Budget, BufferPool, Usage
from limadask.memory.system import is_in_memory
from limadask.memory.usage import Meters

SHAPE = (2, 1, 3, 4)
NBYTES = int(np.prod(SHAPE)) * 2
BOUND = 10.0


def block(number: int) -> Frames:
    first = 2 * number
    return Frames.of(np.full(SHAPE, number, np.uint16) + np.arange(4, dtype=np.uint16), first)


class Held:
    """Held blocks of a pool of four slots, of which as many are free as one says."""

    def __init__(self, folder: Path, free: int = 4, ahead: int | None = None) -> None:
        self.free, self.failed = free, list[str]()
        self.spool = Spool(str(folder), NBYTES)
        self.blocks = HeldBlocks(
            {"a": 8}, 0, self.spool, 4, lambda: self.free, self.failed.append, ahead
        )  # fmt: skip

    async def taken(self, count: int) -> list[int]:
        """Take blocks by tickets, acknowledge each, and return the numbers of their frames."""
        numbers = list[int]()
        for ticket in range(count):
            answer = self.blocks.get(ticket, "a")
            if isinstance(answer, asyncio.Future):
                answer = await asyncio.wait_for(answer, BOUND)
            if isinstance(answer, Ending):
                break
            first = int(answer.numbers[0])
            np.testing.assert_array_equal(answer.pixels, block(first // 2).pixels)
            numbers += answer.numbers.tolist()
            assert self.blocks.unprocessed <= 4
            self.blocks.acknowledge(ticket)
        return numbers

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(BOUND):
            while not condition():
                await asyncio.sleep(0.001)


Make = Callable[..., Held]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Make held blocks whose file is closed in the end."""
    made = list[Held]()

    def make(free: int = 4, ahead: int | None = None) -> Held:
        made.append(Held(tmp_path, free, ahead))
        return made[-1]

    yield make
    for one in made:
        one.spool.close()


@pytest.mark.parametrize("free", [4, 0])
def test_blocks_come_in_order_when_they_are_asked_for(
    make: Make, tmp_path: Path, free: int
) -> None:
    async def play() -> None:
        held = make(free)
        for number in range(10):
            held.blocks.deliver(block(number))
        await held.until(lambda: held.blocks.held == ((10, 0) if free else (0, 10)))
        held.blocks.end()
        waiting = held.blocks.get(100, "a")
        assert isinstance(waiting, asyncio.Future)
        assert not waiting.done()
        held.blocks.acknowledge(100)
        held.blocks.release()
        assert list(tmp_path.iterdir()) == []
        first = await asyncio.wait_for(waiting, BOUND)
        assert isinstance(first, Frames)
        assert first.numbers.tolist() == [0, 1]
        held.blocks.acknowledge(100)
        assert await held.taken(9) == list(range(2, 20))
        last = held.blocks.get(50, "a")
        if isinstance(last, asyncio.Future):
            last = await asyncio.wait_for(last, BOUND)
        assert last is Ending.UNUSED

    asyncio.run(play())


def test_all_leave_memory_when_another_acquisition_needs_it(make: Make) -> None:
    async def play() -> None:
        held = make()
        for number in range(3):
            held.blocks.deliver(block(number))
        held.blocks.end()
        assert held.blocks.held == (3, 0)
        held.blocks.leave_memory()
        await held.until(lambda: held.blocks.held == (0, 3))
        assert [frames.numbers.tolist() for frames in held.blocks.undone()] == [
            [0, 1],
            [2, 3],
            [4, 5],
        ]

    asyncio.run(play())


def test_a_full_disk_is_told_and_blocks_stay_in_memory(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async def play() -> None:
        held = make(free=0)
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", full)
            held.blocks.deliver(block(0))
            await held.until(lambda: bool(held.blocks.trouble))
        assert "No space left" in held.blocks.trouble
        assert str(tmp_path) in held.blocks.trouble
        assert held.blocks.held == (1, 0)
        held.blocks.deliver(block(1))  # there is room again
        await held.until(lambda: held.blocks.held == (0, 2))
        held.blocks.release()
        assert await held.taken(2) == [0, 1, 2, 3]

    asyncio.run(play())


def test_blocks_that_cannot_be_read_back_are_told(make: Make) -> None:
    async def play() -> None:
        held = make(free=0)
        held.blocks.deliver(block(0))
        await held.until(lambda: held.blocks.held == (0, 1))
        held.spool.close()
        held.blocks.release()
        await held.until(lambda: bool(held.failed))
        assert "cannot be read" in held.failed[0]

    asyncio.run(play())


def test_what_is_dropped_does_not_come(make: Make) -> None:
    async def play() -> None:
        held = make()
        waiting = held.blocks.get(0, "a")
        assert isinstance(waiting, asyncio.Future)
        held.blocks.deliver(block(0))
        held.blocks.end(drop=True)
        assert await asyncio.wait_for(waiting, BOUND) is Ending.UNUSED

    asyncio.run(play())


def test_places_of_a_spool_are_used_again(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path), NBYTES)
    one, two = spool.write(block(0)), spool.write(block(1)[:1])
    assert (one.place, two.place) == (0, 1)
    np.testing.assert_array_equal(spool.read(one).pixels, block(0).pixels)
    assert spool.write(block(2)).place == 0
    read = spool.read(two)
    np.testing.assert_array_equal(read.pixels, block(1).pixels[:1])
    assert (read.numbers.tolist(), read.span) == ([2], block(1)[:1].span)
    spool.close()
    spool.close()
    with pytest.raises(FileNotFoundError, match="closed"):
        spool.read(two)


def test_what_comes_back_lies_in_the_pool_while_it_has_slots_to_spare(tmp_path: Path) -> None:
    pool = BufferPool(2, NBYTES)
    spool = Spool(str(tmp_path), NBYTES, pool.lend_spare)
    written = [spool.write(block(number)) for number in range(3)]
    read = [spool.read(one) for one in written]
    assert (pool.statistics().free, spool._read.usage().allocated) == (1, 2 * NBYTES)
    for number, one in enumerate(read):
        np.testing.assert_array_equal(one.pixels, block(number).pixels)
    pool.retire()
    assert pool.lend_spare(NBYTES) is None
    spool.close()


def test_what_is_on_disk_is_no_memory(tmp_path: Path) -> None:
    spool = Spool(str(on_disk(tmp_path)), NBYTES)
    first = spool.write(block(0))
    spool.write(block(1))
    assert spool.usage() == Usage("hold", on_disk=2 * NBYTES)
    read = spool.read(first)
    assert spool.usage() == Usage("hold", on_disk=NBYTES)
    assert read.nbytes == NBYTES
    spool.close()
    assert spool.usage() == Usage("hold")


@pytest.mark.skipif(not is_in_memory("/dev/shm"), reason="/dev/shm is not in memory")
def test_a_folder_in_memory_gets_what_the_budget_has_left() -> None:
    own = Meters()
    budget = Budget(own)
    budget.bound("test", 2 * NBYTES)
    spool = Spool("/dev/shm", NBYTES, budget=budget)
    own.add(spool)
    first = spool.write(block(0))
    spool.write(block(1))
    assert (spool.usage().allocated, spool.usage().on_disk, budget.left) == (2 * NBYTES, 0, 0)
    assert spool.usage().unmapped == 2 * NBYTES
    with pytest.raises(OSError, match="do not fit") as refused:
        spool.write(block(2))
    assert refused.value.errno == errno.ENOSPC
    np.testing.assert_array_equal(spool.read(first).pixels, block(0).pixels)
    assert spool.usage().in_use == NBYTES
    assert spool.write(block(2)).place == first.place
    spool.close()
    assert spool.usage().allocated == 0


def test_in_a_live_run_blocks_are_handed_on_from_the_beginning(make: Make, tmp_path: Path) -> None:
    """As many as processing may have; what it leaves lying goes to disk, and comes in order."""

    async def play() -> None:
        held = make(free=0, ahead=2)
        first = held.blocks.get(0, "a")
        for number in range(10):
            held.blocks.deliver(block(number))
        assert isinstance(first, asyncio.Future)
        answer = await asyncio.wait_for(first, BOUND)
        assert isinstance(answer, Frames)
        assert answer.numbers.tolist() == [0, 1]
        await held.until(lambda: held.blocks.held == (0, 8))
        assert held.blocks.unprocessed == 2
        held.blocks.leave_memory()  # they go to disk anyway, where memory is short
        held.free = 4
        held.blocks.end()
        held.blocks.acknowledge(0)
        for ticket in range(1, 10):
            answer = held.blocks.get(ticket, "a")
            if isinstance(answer, asyncio.Future):
                answer = await asyncio.wait_for(answer, BOUND)
            assert isinstance(answer, Frames)
            np.testing.assert_array_equal(answer.pixels, block(ticket).pixels)
            assert answer.numbers.tolist() == [2 * ticket, 2 * ticket + 1]
            assert held.blocks.unprocessed <= 2
            held.blocks.acknowledge(ticket)

    asyncio.run(play())
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_has_refused_is_forgiven_when_memory_is_free_again(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async def play() -> None:
        held = make(free=0, ahead=2)
        monkeypatch.setattr(os, "pwrite", full)
        for number in range(4):
            held.blocks.deliver(block(number))
        await held.until(lambda: held.blocks.is_stuck)
        held.free = 4
        held.blocks.look()
        assert not held.blocks.is_stuck

    asyncio.run(play())
