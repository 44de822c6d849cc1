"""Levels of how full memory is."""

from __future__ import annotations

import itertools
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limadask.memory import LEVELS, Judge, Level, Pressure
from limadask.memory.pressure import ENTERED, HALF, LEFT, LOOKED_BACK, SOON

CAPACITY = 100.0
amounts = st.floats(0, CAPACITY)
looks = st.lists(st.tuples(st.floats(0.01, 5), amounts, st.booleans()), min_size=1, max_size=40)


def steady(used: float, judge: Judge | None = None, starved: bool = False) -> Level:
    """The level when as much has been in use for long."""
    judge = judge or Judge()
    return [judge.judge(100 * number, used, CAPACITY, starved).level for number in range(3)][-1]


@pytest.mark.parametrize(
    ("used", "level"), [(0, "ok"), (74, "ok"), (75, "high"), (89, "high"), (90, "critical")]
)
def test_what_does_not_fill_is_judged_by_how_full_it_is(used: float, level: Level) -> None:
    assert steady(used) == level


def test_whoever_waits_for_memory_makes_an_overrun() -> None:
    assert steady(100, starved=True) == "overrun"
    assert steady(10, starved=True) == "overrun"


def test_a_level_ends_only_when_clearly_less_is_in_use() -> None:
    judge = Judge()
    assert steady(76, judge) == "high"
    assert steady(51, judge) == "high"
    assert steady(49, judge) == "ok"
    assert steady(74, judge) == "ok"
    assert steady(91, judge) == "critical"
    assert steady(76, judge) == "critical"
    assert steady(74, judge) == "high"
    assert steady(100, judge, starved=True) == "overrun"
    assert steady(95, judge) == "overrun"
    assert steady(89, judge) == "critical"
    assert steady(0, judge) == "ok"


def test_the_time_left_follows_from_the_last_seconds() -> None:
    judge = Judge()
    found = [judge.judge(0.1 * number, number, CAPACITY) for number in range(61)]
    assert found[0].seconds_left == found[1].seconds_left == inf
    assert found[20].seconds_left == pytest.approx(8)
    assert found[60].seconds_left == pytest.approx(4)
    assert found[60].level == "ok"
    soon = judge.judge(6.1, 80, CAPACITY)
    assert soon.seconds_left < SOON
    assert soon.level == "high"


def test_what_fills_soon_is_high_before_it_is_nearly_full() -> None:
    judge = Judge()
    levels = [judge.judge(0.1 * number, 3.0 * number, CAPACITY).level for number in range(34)]
    first = 3.0 * levels.index("high") / CAPACITY
    assert HALF <= first < ENTERED["high"]


def test_where_nothing_is_no_room_is_left() -> None:
    assert Judge().judge(0, 0, 0).level == "critical"


@given(looks)
def test_levels_obey_their_thresholds(looks: list[tuple[float, float, bool]]) -> None:
    judge, now, before = Judge(), 0.0, Pressure()
    for passed, used, starved in looks:
        now += passed
        found, full = judge.judge(now, used, CAPACITY, starved), used / CAPACITY
        if starved:
            assert found == Pressure("overrun", 0.0)
        if full >= ENTERED["critical"]:
            assert found.level in ("critical", "overrun")
        elif full >= ENTERED["high"]:
            assert found.level != "ok"
        if full < HALF and not starved:
            assert found.level == "ok"
        if LEVELS.index(found.level) < LEVELS.index(before.level):  # it has ended
            assert full < LEFT[before.level]
        if not starved and LEVELS.index(found.level) > LEVELS.index(before.level):
            assert full >= HALF
        assert found.seconds_left >= 0
        before = found


@given(amounts, st.lists(st.floats(0, 0.12), min_size=1, max_size=50))
def test_a_little_to_and_fro_changes_nothing(used: float, offsets: list[float]) -> None:
    """Between two thresholds nothing flutters: at most one change, whatever comes."""
    judge, levels = Judge(), list[Level]()
    for number, offset in enumerate(offsets):
        now = 2 * LOOKED_BACK * number  # so that nothing fills
        levels.append(judge.judge(now, min(CAPACITY, used + offset * CAPACITY), CAPACITY).level)
    changes = sum(one != other for one, other in itertools.pairwise(levels))
    assert changes <= 1


@given(looks, st.sampled_from([2.0**-10, 2.0**30]))
def test_units_do_not_matter(looks: list[tuple[float, float, bool]], scale: float) -> None:
    one, other, now = Judge(), Judge(), 0.0
    for passed, used, starved in looks:
        now += passed
        found = one.judge(now, used, CAPACITY, starved)
        same = other.judge(now, used * scale, CAPACITY * scale, starved)
        assert found == same
