"""Series stay bounded, whatever comes; nothing is lost without a word."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limadask.errors import ConfigError, LimadaskError
from limadask.timeseries import Outbox, Recorder, TimeSeries, checked_value
from limadask.timeseries.outbox import MOST, REPEATED
from limadask.timeseries.recorder import NOTED
from limadask.timeseries.series import GAPS, TEXTS


def filled(count: int, most: int) -> TimeSeries:
    series = TimeSeries("K", most)
    for number in range(count):
        series.add(number * 10, float(number))
    return series


@given(count=st.integers(1, 3000), half=st.integers(1, 20))
def test_numbers_are_thinned_evenly_and_the_last_is_kept(count: int, half: int) -> None:
    series = filled(count, 2 * half)
    values = series.values.tolist()
    assert len(values) <= 2 * half + 1
    assert (values[0], values[-1]) == (0, count - 1)
    steps = {after - before for before, after in pairwise(values[:-1])}
    assert steps <= {float(series.step)}
    assert series.times.tolist() == [10 * value for value in values]
    assert series.count == count
    if count <= 2 * half:
        assert len(values) == count
    else:
        assert len(values) > half


def test_a_series_survives_its_dump() -> None:
    series = filled(1000, 16)
    series.miss(20_000, "it hangs")
    again = TimeSeries.load(series.dump())
    assert again.to_dataset().identical(series.to_dataset())
    assert again.dump() == {**series.dump(), "most": 16}


def test_a_missing_value_has_a_reason_told_once_in_a_row() -> None:
    series = TimeSeries("K")
    for time in range(3):
        series.miss(time, "no answer")
    series.add(3, 1.5)
    series.miss(4, "no answer")
    assert np.isnan(series.values).tolist() == [True, True, True, False, True]
    assert series.gaps == [(0, "no answer"), (4, "no answer")]
    told = series.to_dataset()
    assert told.attrs["gaps"][1] == "1970-01-01T00:00:00.000000004Z: no answer"
    assert told["value"].attrs["units"] == "K"
    for number in range(2 * GAPS):
        series.miss(10 + number, str(number))
    assert len(series.gaps) == GAPS
    assert series.more_gaps == GAPS + 2


def test_texts_are_kept_or_refused_never_thinned() -> None:
    series = TimeSeries()
    series.miss(0, "not yet")
    for number in range(TEXTS - 1):
        series.add(number + 1, f"text {number}")
    with pytest.raises(LimadaskError, match="room"):
        series.add(TEXTS, "one too many")
    series.miss(TEXTS + 1, "no value")
    assert series.lost == 1
    assert series.values.tolist() == ["", *(f"text {number}" for number in range(TEXTS - 1))]
    assert TimeSeries.load(series.dump()).to_dataset().identical(series.to_dataset())


@pytest.mark.parametrize(("first", "second"), [(1.0, "one"), ("one", 1.0)])
def test_numbers_and_texts_do_not_mix(first: Any, second: Any) -> None:
    series = TimeSeries()
    series.add(0, first)
    with pytest.raises(ConfigError, match="this series holds"):
        series.add(1, second)
    assert series.values.tolist() == [first]


@pytest.mark.parametrize("value", [None, [1.0], np.zeros(2), 1j, "x" * 1001, b"x", 10**400])
def test_what_is_no_number_or_text_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match="real number"):
        checked_value(value, "x")


def test_numbers_of_any_kind_are_floats() -> None:
    for value in (True, 1, np.float32(1), np.int8(1), np.array(1.0)):
        assert checked_value(value, "x") == 1.0
    assert math.isnan(float(checked_value(math.nan, "x")))


def test_what_is_sent_twice_is_taken_once_in_whatever_order_it_comes() -> None:
    outbox, recorder = Outbox(), Recorder()
    recorder.declare("x", "K")
    early = None
    for number in range(REPEATED + 100):
        outbox.put("x", number, float(number))
        if number == REPEATED:
            recorder.take(outbox.take())
        if number == REPEATED + 50:
            early = outbox.take()
    recorder.take(outbox.close())
    assert early is not None
    recorder.take(early)  # overtaken by the last one
    outbox.put("x", 10_000, 1.0)  # of a call that hung: too late
    recorder.take(outbox.close())
    series = TimeSeries.load(recorder.dump("x")["x"])
    assert series.values.tolist() == list(map(float, range(REPEATED + 100)))


def test_what_comes_too_fast_is_counted() -> None:
    outbox, recorder = Outbox(), Recorder()
    series = recorder.declare("x")
    for number in range(MOST + 5):
        outbox.put("x", number, 1.0)
    recorder.take(outbox.take())
    assert series.gaps[0][1] == "5 values came too fast"
    outbox.put("x", MOST + 5, 2.0)
    recorder.take(outbox.take())
    assert series.values[-1] == 2.0


def test_a_series_has_its_units_before_its_first_value() -> None:
    recorder = Recorder()
    recorder.declare("temperature", "K")
    made = TimeSeries.load(recorder.dump("temperature")["temperature"]).to_dataset()
    assert made.sizes["time"] == 0
    assert made["value"].attrs["units"] == "K"
    assert recorder.dump() == recorder.dump("pressure") == {}


def test_a_source_that_changes_its_kind_leaves_a_gap() -> None:
    outbox, recorder = Outbox(), Recorder()
    series = recorder.declare("x")
    outbox.put("x", 0, 1.0)
    outbox.put("x", 1, "broken")
    outbox.put("unknown", 2, 1.0)
    recorder.take(outbox.take())
    assert "this series holds numbers" in series.gaps[0][1]
    assert recorder.names == ["x"]


def test_notes_are_bounded_and_keep_to_their_series() -> None:
    recorder = Recorder()
    recorder.declare("source", "K")
    with pytest.raises(ConfigError, match="a source of its own"):
        recorder.note("source", 0, 1.0, "K")
    for number in range(NOTED):
        recorder.note(f"note_{number}", number, float(number), "mm")
    with pytest.raises(LimadaskError, match="256"):
        recorder.note("another", 0, 1.0, "")
    with pytest.raises(ConfigError, match="other units"):
        recorder.note("note_1", 0, 1.0, "m")
    with pytest.raises(ConfigError, match="holds numbers"):
        recorder.note("note_1", 0, "text", "")
    recorder.note("note_1", 0, 2.0, "")  # by another client, before
    assert TimeSeries.load(recorder.dump()["note_1"]).to_dataset()["value"].values.tolist() == [
        2.0, 1.0,
    ]  # fmt: skip
