"""Frames come in order, whatever order they came in."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limadask.frames import Frames
from limadask.pipeline.turns import AHEAD, Turns


def tile(first: int, stop: int) -> Frames:
    return Frames.of(np.zeros((stop - first, 1, 1, 1), "u1"), first)


@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=12),
    lost=st.sets(st.integers(0, 11)),
    random=st.randoms(use_true_random=False),
)
def test_all_that_came_is_taken_once_and_in_order(
    sizes: list[int], lost: set[int], random: object
) -> None:
    edges = np.cumsum([0, *sizes]).tolist()
    blocks = list(enumerate(pairwise(edges)))
    random.shuffle(blocks)  # type: ignore[attr-defined]
    turns, taken = Turns(), list[int]()

    def work(frames: Frames) -> None:
        taken.extend(frames.numbers.tolist())

    for number, (first, stop) in blocks:
        if number not in lost:
            turns.take(tile(first, stop), work)
        turns.leave(first, stop, work)
    kept = [span for number, span in sorted(blocks) if number not in lost]
    assert taken == [number for first, stop in kept for number in range(first, stop)]


def test_what_never_comes_is_given_up() -> None:
    turns, taken = Turns(), list[int]()
    for number in range(1, AHEAD + 2):
        assert not taken
        turns.take(tile(number, number + 1), lambda one: taken.extend(one.numbers.tolist()))
    assert taken == list(range(1, AHEAD + 2))
    with pytest.raises(ValueError, match="frame 0 came after frame 65 was taken"):
        turns.take(tile(0, 1), lambda one: None)


def test_what_still_waits_is_drained() -> None:
    turns, taken = Turns(), list[int]()
    turns.take(tile(3, 5), lambda one: taken.append(1))
    turns.take(tile(8, 9), lambda one: taken.append(2))
    assert not taken
    turns.drain(lambda one: taken.extend(one.numbers.tolist()))
    assert taken == [3, 4, 8]
    turns.take(tile(9, 10), lambda one: taken.extend(one.numbers.tolist()))
    assert taken[-1] == 9


def test_what_waits_is_a_copy() -> None:
    turns, taken = Turns(), list[int]()
    later = tile(1, 2)
    turns.take(later, lambda one: None)
    later.pixels[...] = 9
    turns.take(tile(0, 1), lambda one: taken.append(int(one.pixels.max())))
    assert taken == [0, 0]
