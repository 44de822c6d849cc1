"""What a receiver does when its pool is full."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from limadask.detector import Deal, End, Frame, Receiver
from limadask.engine.blocks import Blocks
from limadask.engine.credits import lent_blocks
from limadask.engine.gauge import Gauge
from limadask.engine.messages import progress_message
from limadask.engine.receiving import Receiving
from limadask.engine.relief import relief
from limadask.frames import Frames, Spec
from limadask.geometry import Grid
from limadask.memory import BufferPool
from limadask.memory.keeper import Keeper
from limadask.parameters import Policy

SPEC = Spec(Grid((2, 3)), np.dtype("u2"))
BOUND = 10.0
SIZE, SLOTS = 2, 5


class Camera(Receiver):
    """Gives frames when the test says so; fills given buffers, or lends its own."""

    def __init__(self, lends: bool = False, deal: Deal | None = None) -> None:
        super().__init__()
        self._lends, self._may, self._stopped = lends, threading.Semaphore(0), threading.Event()
        self.deal = deal or Deal()
        self.index = self.released = 0

    def expose(self, count: int = 1) -> None:
        self._may.release(count)

    def take(self, timeout: float) -> Frame | End | None:
        if self._stopped.is_set():
            return End()
        if not self._may.acquire(timeout=timeout):
            return None
        frame = Frame(self.index)
        if self._lends:
            frame.lent = np.full((1, 2, 3), self.index, np.uint16)
            frame.release = self._release
        else:
            self.given.popleft()[...] = self.index
        self.index += 1
        return frame

    def _release(self) -> None:
        self.released += 1

    def stop(self, abort: bool) -> None:
        self._stopped.set()


class Work:
    """A running thread whose blocks are kept until the test lets go of them."""

    def __init__(self, policy: Policy, camera: Camera, nb_frames: int | None = None) -> None:
        self.camera, self.kept = camera, list[Frames]()
        self.levels: list[str] = []
        self.pool = BufferPool(SLOTS, SIZE * SPEC.frame_nbytes)
        self.gauge = Gauge(self.pool, lambda: self.levels.append(self.gauge.pressure.level))
        self.receiving = Receiving(
            camera, self.pool, SPEC.replace(nb_frames=nb_frames), SIZE, BOUND, self.kept.append,
            lambda: None, relief=relief(policy, self.gauge, None, lambda work: work()),
        )  # fmt: skip
        self.receiving.start()

    def until(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + BOUND
        while not is_so():
            assert time.monotonic() < deadline
            threading.Event().wait(0.002)

    def expose(self, count: int = 1) -> None:
        """Expose frames, one after the other; wait until each has been dealt with."""
        for _ in range(count):
            before = self.camera.index
            self.camera.expose()
            self.until(lambda before=before: self._taken > before)  # type: ignore[misc]

    @property
    def _taken(self) -> int:
        progress = self.receiving.progress
        return progress.next if self.camera.deal.is_known else progress.seen

    def end(self) -> None:
        self.receiving.stop(abort=True)
        self.receiving.join(BOUND)
        assert not self.receiving.is_alive()
        assert self.receiving.progress.error == "", self.receiving.details

    @property
    def lost(self) -> list[int]:
        gaps = self.receiving.progress.absences
        assert {gap.cause for gap in gaps} <= {"overrun"}
        return sorted(number for gap in gaps for number in range(gap.first, gap.stop))

    def numbers(self) -> list[int]:
        for block in self.kept:
            for number, pixels in zip(block.numbers, block.pixels, strict=True):
                assert (pixels == number).all(), number
        return [int(number) for block in self.kept for number in block.numbers]


@pytest.mark.parametrize("lends", [False, True], ids=["fills", "lends"])
def test_the_newest_frames_are_left_out_while_there_is_no_room(lends: bool) -> None:
    camera = Camera(lends)
    work = Work(Policy(on_overrun="drop"), camera)
    work.expose(SIZE * SLOTS + 7)
    first = work.numbers()
    work.kept.clear()
    work.expose(SIZE)  # the next frame finds the room that there is by now
    work.end()
    assert first == list(range(10))
    assert work.numbers() == [17, 18]
    assert work.lost == list(range(10, 17))
    assert camera.released == (19 if lends else 0)
    assert work.levels[-2:] == ["overrun", "ok"]


def test_frames_left_out_by_number_where_nobody_knows_whose_turn_it_is() -> None:
    camera = Camera(deal=Deal("dynamic", 0, 2))
    camera.index = 100
    work = Work(Policy(on_overrun="drop"), camera)
    work.expose(SIZE * SLOTS + 3)
    work.end()
    assert work.numbers() == list(range(100, 110))
    assert work.lost == [110, 111, 112]


def test_from_high_on_only_each_nth_frame_is_kept() -> None:
    work = Work(Policy(on_overrun="drop", drop={"every": 4}), Camera())
    work.expose(20)
    work.end()
    kept, lost = work.numbers(), work.lost
    assert sorted(kept + lost) == list(range(20))
    first = lost[0]
    assert kept[:first] == list(range(first))
    assert len([number for number in kept if number > first]) > 0
    assert all(number % 4 == 0 for number in kept if number > first)
    assert "overrun" not in work.levels


def test_by_default_it_waits_for_room() -> None:
    work = Work(Policy(), Camera())
    work.expose(SIZE * SLOTS)
    work.until(lambda: "overrun" in work.levels)
    work.camera.expose(2)
    work.kept.clear()
    work.until(lambda: len(work.kept) == 1)
    work.end()
    assert work.numbers() == [10, 11]
    assert work.lost == []


def test_a_paused_receiver_takes_nothing_that_it_would_have_to_pull() -> None:
    class Pulled(Camera):
        pulls = True

    camera = Pulled()
    work = Work(Policy(), camera)
    work.expose(2)
    work.receiving.pause()
    camera.expose(4)
    work.until(lambda: not work.receiving._may_take.is_set())
    assert camera.index <= 3  # one call of take may be under way
    work.receiving.resume()
    work.until(lambda: camera.index == 6)
    work.receiving.pause()
    work.end()  # a pause does not outlast the end


def test_neighbours_of_one_cause_are_told_as_one() -> None:
    work = Work(Policy(on_overrun="drop"), Camera())
    work.expose(SIZE * SLOTS + 50)
    work.end()
    progress = work.receiving.progress
    assert len(progress.absences) == 50
    told = progress_message(progress, progress.absences, Deal("round_robin", 1, 3))["absences"]
    assert told == [(31, 179, 3, "overrun")]


# ---- the oldest block goes -----------------------------------------------------------------------


def block(*numbers: int) -> Frames:
    made = Frames.of(np.zeros((len(numbers), 1, 1, 1), np.uint8), numbers[0])
    made.numbers = np.array(numbers)
    return made


def test_the_oldest_block_that_no_worker_has_is_let_go() -> None:
    async def play() -> Any:
        blocks = Blocks({"a": 1})
        blocks.get(0, "a")
        blocks.get(1, "a")
        for first in (0, 4, 8):
            blocks.deliver(block(first, first + 1))
        assert blocks.waiting == 2  # the first is lent
        blocks.let_go()
        told = blocks.take_gone(), blocks.nb_let_go, blocks.waiting, blocks.take_gone()
        blocks.acknowledge(0)
        answer = blocks.get(1, "a")
        assert isinstance(answer, Frames)
        blocks.let_go()  # there is none any more
        return *told, answer.numbers.tolist(), blocks.take_gone()

    assert asyncio.run(play()) == ([(4, 6, 1)], 1, 1, [], [8, 9], [])


@pytest.mark.parametrize(
    ("numbers", "ranges"),
    [
        ([3], [(3, 4, 1)]),
        ([1, 4, 7], [(1, 8, 3)]),
        ([0, 1, 5, 6], [(0, 2, 1), (5, 7, 1)]),
        ([2, 9], [(2, 10, 7)]),
    ],
)
def test_frames_let_go_are_told_in_ranges(
    numbers: list[int], ranges: list[tuple[int, int, int]]
) -> None:
    async def play() -> Any:
        blocks = Blocks({"a": 1})
        blocks.deliver(block(*numbers))
        blocks.let_go()
        return blocks.take_gone()

    assert asyncio.run(play()) == ranges


class Asleep(Keeper):
    """A keeper that does nothing by itself."""

    def ask(self, pool: Any) -> None: ...


def test_who_waits_for_a_slot_that_is_being_made_is_not_out_of_memory() -> None:
    pool = BufferPool(2, 8, ceiling=4, keeper=Asleep())
    gauge = Gauge(pool)
    held = [pool.lend((8,), "u1") for _ in range(2)]
    assert pool.lend((8,), "u1") is None
    gauge.note(starved=True)
    newest = relief(Policy(on_overrun="drop", drop="newest"), gauge, None, lambda work: work())
    assert gauge.pressure.level != "overrun"
    assert not newest.leaves_out()
    for _ in range(2):
        pool.grow()
        held.append(pool.lend((8,), "u1"))
    gauge.note(starved=True)
    assert gauge.pressure.level == "overrun"
    assert newest.leaves_out()
    held.clear()
    gc.collect()
    assert gauge.look().level == "ok"  # also while no frame comes


def test_the_oldest_goes_once_however_late_that_is_done() -> None:
    pool, blocks, posted = BufferPool(1, 8), Blocks({}), list[Callable[[], object]]()
    held = pool.lend((8,), "u1")
    blocks.deliver(block(0, 1))
    blocks.deliver(block(2, 3))
    oldest = relief(Policy(on_overrun="drop", drop="oldest"), Gauge(pool), blocks, posted.append)
    for _ in range(3):
        oldest.note(starved=True)
    assert len(posted) == 1
    posted.pop()()
    assert (blocks.nb_let_go, blocks.nb_frames_let_go, blocks.waiting) == (1, 2, 1)
    oldest.note(starved=True)
    del held  # a slot has come back before the next is let go
    gc.collect()
    posted.pop()()
    assert blocks.nb_let_go == 1


@pytest.mark.parametrize("policy", ["hold", "drop"])
def test_a_worker_that_processes_what_it_receives_keeps_all_its_threads_busy(policy: Any) -> None:
    threads = dict.fromkeys("abcd", 4)
    assert lent_blocks(threads, 4, "a", 32, policy) == {"a": 8}
    assert lent_blocks(threads, 4, "a", 32, "wait") == {"a": 32}
    assert lent_blocks(threads, 4, "", 32, policy) == dict.fromkeys("abcd", 2)
