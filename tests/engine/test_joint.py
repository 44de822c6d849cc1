"""The ledger of frames that come in parts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limadask.engine.joint import JointLedger
from limadask.engine.joint_account import JointAccount
from limadask.frames import Status

COUNT = 20
FATES = (Status.PRESENT, Status.PARTIAL, Status.ABSENT)
ranges = st.tuples(st.integers(0, COUNT - 1), st.integers(1, 8)).map(
    lambda one: (one[0], min(COUNT, one[0] + one[1]))
)
marks = st.tuples(st.integers(0, 2), ranges, st.sampled_from(FATES))


def expected(fates: list[Status]) -> Status:
    """Return the fate of a frame by those of its parts, in other words than the ledger's."""
    if any(one == Status.PENDING for one in fates):
        return Status.PENDING
    if all(one == Status.PRESENT for one in fates):
        return Status.PRESENT
    return Status.ABSENT if all(one == Status.ABSENT for one in fates) else Status.PARTIAL


def status_of(ledger: JointLedger) -> list[Status]:
    return [run.status for run in ledger.between(0, COUNT) for _ in range(run.first, run.stop)]


@given(st.lists(marks, max_size=25), st.none() | st.integers(0, 2))
def test_a_frame_is_what_its_parts_are(todo: list[Any], lost: int | None) -> None:
    ledger = JointLedger(3)
    ledger.nb_frames = COUNT
    model = {(part, number): Status.PENDING for part in range(3) for number in range(COUNT)}
    order = [Status.PENDING, Status.ABSENT, Status.PARTIAL, Status.PRESENT]  # as found, never less
    told: dict[int, Status] = {}
    for part, (first, stop), fate in todo:
        ledger.parts[part].mark(first, stop, fate, f"{part}")
        for number in range(first, stop):
            model[part, number] = max(model[part, number], fate, key=order.index)
        wanted = [expected([model[part, one] for part in range(3)]) for one in range(COUNT)]
        assert status_of(ledger) == wanted
        for run in ledger.take_news():
            for number in range(run.first, run.stop):
                assert number not in told  # each frame is told once
                told[number] = run.status
        assert sorted(told) == [one for one in range(COUNT) if wanted[one] != Status.PENDING]
    assert ledger.nb_there == sum(one != Status.ABSENT for one in told.values())
    if lost is not None:
        ledger.parts[lost].lose("receiver_lost", COUNT)
        for number in range(COUNT):
            if model[lost, number] == Status.PENDING:
                model[lost, number] = Status.ABSENT
        wanted = [expected([model[part, one] for part in range(3)]) for one in range(COUNT)]
        assert status_of(ledger) == wanted
    ledger.finish("detector")
    final = [
        expected([model[part, one] or Status.ABSENT for part in range(3)]) for one in range(COUNT)
    ]
    assert status_of(ledger) == final
    assert sum(ledger.counts().values()) == COUNT


def test_the_cause_is_that_of_the_first_part_that_is_not_there() -> None:
    ledger = JointLedger(3)
    ledger.nb_frames = 4
    ledger.parts[0].mark(0, 4, Status.PRESENT)
    ledger.parts[2].mark(0, 2, Status.ABSENT, "packets_lost")
    ledger.parts[1].lose("receiver_lost", 4)
    assert ledger.ranges(Status.PARTIAL) == [(0, 1, "receiver_lost")]
    ledger.finish("detector")
    assert ledger.ranges(Status.PARTIAL) == [(0, 3, "receiver_lost")]


def test_frames_that_lack_a_whole_part_are_counted_until_it_is_found() -> None:
    ledger = JointLedger(2)
    ledger.nb_frames = 8
    ledger.parts[0].mark(0, 8, Status.PRESENT)
    ledger.parts[1].mark(0, 3, Status.ABSENT, "detector")
    ledger.parts[1].mark(3, 5, Status.PARTIAL, "packets_lost")
    assert ledger.nb_lacking == 3
    ledger.parts[1].mark(2, 3, Status.PRESENT)  # it was in a file
    assert ledger.nb_lacking == 2
    ledger.finish("stopped")  # the user did not want them any more
    assert ledger.nb_lacking == 2
    assert "2 lack a module, the policy allows 1" in ledger.excess(1, lacking=ledger.nb_lacking)
    assert ledger.excess(2, lacking=ledger.nb_lacking) == ""


def test_frames_that_lack_all_parts_lack_no_module() -> None:
    ledger = JointLedger(2)
    for part in ledger.parts:
        part.mark(0, 4, Status.ABSENT, "detector")
    assert (ledger.nb_lacking, ledger.counts()["absent"]) == (0, 4)


def test_each_frame_is_stamped_once_by_its_first_part() -> None:
    ledger = JointLedger(2)
    numbers = np.arange(6)
    ledger.stamp(numbers[2:4], numbers[2:4] + 100, "a, b")
    ledger.stamp(numbers, numbers + 200, "a, b")
    ledger.stamp(numbers, numbers + 300, "a, b")
    for part in ledger.parts:
        part.mark(0, 6, Status.PRESENT)
    stamps = ledger.to_dataset()["timestamp"].values.astype("datetime64[ns]").view(np.int64)
    assert stamps.tolist() == [200, 201, 102, 103, 204, 205]
    assert sum(len(times) for _, times, _ in ledger._stamps) == 6


def receipt(numbers: list[int], missing: list[tuple[int, str]]) -> dict[str, Any]:
    """Return the receipt of a part's block."""
    own = np.array(numbers, np.int64)
    return {
        "numbers": own.tobytes(), "timestamps": (own + 1000).tobytes(), "odd": [],
        "missing": missing, "products": {}, "notes": {}, "failures": [], "stages": (),
        "times": b"",
    }  # fmt: skip


def test_frames_are_told_safe_when_the_last_of_their_parts_is_known() -> None:
    told: list[Any] = []
    account = JointAccount(lambda kind, **fields: told.append((kind.__name__, fields)), 2)
    account.tells_saved = True
    account.ledger.nb_frames = 10
    account.take(receipt([0, 1, 2, 3], []), "a, b", 0)
    assert account.take_saved() == []
    assert account.done == 0
    account.take(receipt([0, 1, 3], [(2, "packets_lost")]), "a, b", 1)
    assert sorted(account.take_saved()) == [(0, 1), (2, 2), (3, 3)]
    assert account.done == 4
    account.take(receipt([4, 5], []), "a, b", 0)
    account.mark_absent(5, 7, 1, "detector", 1)  # told by a receiver between two blocks
    assert account.take_saved() == [(5, 5)]
    account.mark_absent(6, 7, 1, "detector", 0)
    assert [(name, one["cause"]) for name, one in told] == [
        ("FramesPartial", "packets_lost"), ("FramesPartial", "detector"),
        ("FramesAbsent", "detector"),
    ]  # fmt: skip
    account.lose_part(1, 6)
    assert account.take_saved() == [(4, 4)]
    assert account.ledger.counts() == {"present": 3, "partial": 3, "absent": 1, "vetoed": 0}
    account.finish(7, "stopped", "stopped")
    absent = [(one["first"], one["last"]) for name, one in told if name == "FramesAbsent"]
    assert absent == [(6, 6), (7, 9)]


@pytest.mark.parametrize("fate", [Status.PARTIAL, Status.ABSENT])
def test_what_a_task_raised_for_in_one_part_is_not_told_safe(fate: Status) -> None:
    account = JointAccount(lambda kind, **fields: None, 2)
    account.tells_saved = True
    spoiled = receipt([0, 1, 2], [])
    spoiled["odd"] = [(1, int(fate), "task_error:file")]
    account.take(receipt([1, 2], [(0, "packets_lost")]), "a, b", 0)
    account.take(spoiled, "a, b", 1)
    assert account.take_saved() == [(0, 0), (2, 2)]
