"""The acquisition thread with frames that come compressed."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limadask.detector import End, Frame, Lost, Receiver
from limadask.engine.receiving import Receiving
from limadask.frames import Frames, Packed, Spec, packed_bound
from limadask.geometry import Grid
from limadask.memory import BufferPool, UntouchedAllocator
from limadask.storage import decodable, encoder, unpacked

SPEC = Spec(Grid((20, 30)), np.dtype("u2"), ("a", "b"), nb_frames=40)


def pixels(number: int, noise: int = 3) -> Any:
    random = np.random.default_rng(number)
    return random.integers(0, noise, SPEC.frame_shape).astype("u2")


def frame(number: int, **fields: Any) -> Frame:
    """Return a frame; odd ones cannot be compressed."""
    encode = encoder("bshuf_lz4")
    noise = 65536 if number % 2 else 3
    chunks = [bytes(encode(band)) for band in pixels(number, noise)]
    return Frame(number, chunks=chunks, codec="bshuf_lz4", values=(float(number),), **fields)


class Packing(Receiver):
    """Hands frames on as a script says, then ends."""

    def __init__(self, script: list[Frame | Lost]) -> None:
        super().__init__()
        self.packs, self.script, self.released = True, list(script), 0

    def take(self, timeout: float) -> Frame | Lost | End | None:
        assert not self.given, "who packs is given no buffers"
        if not self.script:
            return End()
        one = self.script.pop(0)
        if isinstance(one, Frame):
            one.release = self._release
        return one

    def _release(self) -> None:
        self.released += 1


class Work:
    """A thread's surroundings, with copies of all blocks."""

    def __init__(
        self, script: list[Frame | Lost], size: int = 4, slot: int = 4, keeps: bool = False
    ) -> None:
        self.blocks: list[Frames] = []
        self.receiver = Packing(script)
        self.pool = BufferPool(2, slot * packed_bound(SPEC.frame_nbytes, 2))
        self.receiving = Receiving(
            self.receiver, self.pool, SPEC, size, 60.0, self._deliver, lambda: None, keeps=keeps
        )
        self.receiving.run()
        assert not self.receiving.progress.error, self.receiving.details

    def _deliver(self, block: Frames) -> None:
        assert len(block.pixels) == 0
        assert block.packed is not None
        assert decodable(block.packed).all()
        again = pickle.loads(pickle.dumps(block))
        assert type(again.packed) is Packed  # in one piece, as soon as it leaves the process
        np.testing.assert_array_equal(unpacked(again).pixels, unpacked(block).pixels)
        self.blocks.append(unpacked(block))

    @property
    def numbers(self) -> list[list[int]]:
        return [block.numbers.tolist() for block in self.blocks]

    def check(self) -> None:
        """Every frame has its own pixels and values, every block comes of one slot."""
        for block in self.blocks:
            for place, number in enumerate(block.numbers.tolist()):
                noise = 65536 if number % 2 else 3
                np.testing.assert_array_equal(block.pixels[place], pixels(number, noise))
                assert block.values is not None
                assert block.values[place].tolist() == [number]


@given(st.permutations(range(12)), st.integers(1, 5), st.booleans(), st.booleans())
def test_frames_come_in_any_order(order: list[int], size: int, keeps: bool, is_owned: bool) -> None:
    frames = [frame(number, is_owned=is_owned) for number in order]
    work = Work(frames, size, slot=size, keeps=keeps)
    work.check()
    assert sorted(number for one in work.numbers for number in one) == list(range(12))
    assert all(one == sorted(one) for one in work.numbers)
    assert work.receiver.released == 12


def test_a_slot_holds_as_many_blocks_as_go_into_it() -> None:
    work = Work([frame(2 * number) for number in range(20)], size=2)
    work.check()
    assert len(work.blocks) == 20
    assert work.pool.statistics().lent == 1  # of the size of four frames


def test_chunks_that_are_owned_stay_where_they_are_as_long_as_the_slot_is_lent() -> None:
    kept: list[Frames] = []
    memory = [np.frombuffer(bytes(one), np.uint8) for one in frame(0).chunks]
    one = Frame(0, chunks=memory, codec="bshuf_lz4", is_owned=True)
    pool = BufferPool(1, 4 * packed_bound(SPEC.frame_nbytes, 2), UntouchedAllocator())
    thread = Receiving(Packing([one]), pool, SPEC, 4, 60.0, kept.append, lambda: None, keeps=True)
    thread.run()
    assert kept[0].packed is not None
    found = kept[0].packed.chunks()
    assert [np.shares_memory(a, b) for a, b in zip(found, memory, strict=True)] == [True, True]
    assert pool.statistics().free == 0
    kept[0].packed = kept[0].packed[:1]
    assert pool.statistics().free == 0
    kept.clear()
    assert pool.statistics().free == 1


def test_a_frame_for_which_a_slot_has_no_room_begins_the_next() -> None:
    """Slots are too small for blocks here: these are cut short, and none is lost."""
    work = Work([frame(2 * number + 1) for number in range(12)], size=40, slot=5)
    work.check()
    assert work.numbers == [[1, 3, 5, 7, 9], [11, 13, 15, 17, 19], [21, 23]]
    assert work.pool.statistics().lent == 3
    assert work.receiver.released == 12


def test_a_frame_that_no_slot_has_room_for_is_absent() -> None:
    huge = Frame(3, chunks=[bytes(10**6), b""], codec="bshuf_lz4")
    work = Work([frame(0), frame(2), huge, frame(4)], size=8, slot=1)
    assert [number for one in work.numbers for number in one] == [0, 2, 4]
    causes = {one.cause for one in work.receiving.progress.absences if one.first <= 3 < one.stop}
    assert causes == {"decode_error"}
    assert work.receiver.released == 4


def test_frames_of_two_codecs_do_not_come_into_one_block() -> None:
    plain = Frame(1, chunks=[one.tobytes() for one in pixels(1, 65536)], values=(1.0,))
    work = Work([frame(0), plain, frame(2), frame(3)], size=4)
    work.check()
    assert work.numbers == [[0], [1], [2, 3]]


def test_what_comes_twice_is_released_and_left_out() -> None:
    work = Work([frame(0), frame(0), frame(1), frame(0)], size=2)
    work.check()
    assert work.numbers == [[0, 1]]
    assert work.receiver.released == 4
    assert work.receiving.progress.refused == 2


@pytest.mark.parametrize(
    "wrong",
    [
        Frame(1, chunks=[b"1"], codec="bshuf_lz4"),
        Frame(1, chunks=[b"1", b"2"], invalid=np.zeros((20, 30), bool)),
    ],
    ids=["a band is missing", "invalid pixels"],
)
def test_a_plugins_mistake_ends_the_run_and_says_what_is_wrong(wrong: Frame) -> None:
    with pytest.raises(AssertionError, match="a packed frame has one for each of 2 bands"):
        Work([frame(0), wrong])
