"""How many tickets a receiver has out."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from limadask.engine.port import Ticket
from limadask.engine.window import Window


def test_a_window_is_handed_out_at_first_and_then_by_halves() -> None:
    window, numbers = Window("r", "p", 8), itertools.count(100)
    first = window.refill(numbers, None)
    assert first == [Ticket(number, "r", "p") for number in range(100, 108)]
    for number in range(100, 103):
        window.out.discard(number)
        assert window.refill(numbers, None) == []
    window.out.discard(103)
    assert [ticket.number for ticket in window.refill(numbers, None)] == [108, 109, 110, 111]


def test_no_more_tickets_than_blocks_that_may_come() -> None:
    window, numbers = Window("r", "p", 8), itertools.count()
    assert len(window.refill(numbers, 3)) == 3
    assert window.refill(numbers, 3) == []
    window.out.discard(0)
    assert window.refill(numbers, 2) == []
    assert window.refill(numbers, 0) == []
    assert window.refill(numbers, -5) == []
    assert next(numbers) == 3  # none was taken in vain


@given(
    st.integers(1, 40), st.lists(st.integers(0, 10), max_size=20), st.none() | st.integers(0, 50)
)
def test_never_more_out_than_the_window_and_never_dry_while_blocks_are_wanted(
    size: int, returns: list[int], wanted: int | None
) -> None:
    window, numbers, seen = Window("r", "p", size), itertools.count(), []
    for count in returns:
        seen += [ticket.number for ticket in window.refill(numbers, wanted)]
        assert len(window.out) <= size
        assert len(window.out) > 0 or wanted == 0
        if wanted is not None:
            assert len(window.out) <= wanted
        for number in sorted(window.out)[:count]:
            window.out.discard(number)
            wanted = None if wanted is None else wanted - 1
    assert seen == list(range(len(seen)))
