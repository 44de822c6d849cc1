"""One budget for all that a process holds of frames."""

from __future__ import annotations

import gc

import pytest

from limadask.memory import Budget, Meters, Tally, Usage


class Holder:
    """Something that holds memory."""

    def __init__(self, allocated: int, mapped: int = 0) -> None:
        self.held = Usage("hold", allocated=allocated, mapped=mapped)

    def usage(self) -> Usage:
        return self.held


@pytest.fixture
def meters() -> Meters:
    return Meters()


def test_without_bounds_all_is_granted(meters: Meters) -> None:
    budget = Budget(meters)
    assert (budget.most, budget.left, budget.used) == (None, None, 0)
    with budget.room(1 << 60) as is_granted:
        assert is_granted


def test_all_that_is_metered_counts_until_it_is_gone(meters: Meters) -> None:
    budget = Budget(meters)
    budget.bound("worker", 1000)
    holders = [Holder(300), Holder(200, mapped=100)]
    for one in holders:
        meters.add(one)
    assert (budget.used, budget.left) == (600, 400)
    for nbytes, expected in ((400, True), (401, False)):
        with budget.room(nbytes) as is_granted:
            assert is_granted is expected
    assert budget.refusal(401) == (
        "401 bytes do not fit: frames may have 1000 bytes in this process, and have 600"
    )
    del holders, one
    gc.collect()
    assert budget.left == 1000


def test_the_lowest_bound_of_several_holds_and_can_be_lifted(meters: Meters) -> None:
    budget = Budget(meters)
    budget.bound("one", 50)
    budget.bound("other", 80)
    assert budget.most == 50
    budget.bound("one", 100)
    assert budget.most == 80
    budget.bound("other", None)
    assert budget.most == 100


def test_more_than_there_may_be_leaves_nothing(meters: Meters) -> None:
    budget, holder = Budget(meters), Holder(10)
    meters.add(holder)
    budget.bound("worker", 4)
    assert budget.left == 0
    assert holder.usage().allocated == 10


def test_every_stage_of_this_process_counts() -> None:
    budget = Budget()
    before = budget.used
    tally = Tally("observe")
    tally.add(77)
    assert budget.used == before + 77
