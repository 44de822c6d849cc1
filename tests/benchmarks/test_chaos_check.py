"""What chaos holds against the files: it sees each thing that may be wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from limadask_benchmarks.chaos.check import Known, Saved, judge

FILL = 65535
EXPECTED = np.arange(6 * 12, dtype="u2").reshape(6, 3, 4)
LOSSY, FAILING = 2, 4
FATES = [(1, ""), (1, ""), (2, "packets_lost"), (1, ""), (3, "task_error:failing"), (3, "detector")]


def sound() -> Saved:
    """Six frames: one has lost a row, one a task raised for, the last never came."""
    data, invalid = EXPECTED.copy(), np.zeros(EXPECTED.shape, bool)
    invalid[LOSSY, 1] = True
    data[invalid] = FILL
    data[4:] = FILL
    return Saved(data, invalid, list(FATES))


def judged(saved: Saved, has_parts: bool = False, **known: Any) -> dict[str, int]:
    known = {"acknowledged": [0, 1, 2, 3], **known}
    return judge(saved, EXPECTED, Known(**known, lossy=[2], failing=[4], has_parts=has_parts))


def test_what_is_sound_is_not_held_against_anybody() -> None:
    assert judged(sound(), ledger=list(FATES)) == {"lost": 0, "wrong": 0, "nameless": 0}


def pixel(number: int) -> Callable[[Saved], None]:
    return lambda saved: saved.data[number].__setitem__((0, 0), 999)


def fate(number: int, status: int, cause: str) -> Callable[[Saved], None]:
    return lambda saved: saved.fates.__setitem__(number, (status, cause))


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (pixel(1), (1, 1, 0)),
        (pixel(LOSSY), (1, 1, 0)),
        (pixel(5), (0, 1, 0)),
        (lambda saved: saved.data[LOSSY].fill(FILL), (1, 1, 0)),
        (lambda saved: saved.invalid[LOSSY].fill(False), (1, 1, 0)),
        (lambda saved: saved.fates.pop(), (0, 0, 1)),
        (fate(1, 0, ""), (1, 1, 1)),
        (fate(LOSSY, 2, "worker_lost"), (1, 0, 1)),
        (fate(LOSSY, 2, ""), (1, 0, 1)),
        (fate(LOSSY, 1, ""), (1, 1, 1)),
        (fate(1, 2, "packets_lost"), (1, 0, 1)),
        (fate(FAILING, 3, "veto:failing"), (0, 0, 1)),
        (fate(5, 3, ""), (0, 0, 1)),
    ],
)
def test_each_thing_that_is_wrong_is_seen(
    spoil: Callable[[Saved], Any], found: tuple[int, int, int]
) -> None:
    saved = sound()
    spoil(saved)
    assert tuple(judged(saved).values()) == found


@pytest.mark.parametrize("number", [FAILING, 5, 6])
def test_what_is_not_there_may_not_be_acknowledged(number: int) -> None:
    assert judged(sound(), acknowledged=[0, number])["lost"] == 1


def test_the_ledger_is_judged_as_the_file_is() -> None:
    assert judged(sound(), ledger=[*FATES[:2], (2, "detector"), *FATES[3:]])["nameless"] == 1


def test_a_part_may_be_lost_with_its_receiver_but_not_by_a_task() -> None:
    saved = sound()
    saved.invalid[1, 2] = True
    saved.data[1, 2] = FILL
    saved.fates[1] = 2, "receiver_lost"
    assert judged(saved, has_parts=True) == {"lost": 0, "wrong": 0, "nameless": 0}
    assert judged(saved)["lost"] == 1
    saved.fates[1] = 2, "task_error:failing"
    assert judged(saved, has_parts=True) == {"lost": 1, "wrong": 0, "nameless": 0}
