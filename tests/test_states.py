"""The two state machines of an acquisition."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statemachine import State

from limadask.errors import StateError
from limadask.states import DetectorSide, ProcessingSide, Side, table

Table = dict[str, dict[str, str]]
"""By state: what may happen, and the state it leads to."""
DETECTOR: Table = {
    "idle": {"configure": "preparing", "abort": "aborted"},
    "preparing": {"armed": "prepared", "abort": "aborting", "fail": "failing"},
    "prepared": {"start": "acquiring", "abort": "aborting", "fail": "failing"},
    "acquiring": {
        "trigger": "acquiring",
        "pause": "paused",
        "stop": "stopping",
        "complete": "acquired",
        "abort": "aborting",
        "fail": "failing",
    },
    "paused": {
        "resume": "acquiring",
        "stop": "stopping",
        "complete": "acquired",
        "abort": "aborting",
        "fail": "failing",
    },
    "stopping": {
        "stop": "stopping",
        "complete": "acquired",
        "abort": "aborting",
        "fail": "failing",
    },
    "aborting": {"halted": "aborted"},
    "failing": {"halted": "failed"},
    "acquired": {},
    "aborted": {},
    "failed": {},
}
PROCESSING: Table = {
    "idle": {"configure": "preparing", "abort": "aborted"},
    "preparing": {"opened": "ready", "abort": "aborting", "fail": "failing"},
    "ready": {
        "start": "processing",
        "defer": "deferred",
        "abort": "aborting",
        "fail": "failing",
    },
    "deferred": {"process": "processing", "abort": "aborting", "fail": "failing"},
    "processing": {"finish": "closing", "abort": "aborting", "fail": "failing"},
    "closing": {"closed": "processed", "spoiled": "failed"},
    "aborting": {"closed": "aborted", "spoiled": "failed"},
    "failing": {"closed": "failed", "spoiled": "failed"},
    "processed": {},
    "aborted": {},
    "failed": {},
}
SIDES: dict[type[Side], Table] = {DetectorSide: DETECTOR, ProcessingSide: PROCESSING}
CALLS = {
    "configure": "prepare",
    "start": "start",
    "trigger": "trigger",
    "pause": "pause",
    "resume": "resume",
    "stop": "stop",
    "abort": "abort",
}
"""What a user calls, by the event it is."""
EVENTS = {
    side: sorted({event for events in known.values() for event in events} | set(CALLS))
    for side, known in SIDES.items()
}
PLACES = [(side, state) for side, known in SIDES.items() for state in known]


class Diary:
    """A listener that notes which states are entered."""

    def __init__(self) -> None:
        self.entered: list[str] = []

    def on_enter_state(self, state: State) -> None:
        self.entered.append(state.id)


def way(known: Table, state: str) -> list[str]:
    """The events that lead from idle to a state."""
    ways: dict[str, list[str]] = {"idle": []}
    todo = ["idle"]
    while todo:
        here = todo.pop(0)
        for event, there in known[here].items():
            if there not in ways:
                ways[there] = [*ways[here], event]
                todo.append(there)
    return ways[state]


def placed(side: type[Side], state: str, *listeners: object) -> Side:
    """A machine that is in a state."""
    machine = side(*listeners)
    for event in way(SIDES[side], state):
        machine.happen(event)
    assert machine.current == state
    return machine


def cases(allowed: bool) -> list[tuple[type[Side], str, str]]:
    return [
        (side, state, event)
        for side, state in PLACES
        for event in EVENTS[side]
        if (event in SIDES[side][state]) == allowed
    ]


@pytest.mark.parametrize("side", SIDES)
def test_the_table_is_the_one_that_was_agreed(side: type[Side]) -> None:
    rows = [
        (state, event, there)
        for state, events in SIDES[side].items()
        for event, there in events.items()
    ]
    assert sorted(table(side)) == sorted(rows)


@pytest.mark.parametrize(("side", "state", "event"), cases(allowed=True))
def test_what_the_table_has_leads_where_it_says(side: type[Side], state: str, event: str) -> None:
    diary = Diary()
    machine = placed(side, state, diary)
    before = len(diary.entered)
    assert machine.allows(event)
    machine.happen(event)
    there = SIDES[side][state][event]
    assert machine.current == there
    # what is done hangs on entering a state: a second stop or a trigger must not do it again
    assert diary.entered[before:] == ([there] if there != state else [])


@pytest.mark.parametrize(("side", "state", "event"), cases(allowed=False))
def test_what_the_table_has_not_is_refused(side: type[Side], state: str, event: str) -> None:
    diary = Diary()
    machine = placed(side, state, diary)
    before = len(diary.entered)
    assert not machine.allows(event)
    with pytest.raises(StateError) as caught:
        machine.happen(event)
    assert machine.current == state
    assert diary.entered[before:] == []
    said, allowed = str(caught.value).split("; allowed: ")
    calls = sorted(CALLS[name] for name in SIDES[side][state] if name in CALLS)
    assert said == (
        f"{CALLS.get(event, event)!r} is not allowed while the {side.title} side is {state!r}"
    )
    assert allowed == (", ".join(calls) or "nothing more: prepare a new acquisition")


@pytest.mark.parametrize("side", SIDES)
def test_an_event_that_there_is_not_is_refused(side: type[Side]) -> None:
    machine = side()
    assert not machine.allows("explode")
    with pytest.raises(StateError, match=r"'explode' is not allowed while .* 'idle'; allowed: abo"):
        machine.happen("explode")
    assert machine.current == "idle"


@pytest.mark.parametrize(("side", "state"), PLACES)
def test_a_side_has_ended_where_nothing_more_can_happen(side: type[Side], state: str) -> None:
    machine = placed(side, state)
    assert machine.ended == (not SIDES[side][state])
    assert side().ended is False


@pytest.mark.parametrize(("side", "state"), PLACES)
def test_every_state_can_end(side: type[Side], state: str) -> None:
    known, reached, todo = SIDES[side], set[str](), {state}
    while todo:
        reached |= todo
        todo = {there for one in todo for there in known[one].values()} - reached
    assert any(not known[one] for one in reached)


moves = st.sampled_from([(side, event) for side, events in EVENTS.items() for event in events])


@given(st.lists(moves, max_size=30))
def test_the_sides_know_nothing_of_each_other(moves: list[tuple[type[Side], str]]) -> None:
    machines = {side: side() for side in SIDES}
    expected = dict.fromkeys(SIDES, "idle")
    for side, event in moves:
        there = SIDES[side][expected[side]].get(event)
        if there is None:
            with pytest.raises(StateError, match=f"the {side.title} side"):
                machines[side].happen(event)
        else:
            machines[side].happen(event)
            expected[side] = there
        assert {one: machine.current for one, machine in machines.items()} == expected


def test_either_side_may_end_first() -> None:
    detector, processing = placed(DetectorSide, "acquired"), placed(ProcessingSide, "processing")
    assert (detector.ended, processing.ended) == (True, False)
    processing.happen("finish")
    detector, processing = placed(DetectorSide, "acquiring"), placed(ProcessingSide, "failed")
    assert (detector.ended, processing.ended) == (False, True)
    detector.happen("complete")


def test_all_listeners_are_told() -> None:
    diaries = Diary(), Diary()
    placed(ProcessingSide, "processed", *diaries)
    expected = ["idle", "preparing", "ready", "processing", "closing", "processed"]
    assert [diary.entered for diary in diaries] == [expected, expected]
