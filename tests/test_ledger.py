"""The ledger against a dictionary of frames."""

from __future__ import annotations

import itertools
import pickle
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from limadask.frames import Status
from limadask.ledger import Failures, FateTable, Ledger
from limadask.ledger.failures import KEPT
from limadask.ledger.fates import MOST
from limadask.ledger.stamps import LOOSE
from limadask.ledger.steps import Steps

ORDER = [Status.PENDING, Status.ABSENT, Status.VETOED, Status.PARTIAL, Status.PRESENT]
"""What is found outweighs what was presumed."""
Fate = tuple[Status, str]
fates = st.tuples(st.sampled_from(ORDER[1:]), st.sampled_from(["", "detector", "overrun"]))
ranges = st.tuples(st.integers(0, 40), st.integers(0, 12)).map(lambda r: (r[0], r[0] + r[1]))
marks = st.lists(st.tuples(ranges, fates), max_size=25)


def noted(model: dict[int, Fate], first: int, stop: int, fate: Fate) -> None:
    for number in range(first, stop):
        known = model.get(number, (Status.PENDING, ""))
        if ORDER.index(fate[0]) > ORDER.index(known[0]):
            model[number] = fate


def told(ledger: Ledger) -> dict[int, Fate]:
    return {
        number: (run.status, run.cause)
        for run in ledger.runs()
        for number in range(run.first, run.stop)
    }


def made(marked: list[Any]) -> tuple[Ledger, dict[int, Fate]]:
    ledger, model = Ledger(), {}
    for (first, stop), fate in marked:
        ledger.mark(first, stop, *fate)
        noted(model, first, stop, fate)
    return ledger, model


@given(marks)
@settings(max_examples=200)
def test_the_ledger_knows_of_each_frame_what_weighs_most(marked: list[Any]) -> None:
    ledger, model = made(marked)
    assert told(ledger) == model
    assert len(ledger) == max(model, default=-1) + 1
    runs = list(ledger.runs())
    for one, following in itertools.pairwise(runs):
        assert one.stop <= following.first
        alike = (one.status, one.cause) == (following.status, following.cause)
        assert not (alike and one.stop == following.first)  # neighbours of one fate are one run


@given(marks, st.sampled_from(["timeout", "stopped"]), st.integers(55, 70))
def test_finishing_calls_absent_what_is_pending(
    marked: list[Any], cause: str, nb_frames: int
) -> None:
    ledger, model = made(marked)
    ledger.finish(cause, nb_frames)
    noted(model, 0, nb_frames, (Status.ABSENT, cause))
    assert told(ledger) == model
    assert len(ledger) == nb_frames == sum(ledger.counts().values())


@given(marks)
def test_counts_ranges_and_the_last_frame_are_those_of_the_frames(marked: list[Any]) -> None:
    ledger, model = made(marked)
    for status in ORDER[1:]:
        numbers = sorted(number for number, fate in model.items() if fate[0] == status)
        assert ledger.counts()[status.name.lower()] == len(numbers)
        assert ledger.last(status) == max(numbers, default=-1)
        expected: list[list[Any]] = []
        for number in numbers:
            cause = model[number][1]
            if expected and expected[-1][1] == number - 1 and expected[-1][2] == cause:
                expected[-1][1] = number
            else:
                expected.append([number, number, cause])
        assert ledger.ranges(status) == [tuple(one) for one in expected]
    assert ledger.last(*ORDER[1:]) == max(model, default=-1)
    causes = Counter(cause for status, cause in model.values() if status == Status.ABSENT)
    assert ledger.absent() == causes


@given(st.lists(st.tuples(st.sets(st.integers(0, 40), min_size=1), st.data()), max_size=4))
def test_single_frames_are_marked_one_by_one(parts: list[Any]) -> None:
    ledger, model = Ledger(50), {}
    for numbers, data in parts:
        ordered = sorted(numbers)
        status = [data.draw(st.sampled_from(ORDER[1:])) for _ in ordered]
        causes = {number: f"task_error:{number % 3}" for number in ordered}
        ledger.mark_frames(np.array(ordered), np.array(status, np.uint8), causes.__getitem__)
        for number, fate in zip(ordered, status, strict=True):
            cause = "" if fate == Status.PRESENT else causes[number]
            noted(model, number, number + 1, (fate, cause))
    assert told(ledger) == model


@given(marks, st.lists(st.integers(0, 60), unique=True, max_size=5))
def test_a_ledger_travels_as_plain_data(marked: list[Any], stamped: list[int]) -> None:
    ledger, model = made(marked)
    numbers = np.array(sorted(stamped), np.int64)
    ledger.stamp(numbers, numbers * 10**9)
    twin = Ledger.load(ledger.dump())
    assert told(twin) == model
    assert twin.nb_frames == ledger.nb_frames
    assert twin.to_dataset().identical(ledger.to_dataset())
    twin.finish("timeout", 70)  # it goes on as the first would
    ledger.finish("timeout", 70)
    assert told(twin) == told(ledger)


@given(marks)
def test_the_dataset_has_one_entry_for_each_frame(marked: list[Any]) -> None:
    ledger, model = made(marked)
    ledger.finish("detector", 60)
    ledger.stamp(np.array([2, 5]), np.array([1_000, 2_000]), "one")
    table = ledger.to_dataset()
    assert table.sizes == {"frame": 60}
    assert table["frame"].values.tolist() == list(range(60))
    for number in range(60):
        fate = model.get(number, (Status.ABSENT, "detector"))
        row = table.isel(frame=number)
        assert (int(row["status"]), str(row["cause"].values)) == fate
        assert str(row["receiver"].values) == ("one" if number in (2, 5) else "")
    stamps = table["timestamp"].values
    assert stamps[[2, 5]].astype("i8").tolist() == [1_000, 2_000]
    assert np.isnat(np.delete(stamps, [2, 5])).all()
    meanings = table["status"].attrs["flag_meanings"].split()
    assert meanings[Status.PARTIAL] == "partial"


def test_what_is_found_outweighs_a_loss_that_was_presumed() -> None:
    ledger = Ledger(10)
    ledger.mark(0, 10, Status.ABSENT, "worker_lost")
    ledger.mark(2, 5, Status.PRESENT)
    ledger.mark(0, 10, Status.ABSENT, "timeout")
    ledger.mark(3, 4, Status.PARTIAL, "task_error:x")
    assert ledger.ranges(Status.ABSENT) == [(0, 1, "worker_lost"), (5, 9, "worker_lost")]
    assert ledger.ranges(Status.PRESENT) == [(2, 4, "")]


def test_receivers_that_take_turns_leave_one_record() -> None:
    ledger, step = Ledger(120), 3
    for first in (0, 60):
        for place, name in enumerate("abc"):
            numbers = np.arange(first + place, first + 60, step)
            ledger.mark_frames(numbers, np.full(20, Status.PRESENT, np.uint8), str)
            ledger.stamp(numbers, numbers * 1000, name)
    assert ledger.ranges(Status.PRESENT) == [(0, 119, "")]
    table = Ledger.load(ledger.dump()).to_dataset()
    assert "".join(table["receiver"].values) == "abc" * 40
    assert (table["timestamp"].values.astype("i8") == np.arange(120) * 1000).all()
    assert [steps for (_, steps, _), *_ in ledger.dump()["stamps"]] == [("|i1", b"\3")] * 3


def dumped(ledger: Ledger) -> int:
    """How many bytes the fates of all frames take on their way."""
    return len(pickle.dumps(ledger.dump()["fates"]))


def test_ten_million_frames_that_are_lost_by_turns_take_three_bytes_each() -> None:
    total = 10_000_000
    ledger = Ledger(total)
    ledger.mark(0, total, Status.ABSENT, "receiver_lost", step=2)
    for first in range(1, total, total // 100):
        numbers = np.arange(first, min(first + total // 100, total), 2)
        ledger.mark_frames(numbers, np.full(len(numbers), Status.PRESENT, np.uint8), str)
    assert ledger.counts() == {
        "present": total // 2, "partial": 0, "absent": total // 2, "vetoed": 0
    }  # fmt: skip
    assert ledger.last(Status.ABSENT) == total - 2
    assert dumped(ledger) < 3 * total
    twin = Ledger.load(ledger.dump())
    assert twin.counts() == ledger.counts()
    assert list(itertools.islice(twin.runs(), 3)) == list(itertools.islice(ledger.runs(), 3))


def test_a_plugin_with_a_cause_for_each_frame_does_not_break_the_ledger() -> None:
    table = FateTable()
    codes = [table.code(Status.ABSENT, str(number)) for number in range(MOST + 10)]
    assert max(codes) < MOST
    assert table.fates[codes[-1]] == (Status.ABSENT, "other")
    assert table.fates[table.code(Status.PARTIAL, "later")] == (Status.PARTIAL, "other")


def test_the_same_failure_of_neighbouring_frames_is_one() -> None:
    failures = Failures()
    for first, last in [(0, 4), (10, 14), (5, 9), (15, 15)]:
        failures.add("flat", first, last, "ValueError: no")
    failures.add("flat", 16, 16, "ValueError: yes")
    told = [(one.first, one.last, one.text) for one in failures]
    assert told[-1] == (16, 16, "ValueError: yes")
    covered = sorted(n for first, last, _ in told[:-1] for n in range(first, last + 1))
    assert covered == list(range(16))  # none twice, none left out
    assert Failures.load(failures.dump()).lines() == failures.lines()
    assert "'flat' raised for frames 16 to 16: ValueError: yes" in failures.lines()


def test_failures_in_words_are_bounded_and_the_rest_is_counted() -> None:
    failures = Failures()
    for number in range(KEPT + 5):
        failures.add("flat", number, number, f"frame {number}")
    assert len(failures) == KEPT
    assert Failures.load(failures.dump()).lines()[-1] == "… and 5 more"


@pytest.mark.parametrize("size", [1, 250])
def test_a_million_frames_in_order_take_one_record(size: int) -> None:
    total = 1_000_000 if size > 1 else 100_000
    ledger = Ledger(total)
    for first in range(0, total, size):
        ledger.mark(first, first + size, Status.PRESENT)
    assert len(list(ledger.runs())) == 1
    assert ledger.counts()["present"] == total
    assert dumped(ledger) < 300  # bytes


def test_blocks_that_come_out_of_order_leave_one_record_too() -> None:
    ledger = Ledger(100_000)
    order = np.random.default_rng(3).permutation(1000)
    for first in order * 100:
        ledger.mark(int(first), int(first) + 100, Status.PRESENT)
    assert [(run.first, run.stop) for run in ledger.runs()] == [(0, 100_000)]


def with_absent(absent: int, nb_frames: int | None) -> Ledger:
    ledger = Ledger(nb_frames)
    ledger.mark(0, absent, Status.ABSENT, "overrun")
    return ledger


@given(st.integers(1, 99), st.integers(1, 10_000))
@example(29, 100)  # 0.29 · 100 is a bit less than 29 as a float
def test_a_fraction_of_absent_frames_is_exact(percent: int, nb_frames: int) -> None:
    allowed = percent * nb_frames // 100
    assert with_absent(allowed, nb_frames).excess(percent / 100) == ""
    told = with_absent(allowed + 1, nb_frames).excess(percent / 100)
    assert told.startswith(f"{allowed + 1} frames are absent, the policy allows {allowed};")
    assert "'overrun'" in told


def test_frames_that_the_user_did_not_want_any_more_are_not_in_excess() -> None:
    ledger = with_absent(2, 100)
    ledger.finish("stopped")
    assert ledger.excess(2) == ""
    assert ledger.excess(1).startswith("2 frames are absent, the policy allows 1; the last are 0")


def test_a_number_of_absent_frames_is_a_bound_whatever_is_expected() -> None:
    assert with_absent(3, None).excess(3) == ""
    assert with_absent(4, None).excess(3)
    assert with_absent(1, 10).excess(0)
    assert with_absent(200, 200).excess(1.0) == ""
    assert with_absent(200, 200).excess(None) == ""
    assert with_absent(200, None).excess(0.5) == ""  # nobody knows of how many


EACH = 300
"""Bytes of what is around an array, and of some steps."""


def room(ledger: Ledger) -> int:
    """Bytes that what is known of all frames takes."""
    gathered = [one for *both, _ in ledger._stamps._gathered for one in both]
    counts = sum(one.counts.nbytes for one in gathered if one.counts is not None)
    loose = [one for some in ledger._stamps._loose.values() for both in some for one in both]
    arrays = [*(one.steps for one in gathered), *loose]
    return counts + sum(EACH + one.nbytes for one in arrays) + ledger._fates.size


@pytest.mark.parametrize(("size", "receivers", "most"), [(16, 1, 5.4), (2000, 1, 5.4), (1, 8, 9)])
def test_frames_of_blocks_that_come_back_out_of_order_take_little(
    size: int, receivers: int, most: float
) -> None:
    ledger, count, draw = Ledger(), 96_000, np.random.default_rng(1)
    times = 1_700_000_000 * 10**9 + np.arange(count) * 10**5 + draw.integers(0, 10**4, count)
    firsts = np.arange(0, count, size).reshape(-1, 4)
    for first in draw.permuted(firsts, axis=1).ravel().tolist():
        numbers = np.arange(first, first + size)
        ledger.mark_frames(numbers, np.full(size, Status.PRESENT, np.uint8), str)
        ledger.stamp(numbers, times[numbers], f"r{first // size % receivers}")
    ledger.finish("detector")
    assert room(ledger) < most * count
    for one in (ledger, Ledger.load(ledger.dump())):
        assert (one.to_dataset()["timestamp"].values.astype("i8") == times).all()


def test_more_fates_than_a_byte_can_tell_apart_are_kept() -> None:
    ledger = Ledger()
    for number in range(300):
        ledger.mark(number, number + 1, Status.ABSENT, f"cause {number}")
    ledger.mark(300, 310, Status.PRESENT)
    assert [cause for _, _, cause in ledger.ranges(Status.ABSENT)] == [
        f"cause {number}" for number in range(300)
    ]
    assert told(Ledger.load(ledger.dump())) == told(ledger)


@given(
    st.one_of(
        st.lists(st.integers(-(1 << 63), (1 << 63) - 1), min_size=1, max_size=40),
        st.lists(st.sampled_from([1, 2, 300, 1 << 40]), min_size=1, max_size=60).map(
            lambda steps: np.cumsum(steps).tolist()
        ),
        st.tuples(st.integers(-5, 1 << 62), st.integers(-3, 9), st.integers(1, 60)).map(
            lambda told: [told[0] + told[1] * place for place in range(told[2])]
        ),
    )
)
@settings(max_examples=300)
def test_steps_give_back_what_they_were_made_of(numbers: list[int]) -> None:
    whole = np.array(numbers, np.int64)
    steps = Steps.of(whole)
    for one in (steps, Steps.load(steps.dump())):
        assert len(one) == len(whole)
        assert one.all().tolist() == numbers


def test_many_stamps_take_little_more_room_than_their_times() -> None:
    ledger, count = Ledger(6000), 6000
    for first in range(0, count, 2):  # two receivers, by turns, blocks of one frame
        for receiver in (0, 1):
            numbers = np.array([first + receiver])
            ledger.stamp(numbers, numbers * 10 + 7, f"r{receiver}")
    ledger.mark(0, count, Status.PRESENT)
    assert len(ledger._stamps._gathered) <= 2 * count / LOOSE
    assert all(len(loose) < LOOSE for loose in ledger._stamps._loose.values())
    ledger.finish("detector")
    assert not ledger._stamps._loose
    assert room(ledger) < 4 * count  # evenly spaced times take nothing
    for one in (ledger, Ledger.load(ledger.dump())):
        told = one.to_dataset()
        stamps = told["timestamp"].values.astype("datetime64[ns]").view(np.int64)
        assert stamps.tolist() == [10 * number + 7 for number in range(count)]
        assert told["receiver"].values.tolist() == ["r0", "r1"] * (count // 2)


def a_dump() -> dict[str, Any]:
    """A dump with a bit of everything, runs as lengths among it."""
    ledger = Ledger(1000)
    ledger.mark(0, 900, Status.PRESENT)
    ledger.mark(900, 1000, Status.ABSENT, "detector")
    ledger.stamp(np.arange(5), np.arange(5) * 10, "a")
    ledger.failures.add("node", 3, 4, "no")
    return ledger.dump()


MALFORMED: list[tuple[str, Any]] = [
    ("nb_frames", ...), ("fates", ...), ("fates", None), ("fates.fates", []),
    ("fates.fates", [(77, "")]), ("fates.fates", [(1,)]), ("fates.codes", None),
    ("fates.codes", b"\1"), ("fates.codes", b"\xff" * 4), ("fates.lengths", b"abc"),
    ("fates.lengths", bytes(24)), ("fates.lengths", b"\xff" * 16), ("stamps", 3),
    ("stamps", [(b"123", b"", "a")]), ("stamps", [b"1"]), ("failures", []), ("failures", None),
    ("stamps", [((0, ("|i1", b"1"), None), (0, ("|i1", b"12"), None), "a")]),
    ("stamps", [((0, ("<f4", bytes(4)), None), (0, ("|i1", b"1"), None), "a")]),
    ("stamps", [((0, ("|i1", b"1"), ("|i1", b"12")), (0, ("|i1", b"12"), None), "a")]),
    ("stamps", [((0, ("|i1", b"1"), ("|i1", b"\0")), (0, ("|i1", b""), None), "a")]),
    ("stamps", [((1 << 70, ("|i1", b""), None), (0, ("|i1", b""), None), "a")]),
    ("failures", ([("node", 3)], 0)),
]  # fmt: skip
"""What is changed in a dump, and into what; left out where it is an ellipsis."""


@pytest.mark.parametrize(("path", "value"), MALFORMED)
def test_what_is_no_dump_is_refused(path: str, value: Any) -> None:
    data = a_dump()
    assert len(Ledger.load(data)) == 1000
    *above, last = path.split(".")
    inner = data[above[0]] if above else data
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    with pytest.raises(ValueError, match="no dump of a ledger"):
        Ledger.load(data)
