"""Events: plain values that survive the way to a client."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import FrozenInstanceError, dataclass, fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

import limadask as ld
from limadask.events import Event, from_message

FIELDS: dict[type[Event], list[str]] = {
    ld.StateChanged: ["side", "state"],
    ld.FramesDone: ["count", "last"],
    ld.FramesSaved: ["first", "last"],
    ld.FramesAbsent: ["first", "last", "cause", "step"],
    ld.FramesPartial: ["ranges", "cause"],
    ld.FramesVetoed: ["ranges", "cause"],
    ld.TaskFailed: ["node", "first", "last", "text"],
    ld.PressureChanged: ["level", "seconds_left", "worker"],
    ld.FileClosed: ["node", "path"],
}
"""All events that users wait for, and what each tells besides its acquisition and time."""
times = st.floats(allow_nan=False, allow_infinity=False)
seconds = st.floats(0, allow_nan=False)  # inf where nothing fills
OWN = {ld.PressureChanged: {"seconds_left": seconds}}
events = st.one_of(
    [st.builds(kind, uuid=st.uuids().map(str), time=times, **OWN.get(kind, {})) for kind in FIELDS]
)


@pytest.mark.parametrize("kind", FIELDS, ids=lambda kind: kind.__name__)
def test_every_event_says_which_acquisition_and_when(kind: type[Event]) -> None:
    assert [field.name for field in fields(kind)] == ["uuid", "time", *FIELDS[kind]]
    assert getattr(ld, kind.__name__) is kind


def test_all_events_can_be_read_from_messages() -> None:
    assert Event.kinds == {kind.__name__: kind for kind in FIELDS}


@given(events)
def test_an_event_comes_out_of_its_message_as_it_was(event: Event) -> None:
    message = event.to_message()
    assert message == {"kind": type(event).__name__, **dataclasses.asdict(event)}
    again = from_message(json.loads(json.dumps(message)))  # plain data, nothing else
    assert again == event
    assert type(again) is type(event)


def test_reading_a_message_leaves_it_as_it_was() -> None:
    message = ld.FramesDone("u", 1.5, 10, 9).to_message()
    before = dict(message)
    assert from_message(message) == from_message(message)
    assert message == before


@given(events, events)
def test_events_are_values(one: Event, other: Event) -> None:
    same = type(one) is type(other) and one.to_message() == other.to_message()
    assert (one == other) == same
    assert hash(one) == hash(dataclasses.replace(one))
    for name in ("uuid", "time", FIELDS[type(one)][0]):
        with pytest.raises(FrozenInstanceError):
            setattr(one, name, None)


def test_a_message_that_is_none_is_refused() -> None:
    good = ld.FramesDone("u", 1.5, 10, 9).to_message()
    for message in ({**good, "kind": "Surprise"}, {"uuid": "u", "time": 0.0}):
        with pytest.raises(KeyError):
            from_message(message)
    for message in ({**good, "more": 1}, {k: v for k, v in good.items() if k != "last"}):
        with pytest.raises(TypeError):
            from_message(message)


def test_a_new_kind_of_event_needs_an_entry() -> None:
    @dataclass(frozen=True, slots=True)
    class Unheard(Event):
        """An event that nobody told the table of."""

    with pytest.raises(KeyError, match="Unheard"):
        from_message(Unheard("u", 0.0).to_message())
