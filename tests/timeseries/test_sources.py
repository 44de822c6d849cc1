"""What may be a source of values, and what becomes of functions that raise or hang."""

from __future__ import annotations

import asyncio
import itertools
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import limadask as ld
from limadask.engine.messages import check_polled
from limadask.timeseries import Outbox, Polled, Polls, Recorder, TimeSeries, sorted_out, units_of
from limadask.timeseries.polling import LAST

BOUND = 20.0


def polled(function: Callable[[], Any], ended: threading.Event, **fields: Any) -> TimeSeries:
    """Poll a function until something is set, and return what was recorded."""
    recorder, polls = Recorder(), Polls()
    series = recorder.declare("x")
    polls.add({"x": Polled(function, **fields)})
    assert ended.wait(BOUND)
    recorder.take(polls.take())
    recorder.take(polls.end())
    return series


def test_a_function_is_asked_again_and_again_and_a_last_time() -> None:
    numbers, ended = itertools.count(), threading.Event()

    def count() -> int:
        number = next(numbers)
        if number == 4:
            ended.set()
        return number

    series = polled(count, ended, every=0.05)
    values = series.values.tolist()
    assert values == list(map(float, range(len(values))))
    assert len(values) >= 6
    assert (series.times[1:5] - series.times[:4] > 0.02e9).all()


def test_one_that_raises_is_asked_again() -> None:
    numbers, ended = itertools.count(), threading.Event()

    def odd() -> float:
        number = next(numbers)
        if number == 3:
            ended.set()
        if number % 2:
            raise OSError(f"no answer {number}")
        return number

    series = polled(odd, ended, every=0.05)
    assert series.values[::2].tolist() == [float(n) for n in range(0, series.count, 2)]
    assert [reason for _, reason in series.gaps[:2]] == [
        "OSError: no answer 1", "OSError: no answer 3",
    ]  # fmt: skip


def test_one_that_returns_something_else_is_told() -> None:
    answers, ended = iter([None, [1], 2.0]), threading.Event()

    def strange() -> Any:
        answer = next(answers)
        if answer == 2.0:
            ended.set()
        return answer

    series = polled(strange, ended, every=0.05)
    reasons = [reason for _, reason in series.gaps]
    assert reasons[0] == "no value"
    assert "this cannot be recorded" in reasons[1]
    assert series.values[2] == 2.0
    assert reasons[2].startswith("StopIteration")


def test_a_state_is_recorded_when_it_changes() -> None:
    states = iter(["open", "open", "closed", "closed", "open", *["open"] * 99])
    ended, numbers = threading.Event(), itertools.count()

    def state() -> str:
        if next(numbers) == 6:
            ended.set()
        return next(states)

    assert polled(state, ended, every=0.05).values.tolist() == ["open", "closed", "open"]


def test_one_that_hangs_is_told_and_left() -> None:
    called, release = threading.Event(), threading.Event()

    def hang() -> float:
        called.set()
        release.wait()
        return 1.0

    began = time.monotonic()
    series = polled(hang, called)
    assert time.monotonic() - began < BOUND / 2
    assert series.gaps[0][1].startswith("no answer after")
    assert series.gaps[0][1].endswith("when the run ended")
    release.set()


def test_all_that_hang_are_waited_for_together() -> None:
    release, polls = threading.Event(), Polls()
    polls.add({f"x{number}": Polled(release.wait) for number in range(20)})
    began = time.monotonic()
    parcel = polls.end()
    assert time.monotonic() - began < 20 * LAST
    assert len({name for name, *_ in parcel["samples"]}) == 20
    release.set()


def test_sources_are_told_from_data() -> None:
    async def stream() -> AsyncIterator[int]:
        yield 1

    values, made = queue.Queue[float](), stream()
    plain, functions, streams = sorted_out(
        {"sample": "LaB6", "a": lambda: 1, "b": ld.Polled(time.time, every=2, units="s"),
         "c": values, "d": made, "e": ld.Streamed(values, units="mm"), "n": {"deep": [1]}}
    )  # fmt: skip
    assert plain == {"sample": "LaB6", "n": {"deep": [1]}}
    assert units_of(functions, streams) == {"a": "", "b": "s", "c": "", "d": "", "e": "mm"}
    assert (functions["a"].every, functions["b"].every) == (1.0, 2)
    asyncio.run(made.aclose())  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"a": {"b": time.time}}, "inside other data"),
        ({"a": [1, time.time]}, "inside other data"),
        ({"a b": time.time}, "under this name"),
        ({"detector/a": time.time}, "under this name"),
        ({f"a{number}": time.time for number in range(65)}, "at most 64"),
    ],
)
def test_what_can_be_no_source_is_refused(metadata: dict[str, Any], words: str) -> None:
    with pytest.raises(ld.ConfigError, match=words) as caught:
        sorted_out(metadata)
    assert caught.value.node == "metadata"


@pytest.mark.parametrize(
    "make",
    [
        lambda: ld.Polled(3),  # type: ignore[arg-type]
        lambda: ld.Polled(time.time, every=0.001),
        lambda: ld.Polled(time.time, every=float("nan")),
        lambda: ld.Polled(time.time, units=None),  # type: ignore[arg-type]
        lambda: ld.Streamed([1, 2]),  # type: ignore[arg-type]
    ],
    ids=["no function", "too often", "no time", "no units", "a list"],
)
def test_what_a_source_cannot_be_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ld.ConfigError) as caught:
        make()
    assert caught.value.node == "metadata"
    assert caught.value.allowed


def test_a_function_that_cannot_be_sent_is_refused() -> None:
    lock = threading.Lock()
    with pytest.raises(ld.ConfigError, match="cannot be sent to a worker") as caught:
        check_polled({"x": Polled(lambda: lock.locked())})
    assert caught.value.field == "x"


def test_an_outbox_that_is_closed_takes_nothing_more() -> None:
    outbox = Outbox()
    outbox.close()
    outbox.put("x", 0, 1.0)
    assert outbox.close()["samples"] == []
