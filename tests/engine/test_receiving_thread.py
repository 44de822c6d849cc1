"""Stopping, aborting and starving the acquisition thread."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np

from limadask.detector import End, Frame, Receiver
from limadask.engine.receiving import TAKE_TIMEOUT, Receiving
from limadask.engine.relief import Relief
from limadask.frames import Frames, Spec
from limadask.geometry import Grid
from limadask.memory import BufferPool

SPEC = Spec(Grid((2, 3)), np.dtype("u2"))
BOUND = 10.0
"""Seconds after which a test fails rather than to wait on."""


class Camera(Receiver):
    """Gives frames when the test says so; ends when stopped, unless it is deaf."""

    def __init__(self, deaf: bool = False) -> None:
        super().__init__()
        self._deaf, self._stopped = deaf, threading.Event()
        self._may = threading.Semaphore(0)
        self.index, self.stops = 0, []
        self.taking = threading.Event()

    def expose(self, count: int = 1) -> None:
        self._may.release(count)

    def take(self, timeout: float) -> Frame | End | None:
        self.taking.set()
        if self._stopped.is_set() and not self._deaf:
            return End()
        if not self._may.acquire(timeout=timeout):
            return None
        self.given.popleft()[...] = self.index
        self.index += 1
        return Frame(self.index - 1)

    def stop(self, abort: bool) -> None:
        self.stops.append(abort)
        self._stopped.set()


class Starving(BufferPool):
    """A pool that tells when it had nothing to lend."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.empty = threading.Event()

    def lend(self, *arguments: Any, **more: Any) -> Any:
        array = super().lend(*arguments, **more)
        if array is None:
            self.empty.set()
        return array


class Stuck(Relief):
    """Leaves frames out while an event is set."""

    def __init__(self, event: threading.Event) -> None:
        super().__init__()
        self._event = event

    def leaves_out(self) -> bool:
        return self._event.is_set()


class Work:
    """A running thread."""

    def __init__(self, camera: Receiver, size: int = 4, slots: int = 3) -> None:
        self.blocks: list[Frames] = []
        self.delivered, self.ended = threading.Semaphore(0), threading.Event()
        self.pool = Starving(slots, size * SPEC.frame_nbytes)
        self.receiving = Receiving(
            camera, self.pool, SPEC, size, 0.0, self._deliver, self.ended.set
        )
        self.receiving.start()

    def _deliver(self, block: Frames) -> None:
        self.blocks.append(block)
        self.delivered.release()

    def wait_for_blocks(self, count: int = 1) -> None:
        for _ in range(count):
            assert self.delivered.acquire(timeout=BOUND)

    def join(self) -> float:
        """Wait for the end; return how long it took."""
        began = time.monotonic()
        self.receiving.join(BOUND)
        assert not self.receiving.is_alive()
        assert self.ended.is_set()
        return time.monotonic() - began


def test_stopping_lets_the_receiver_end() -> None:
    camera = Camera()
    work = Work(camera)
    camera.expose(2)
    work.wait_for_blocks()
    work.receiving.stop(abort=False)
    assert work.join() < 1
    assert camera.stops == [False]
    assert sum(len(block) for block in work.blocks) == 2
    assert work.receiving.progress.error == ""


def test_aborting_does_not_wait_for_a_deaf_receiver() -> None:
    camera = Camera(deaf=True)
    work = Work(camera)
    assert camera.taking.wait(BOUND)
    work.receiving.stop(abort=True)
    assert work.join() < TAKE_TIMEOUT + 1
    assert camera.stops == [True]


def test_stopping_waits_for_a_deaf_receiver_only_so_long() -> None:
    camera = Camera(deaf=True)
    work = Work(camera)
    assert camera.taking.wait(BOUND)
    work.receiving.stop(abort=False, grace=0.3)
    camera.expose()  # within the grace it is still taken
    work.wait_for_blocks()
    assert 0.1 < work.join() < 0.3 + TAKE_TIMEOUT + 1
    assert work.blocks[0].numbers.tolist() == [0]


def test_an_idle_thread_is_stopped_also_while_it_waits_for_memory() -> None:
    camera = Camera()
    work = Work(camera, size=1, slots=1)
    camera.expose()
    work.wait_for_blocks()  # the only slot is held by the block
    assert work.pool.empty.wait(BOUND)
    work.receiving.stop(abort=True)
    assert work.join() < 1


def test_frames_lost_for_want_of_memory_are_an_overrun() -> None:
    camera = Camera()
    work = Work(camera, size=2, slots=1)
    camera.expose(2)
    work.wait_for_blocks()
    assert work.pool.empty.wait(BOUND)
    camera.index += 5  # a real camera goes on
    work.blocks.clear()  # now there is memory again
    camera.expose(1)
    work.wait_for_blocks()
    camera.index += 2  # this time for another reason
    camera.expose(1)
    work.wait_for_blocks()
    work.receiving.stop(abort=True)
    work.join()
    absences = work.receiving.progress.absences
    told = [(one.first, one.stop, one.cause) for one in absences]
    assert told == [(2, 7, "overrun"), (8, 10, "detector")]


def test_memory_comes_back_when_the_thread_has_ended() -> None:
    camera = Camera()
    work = Work(camera)
    camera.expose(5)
    work.wait_for_blocks()
    work.receiving.stop(abort=True)
    work.join()
    work.blocks.clear()
    assert work.pool.statistics().free == 3
    assert not camera.given


def test_where_no_memory_will_get_free_frames_are_left_out_until_there_is_some() -> None:
    camera, blocks, stuck = Camera(), list[Frames](), threading.Event()
    held = threading.Semaphore(0)
    pool = Starving(2, 2 * SPEC.frame_nbytes)

    def deliver(block: Frames) -> None:
        blocks.append(block)
        held.release()

    thread = Receiving(
        camera, pool, SPEC.replace(nb_frames=10), 2, BOUND, deliver, lambda: None,
        relief=Stuck(stuck),
    )  # fmt: skip
    thread.start()
    camera.expose(4)
    for _ in range(2):
        assert held.acquire(timeout=BOUND)
    assert pool.empty.wait(BOUND)
    stuck.set()
    camera.expose(3)  # 4, 5 and 6
    deadline = time.monotonic() + BOUND
    while thread.progress.next < 7:
        assert time.monotonic() < deadline
        camera.taking.wait(0.01)
    blocks.clear()  # two blocks were processed after all
    stuck.clear()
    camera.expose(3)
    thread.join(BOUND)
    assert not thread.is_alive()
    kept = [number for block in blocks for number in block.numbers.tolist()]
    lost = [one for gap in thread.progress.absences for one in range(gap.first, gap.stop)]
    assert {gap.cause for gap in thread.progress.absences} == {"overrun"}
    assert sorted(kept + lost) == list(range(4, 10))
    assert set(lost) >= {4, 5, 6}
    assert set(kept) >= {8, 9}
    for block in blocks:
        assert (block.pixels[:, 0, 0, 0] == block.numbers).all()
