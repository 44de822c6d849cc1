"""Memory that other processes read: the same pixels, never others, and nothing is left."""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from limadask.memory import BufferPool, Handle, SharedAllocator, SharedReader

READER = Path(__file__).with_name("reading.py")
SHAPE = (2, 1, 20, 30)
BOUND = 20.0


class Owner:
    """A pool in shared memory."""

    def __init__(self, slots: int = 2) -> None:
        self.allocator = SharedAllocator(slots, 2 * int(np.prod(SHAPE)))
        self.pool = BufferPool(slots, 2 * int(np.prod(SHAPE)), self.allocator)

    def filled(self, value: int, timeout: float = 0) -> np.ndarray[Any, Any]:
        pixels = self.pool.lend(SHAPE, "u2", timeout)
        assert pixels is not None
        pixels[...] = value
        return pixels

    def handle(self, pixels: np.ndarray[Any, Any]) -> Handle:
        handle = self.allocator.handle(pixels)
        assert handle is not None
        return handle


def descriptors(name: str) -> int:
    """How many of this process's open files are the segment (others come and go)."""
    found = 0
    for one in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the listing's own
            found += name in os.readlink(f"/proc/self/fd/{one}")
    return found


def opened(handle: Handle) -> SharedReader:
    reader = SharedReader()
    reader.open(handle.segment)
    return reader


@contextmanager
def reading(handle: Handle) -> Iterator[subprocess.Popen[str]]:
    """Read in another process."""
    command = [sys.executable, str(READER), pickle.dumps(handle).hex()]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_another_process_reads_the_same_pixels() -> None:
    owner = Owner()
    pixels = owner.filled(7)
    pixels[1] = np.arange(600).reshape(1, 20, 30)
    with reading(owner.handle(pixels)) as process:
        assert line(process) == str(int(pixels.sum()))


def test_a_part_of_a_slot_is_found() -> None:
    owner = Owner()
    pixels = owner.filled(3)
    pixels[1] = 5
    seen = opened(owner.handle(pixels)).read(owner.handle(pixels[1:]))
    assert seen is not None
    assert np.array_equal(seen, pixels[1:])


def test_what_is_read_cannot_be_written() -> None:
    owner = Owner()
    handle = owner.handle(owner.filled(3))
    seen = opened(handle).read(handle)
    # its slot may be lent again at once: nobody keeps it; but the reader has a view of it
    assert seen is not None
    with pytest.raises(ValueError, match="read-only"):
        seen[0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        seen.flags.writeable = True


def test_a_slot_is_not_lent_while_it_is_read() -> None:
    owner = Owner(slots=1)
    handle = owner.handle(owner.filled(3))
    reader = opened(handle)
    seen = reader.read(handle)
    assert seen is not None
    view = seen[1, 0, 5:]
    del seen
    gc.collect()
    assert owner.pool.lend(SHAPE, "u2", timeout=0.01) is None
    assert (view == 3).all()
    del view
    gc.collect()
    assert owner.filled(4) is not None


def test_other_slots_are_lent_meanwhile() -> None:
    owner = Owner(slots=3)
    first = owner.filled(1)
    handle = owner.handle(first)
    seen = opened(handle).read(handle)
    del first
    gc.collect()
    others = [owner.filled(2), owner.filled(2)]
    assert owner.pool.lend(SHAPE, "u2") is None
    assert seen is not None
    assert (seen == 1).all()
    assert len(others) == 2


def test_two_views_of_a_slot_are_given_back_one_by_one() -> None:
    owner = Owner(slots=1)
    handle = owner.handle(owner.filled(1))
    reader = opened(handle)
    views = [reader.read(handle), reader.read(handle)]
    for _ in range(2):
        assert owner.pool.lend(SHAPE, "u2") is None
        views.pop()
        gc.collect()
    assert owner.pool.lend(SHAPE, "u2") is not None


def test_an_old_handle_shows_nothing() -> None:
    owner = Owner(slots=1)
    handle = owner.handle(owner.filled(1))
    reader = opened(handle)
    gc.collect()
    pixels = owner.filled(2)
    assert reader.read(handle) is None
    seen = reader.read(owner.handle(pixels))
    assert seen is not None
    assert (seen == 2).all()


def test_a_reader_that_is_killed_gives_its_slot_back() -> None:
    owner = Owner(slots=1)
    with reading(owner.handle(owner.filled(1))) as process:
        assert line(process) == str(2 * 600)
        gc.collect()
        assert owner.pool.lend(SHAPE, "u2", timeout=0.01) is None
        process.kill()
        process.wait(BOUND)
        assert owner.filled(2, timeout=BOUND) is not None


def test_what_is_read_outlives_its_owner() -> None:
    owner = Owner()
    with reading(owner.handle(owner.filled(9))) as process:
        assert line(process) == str(9 * 1200)
        del owner
        gc.collect()
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
        assert line(process) == str(9 * 1200)


def test_nothing_is_left() -> None:
    owner = Owner()
    name = owner.allocator.segment.name
    handle = owner.handle(owner.filled(1))
    reader = opened(handle)
    seen = reader.read(handle)
    assert descriptors(name) >= 3  # the owner's, the reader's, the view's (mmap duplicates its own)
    assert not [one for one in os.listdir("/dev/shm") if name in one]
    del owner, reader, seen
    gc.collect()
    assert descriptors(name) == 0


@pytest.mark.parametrize(
    "change",
    [{"pid": 2**22 + 1}, {"descriptor": 0}, {"descriptor": 9999}, {"name": "limadask-other"}],
)
def test_what_is_not_the_segment_is_not_opened(change: dict[str, Any]) -> None:
    segment = replace(Owner().allocator.segment, **change)
    with pytest.raises(OSError):  # noqa: PT011 - of several kinds
        SharedReader().open(segment)


def test_arrays_that_lie_elsewhere_have_no_handle() -> None:
    owner = Owner()
    pixels = owner.filled(1)
    assert owner.allocator.handle(np.zeros(SHAPE, "u2")) is None
    assert owner.allocator.handle(pixels[:, :, ::2]) is None
    assert owner.allocator.handle(Owner().filled(1)) is None


def test_more_than_there_is_cannot_be_had() -> None:
    with pytest.raises(MemoryError, match="cannot be shared"):
        SharedAllocator(4, 1 << 50)
    allocator = SharedAllocator(1, 100)
    assert len(allocator.allocate(100)) == 100
    with pytest.raises(MemoryError, match="1 slots"):
        allocator.allocate(100)


def test_a_slot_that_is_freed_has_no_pages_and_can_be_had_again() -> None:
    allocator = SharedAllocator(2, 1 << 20)
    first, second = allocator.allocate(1 << 20), allocator.allocate(1 << 20)
    first[:] = second[:] = 7
    path = f"/proc/self/fd/{allocator.segment.descriptor}"
    before = os.stat(path).st_blocks * 512
    allocator.free(first)
    assert before - os.stat(path).st_blocks * 512 == 1 << 20
    assert second.min() == 7
    again = allocator.allocate(1 << 20)
    assert again.max() == 0
    assert again.ctypes.data == first.ctypes.data
    with pytest.raises(MemoryError, match="2 slots"):
        allocator.allocate(1)
