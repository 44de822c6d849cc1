"""Threads pass in the order of their blocks."""

from __future__ import annotations

import threading

from hypothesis import given, settings
from hypothesis import strategies as st

from limadask.pipeline.turns import Turns

BOUND = 30.0


@settings(max_examples=15)
@given(count=st.integers(1, 8), lost=st.sets(st.integers(0, 7)), nb_threads=st.integers(1, 4))
def test_blocks_pass_in_order_whatever_threads_have_them(
    count: int, lost: set[int], nb_threads: int
) -> None:
    blocks = [number for number in range(count) if number not in lost]
    turns, passed, lock = Turns(), list[int](), threading.Lock()
    left = list(blocks)
    ends = dict(zip(blocks, [*blocks, count][1:], strict=True))
    turns.begin(blocks[0] if blocks else 0)

    def work() -> None:
        while True:
            with lock:
                if not left:
                    return
                number = left.pop(0)
            with turns.block(number, ends[number]):
                for _ in range(3):
                    turns.wait()
                    passed.append(number)

    threads = [threading.Thread(target=work) for _ in range(nb_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND)
    assert passed == [number for number in blocks for _ in range(3)]


def test_a_block_that_begins_a_moment_late_is_waited_for() -> None:
    turns, passed, began = Turns(), list[int](), threading.Event()

    def later() -> None:
        began.set()
        with turns.block(5, 9):
            turns.wait()
            passed.append(5)

    thread = threading.Thread(target=later)
    thread.start()
    assert began.wait(BOUND)
    with turns.block(0, 5):
        turns.wait()
        passed.append(0)
    thread.join(BOUND)
    assert passed == [0, 5]


def test_a_block_that_never_begins_is_given_up() -> None:
    turns = Turns()
    with turns.block(7, 9):  # frames 0 to 6 are with nobody
        turns.wait()
    with turns.block(9, 12):
        turns.wait()


def test_what_is_left_at_the_end_waits_for_nobody() -> None:
    Turns().wait()
