"""The acquisition thread, with receivers that do what a test tells them."""

from __future__ import annotations

import gc
import itertools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limadask.detector import End, Frame, Lost, Receiver
from limadask.engine.receiving import Receiving
from limadask.frames import Frames, Spec, Status
from limadask.geometry import Grid
from limadask.memory import BufferPool

SPEC = Spec(Grid((2, 3)), np.dtype("u4"), ("a", "b"))


def pixels(index: int) -> Any:
    return np.arange(12, dtype="u4").reshape(2, 2, 3) + 100 * index


class Scripted(Receiver):
    """Takes frames, nothing, or errors, one after the other; then ends.

    A frame is told as a number, negative ones (less one) are lent.
    """

    def __init__(self, script: list[Any]) -> None:
        super().__init__()
        self.script, self.lent, self.released = list(script), [], []
        self.unreleased_at_take = 0
        self.stopped: list[bool] = []

    def take(self, timeout: float) -> Frame | Lost | End | None:
        self.unreleased_at_take += len(self.lent) - len(self.released)
        if not self.script:
            return End()
        item = self.script.pop(0)
        if isinstance(item, Exception):
            raise item
        if not isinstance(item, int):
            return item() if callable(item) else item
        if item < 0:
            self.lent.append(-item - 1)
            release = self.released.append
            index = -item - 1
            return Frame(index, lent=pixels(index), release=lambda: release(index))
        self.given.popleft()[...] = pixels(item)
        return Frame(item, timestamp=item * 1000)

    def stop(self, abort: bool) -> None:
        self.stopped.append(abort)


class Ample(BufferPool):
    """A pool that must never be empty: nothing but the open slot is held here."""

    def lend(self, *arguments: Any, **more: Any) -> Any:
        array = super().lend(*arguments, **more)
        if array is None:
            raise MemoryError("a slot was not given back")
        return array


class Work:
    """A thread's surroundings, with copies of all blocks."""

    def __init__(
        self,
        receiver: Receiver,
        size: int,
        nb_frames: int | None = None,
        patience: float = 60.0,
        takes_late: bool = True,
    ) -> None:
        self.blocks: list[Frames] = []
        self.ended = 0
        self.pool = Ample(2, size * SPEC.frame_nbytes)
        self.receiving = Receiving(
            receiver, self.pool, SPEC.replace(nb_frames=nb_frames), size, patience,
            self._deliver, self._end, takes_late,
        )  # fmt: skip

    def _deliver(self, block: Frames) -> None:
        self.blocks.append(block.carrying(block.pixels.copy()))

    def _end(self) -> None:
        self.ended += 1

    @property
    def numbers(self) -> list[list[int]]:
        return [block.numbers.tolist() for block in self.blocks]

    @property
    def spans(self) -> list[tuple[int, int]]:
        return [block.span for block in self.blocks]


def worked(script: list[Any], size: int, **more: Any) -> Work:
    """Run a script to its end, in this thread."""
    work = Work(Scripted(script), size, **more)
    work.receiving.run()
    assert work.ended == 1
    assert work.receiving.progress.ended
    return work


def absences(work: Work) -> list[tuple[int, int, str]]:
    told = work.receiving.progress.absences
    return sorted((one.first, one.stop, one.cause) for one in told)


scripts = st.lists(
    st.one_of(st.none(), st.integers(0, 30), st.integers(0, 30).map(lambda index: -index - 1)),
    max_size=40,
)


def indices(script: list[Any]) -> list[int]:
    return [item if item >= 0 else -item - 1 for item in script if item is not None]


@given(scripts, st.integers(1, 7), st.booleans(), st.booleans())
@settings(max_examples=300)
def test_whatever_comes_every_frame_is_delivered_once(
    script: list[Any], size: int, impatient: bool, takes_late: bool
) -> None:
    patience = 0.0 if impatient else 60.0
    work = worked(script, size, patience=patience, takes_late=takes_late)
    came, progress = indices(script), work.receiving.progress
    delivered = [number for block in work.numbers for number in block]
    assert len(set(delivered)) == len(delivered)
    first_times = {number for at, number in enumerate(came) if number > max([-1, *came[:at]])}
    assert first_times <= set(delivered) <= set(came)
    if takes_late:
        assert set(delivered) == set(came)
    for block in work.blocks:
        assert 1 <= len(block) <= size
        assert block.numbers[0] // size == block.numbers[-1] // size
        assert (np.diff(block.numbers) > 0).all()
        for number, frame in zip(block.numbers.tolist(), block.pixels, strict=True):
            np.testing.assert_array_equal(frame, pixels(number))
    in_time = [span for span in work.spans if span[1] > span[0]]
    edges = [0, *(span[1] for span in in_time)]
    assert in_time == list(itertools.pairwise(edges))
    assert edges[-1] == max([-1, *came]) + 1
    missing = {number for first, stop, _ in absences(work) for number in range(first, stop)}
    assert missing == set(range(edges[-1])) - set(delivered)
    assert progress.received == len(delivered)
    assert progress.refused == len(came) - len(delivered)
    assert (progress.next, progress.blocks, progress.error) == (edges[-1], len(work.blocks), "")
    receiver = work.receiving._receiver
    assert isinstance(receiver, Scripted)
    assert receiver.released == receiver.lent  # refused ones too, each once
    assert receiver.unreleased_at_take == 0  # before the next frame was asked for
    assert work.pool.statistics().free == 2


def test_frames_out_of_order_are_sorted_within_their_block() -> None:
    work = worked([1, 0, -4, 2, 5, 4, 6, 7], 4)
    assert work.numbers == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert work.spans == [(0, 4), (4, 8)]
    assert absences(work) == []


def test_a_frame_whose_block_is_gone_makes_one_of_its_own() -> None:
    script = [0, 1, 2, 4, 3, 5, 6, 7]
    work = worked(list(script), 4)
    assert work.numbers == [[0, 1, 2], [4], [3], [5, 6, 7]]
    assert work.spans == [(0, 4), (4, 5), (3, 3), (5, 8)]
    assert absences(work) == []
    refused = worked(list(script), 4, takes_late=False)
    assert 3 not in {number for block in refused.numbers for number in block}
    assert absences(refused) == [(3, 4, "timeout")]
    assert refused.receiving.progress.refused == 1


def test_frames_that_the_detector_should_not_send_are_refused() -> None:
    work = worked([0, 1, 7, 2], 4, nb_frames=3)
    assert work.numbers == [[0, 1, 2]]
    assert work.receiving.progress.refused == 1
    assert absences(work) == []


def test_what_a_plugin_knows_of_lost_frames_is_told_at_once() -> None:
    told: list[Any] = []

    def look() -> None:
        told.append(absences(work))

    work = Work(Scripted([0, Lost(1, 2, "overrun"), None, look, 3]), 4, nb_frames=6)
    work.receiving.run()
    assert told == [[(1, 3, "overrun")]]
    assert work.numbers == [[0, 3]]


@pytest.mark.parametrize(
    ("script", "absent"),
    [
        ([0, 3, Lost(1, 2, "decode_error")], [(1, 2, "decode_error"), (2, 3, "decode_error")]),
        ([0, Lost(2, 3, "overrun"), 4], [(1, 2, "detector"), (2, 4, "overrun")]),
        ([0, Lost(0, 2, "overrun"), 4], [(1, 3, "overrun"), (3, 4, "detector")]),
        ([0, Lost(1, 99, "packets_lost")], [(1, 6, "packets_lost")]),
        ([Lost(0, 5, "detector")], [(0, 6, "detector")]),
    ],
    ids=["afterwards", "with others before", "with one that came", "beyond the end", "all"],
)
def test_lost_frames_have_the_cause_that_the_plugin_names(
    script: list[Any], absent: list[tuple[int, int, str]]
) -> None:
    work = worked(script, 4, nb_frames=6)
    assert absences(work) == absent


def test_missing_pixels_hold_the_fill_value() -> None:
    rows = np.zeros((2, 3), bool)
    rows[1] = True
    frame = Frame(1, lent=pixels(1), complete=False, cause="packets_lost", invalid=rows)
    (block,) = worked([0, lambda: frame], 2).blocks
    assert set(block.invalid) == {1}
    np.testing.assert_array_equal(block.pixels[0], pixels(0))
    np.testing.assert_array_equal(block.pixels[1, :, 0], pixels(1)[:, 0])
    assert (block.pixels[1, :, 1] == SPEC.fill).all()


def test_frames_make_whole_blocks() -> None:
    work = worked([*range(10)], 4)
    assert work.numbers == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert work.spans == [(0, 4), (4, 8), (8, 10)]
    assert next(block.timestamps.tolist() for block in work.blocks) == [0, 1000, 2000, 3000]
    assert all(block.born > 0 for block in work.blocks)


@pytest.mark.parametrize(
    ("taken", "numbers", "spans", "missing"),
    [
        ([0, 2, 3, 4], [[0, 2, 3], [4]], [(0, 4), (4, 5)], [(1, 2)]),
        ([0, 1, 9, 10], [[0, 1], [9, 10]], [(0, 8), (8, 11)], [(2, 9)]),
        ([5, 6, 7, 8], [[5, 6, 7], [8]], [(0, 8), (8, 9)], [(0, 5)]),
        ([0, 1, 2, 3, 6], [[0, 1, 2, 3], [6]], [(0, 4), (4, 7)], [(4, 6)]),
    ],
    ids=["inside a block", "across blocks", "at the start", "between blocks"],
)
def test_blocks_account_for_frames_that_did_not_come(
    taken: list[int],
    numbers: list[list[int]],
    spans: list[tuple[int, int]],
    missing: list[tuple[int, int]],
) -> None:
    work = worked(list(taken), 4)
    assert work.numbers == numbers
    assert work.spans == spans
    assert absences(work) == [(*one, "detector") for one in missing]


def test_the_last_frame_ends_the_thread_and_an_early_end_too() -> None:
    work = worked([0, 1, 2, 3, 4, 5], 4, nb_frames=6)
    receiver = work.receiving._receiver
    assert isinstance(receiver, Scripted)
    assert work.numbers == [[0, 1, 2, 3], [4, 5]]
    early = worked([0, 1, End(), 2], 4, nb_frames=6)
    assert early.numbers == [[0, 1]]
    assert early.receiving.progress.next == 2
    assert absences(early) == []


def test_what_the_plugin_says_of_a_frame_is_kept() -> None:
    def part(index: int, **more: Any) -> Callable[[], Frame]:
        return lambda: Frame(index, lent=pixels(index), **more)

    began = time.time_ns()
    script = [part(0, complete=False, cause="packets_lost"), part(1), part(2, complete=False)]
    work = worked([*script, Lost(3, 4, "overrun"), part(5)], 8)
    (block,) = work.blocks
    assert block.status.tolist() == [Status.PARTIAL, Status.PRESENT, Status.PARTIAL, Status.PRESENT]
    assert dict(block.causes) == {0: "packets_lost", 2: "detector"}
    assert absences(work) == [(3, 5, "overrun")]
    assert all(began <= stamp <= time.time_ns() for stamp in block.timestamps.tolist())


def test_patience_delivers_what_waits() -> None:
    assert worked([0, 1, None, 2, None, 3], 8, patience=0.0).numbers == [[0, 1], [2], [3]]
    assert worked([0, 1, None, 2, None, 3], 8, patience=60.0).numbers == [[0, 1, 2, 3]]


@pytest.mark.parametrize("lent", [False, True])
def test_an_error_ends_with_its_text_and_keeps_what_had_come(lent: bool) -> None:
    frames = [-1, -2, -3] if lent else [0, 1, 2]
    work = worked([*frames, RuntimeError("cable out")], 8)
    progress = work.receiving.progress
    assert progress.error == "RuntimeError: cable out"
    assert "in take" in work.receiving.details
    assert work.numbers == [[0, 1, 2]]
    assert (progress.received, progress.blocks) == (3, 1)
    gc.collect()
    assert work.pool.statistics().free == 2


def test_an_error_at_the_start_is_told_too() -> None:
    class Broken(Scripted):
        def start(self) -> None:
            raise OSError("no link")

    work = Work(Broken([0]), 4)
    work.receiving.run()
    assert work.receiving.progress.error == "OSError: no link"
    assert (work.ended, work.blocks) == (1, [])


def test_an_error_of_the_engine_does_not_loop() -> None:
    work = Work(Scripted([0, 1, 2]), 2)

    def refuse(block: Frames) -> None:
        raise RuntimeError("loop closed")

    work.receiving._deliver = refuse
    work.receiving.run()
    assert work.receiving.progress.error == "RuntimeError: loop closed"
    assert work.ended == 1
