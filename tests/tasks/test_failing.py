"""Failing on purpose: for the frames that are chosen, and for those only."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import chained, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import block

from limadask.errors import ConfigError
from limadask.faults import happens
from limadask.frames import Spec
from limadask.geometry import Grid
from limadask.pipeline import program
from limadask_detectors.simulator.faults import Faults
from limadask_tasks import Failing, Flip, failing

SPEC = Spec(Grid((4, 6)), np.dtype("u2"), nb_frames=20)
PIXELS = block(1, SPEC, 20).pixels


@given(
    chosen=st.frozensets(st.integers(0, 19)) | st.floats(0, 1),
    seed=st.integers(0, 9),
    tile=st.integers(1, 7),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
def test_it_fails_for_the_tiles_that_hold_a_chosen_frame(
    chosen: Any, seed: int, tile: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "CALL_TILE", tile * SPEC.frame_nbytes)
    task = Failing(frames=chosen, seed=seed)
    fails = {one for one in range(20) if happens(chosen, one, "failing", seed)}
    tiles = [range(start, min(start + tile, 20)) for start in range(0, 20, tile)]
    lost = {one for part in tiles if fails & set(part) for one in part}
    result = run(chained(task), [block(1, SPEC, 20)], SPEC)
    out = result.collected["out"]
    there = out.numbers.tolist() if out is not None else []
    assert there == [one for one in range(20) if one not in lost]
    if out is not None:
        np.testing.assert_array_equal(out.pixels, PIXELS[there])
    told = {one for failure in result.failures for one in range(failure.first, failure.last + 1)}
    assert told == lost
    assert {failure.node for failure in result.failures} == ({"n0"} if lost else set())


def test_frames_are_chosen_by_number_or_by_chance() -> None:
    assert [one for one in range(9) if happens(frozenset({3, 7}), one, "x")] == [3, 7]
    often = [one for one in range(2000) if happens(0.1, one, "x", seed=4)]
    assert 150 < len(often) < 250
    assert often == [one for one in range(2000) if happens(0.1, one, "x", seed=4)]
    assert often != [one for one in range(2000) if happens(0.1, one, "x", seed=5)]
    assert often != [one for one in range(2000) if happens(0.1, one, "y", seed=4)]


def test_the_simulator_chooses_in_the_same_way() -> None:
    faults = Faults(seed=3, drop=0.2, corrupt=frozenset({5}))
    for number in range(100):
        assert faults.happens("drop", number) == happens(0.2, number, "drop", 3)
        assert faults.happens("corrupt", number) == (number == 5)


def test_planning_and_compiling_do_not_fail() -> None:
    result = run(chained(Flip(axis="y"), Failing(frames=1.0), collect=False), [], SPEC)
    assert result.failures == []


def test_it_hangs_for_some_time_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(failing.time, "sleep", waited.append)
    result = run(
        chained(Failing(frames={4}, how="hang", seconds=7)),  # type: ignore[arg-type]
        [block(1, SPEC, 20)[:3], block(1, SPEC, 20)[3:]],
        SPEC,
    )
    assert waited == [7.0]
    np.testing.assert_array_equal(result.frames.pixels, PIXELS)


def test_it_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ended(Exception):  # noqa: N818 - the process does not come back from this
        pass

    def end(code: int) -> None:
        raise Ended(code)

    monkeypatch.setattr(failing.os, "_exit", end)
    task = Failing(frames={4}, how="exit")  # type: ignore[arg-type]
    frames = block(1, SPEC, 20)
    assert run(chained(task), [frames[5:]], SPEC).failures == []
    assert run(chained(task), [frames], SPEC).failures[0].text == "Ended: 1"


def test_mistakes_are_named() -> None:
    for fields, field in (
        ({}, "frames"),
        ({"frames": 1.5}, "frames"),
        ({"frames": [1], "how": "explode"}, "how"),
        ({"frames": [1], "seconds": -1}, "seconds"),
    ):
        with pytest.raises(ConfigError) as caught:
            Failing(**fields)  # type: ignore[arg-type]
        assert str(caught.value.field).partition(".")[0] == field
