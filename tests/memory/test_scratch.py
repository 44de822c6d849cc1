"""Scratch is each thread's own, used again, metered, and freed."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest

from limadask.memory import METERS, Freed, Scratch, owning


def address(array: np.ndarray) -> int:  # type: ignore[type-arg]
    return int(array.__array_interface__["data"][0])


@pytest.mark.parametrize("dtype", ["u1", "f4", "f8"])
def test_a_thread_gets_the_same_memory_again(dtype: str) -> None:
    scratch = Scratch()
    first = scratch.array("sums", (3, 5), dtype)
    first[...] = 7
    assert (first.shape, first.dtype, first.flags.c_contiguous) == ((3, 5), np.dtype(dtype), True)
    assert address(scratch.array("sums", (2, 5), dtype)) == address(first)
    assert address(scratch.array("counts", (3, 5), dtype)) != address(first)
    assert scratch.usage().loans == 2


def test_it_grows_and_lets_go_of_what_was_too_small() -> None:
    scratch = Scratch()
    scratch.array("a", (100,), "u1")
    assert scratch.array("a", (300,), "u1").size == 300
    told = scratch.usage()
    assert (told.allocated, told.in_use, told.high_water, told.total) == (300, 300, 300, 400)


def test_threads_do_not_share_it_and_their_end_frees_it() -> None:
    scratch, seen = Scratch(), [np.empty(0, np.uint8)]
    mine = scratch.array("a", (64,), "u1")
    mine[...] = 1

    def work() -> None:
        seen[0] = scratch.array("a", (64,), "u1")
        seen[0][...] = 2

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert address(seen[0]) != address(mine)
    assert (mine == 1).all()
    gc.collect()
    assert (scratch.usage().allocated, scratch.usage().high_water) == (64, 128)


def test_it_belongs_to_the_node_it_was_made_for_and_is_freed_with_it() -> None:
    made: weakref.WeakSet[Freed] = weakref.WeakSet()
    with owning("1234", "sums", made):
        scratch = Scratch()
    assert list(made) == [scratch]
    assert Scratch().usage().node == ""
    scratch.array("a", (64,), "u1")
    told = [one for one in METERS.usages() if one.uuid == "1234"]
    assert [(one.stage, one.node, one.allocated) for one in told] == [("scratch", "sums", 64)]
    scratch.free()
    assert scratch.usage().allocated == 0
    assert scratch.array("a", (64,), "u1").size == 64
    del scratch
    gc.collect()
    assert not made  # steps for frames that lack pixels come and go
    assert not [one for one in METERS.usages() if one.uuid == "1234"]
