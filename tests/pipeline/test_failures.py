"""Tasks that raise: only their own branch ends, and the outcome says for which frames."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr
from harness import Collect, Collector, Result, run
from strategies import block

from limadask.frames import Frames, Spec, Status
from limadask.geometry import Grid, Rect
from limadask.memory import BufferPool
from limadask.parameters import Policy
from limadask.pipeline import Pipeline, Program, plan, program
from limadask.task import Ordered, OrderedStepper, State, Task
from limadask_tasks import RoiStatistics

SPEC = Spec(Grid((4, 5)), np.dtype("u2"), nb_frames=12)
P, Q, A = Status.PRESENT, Status.PARTIAL, Status.ABSENT


class Does(Task):
    """Does to a block whatever a test wants."""

    what: Callable[[xr.DataArray], Any]

    def __call__(self, block: xr.DataArray) -> Any:
        return self.what(block)


def raising(*bad: int) -> Does:
    """A task that raises for some frames."""

    def what(block: xr.DataArray) -> xr.DataArray:
        if hit := sorted(set(bad) & set(block["frame"].values.tolist())):
            raise ArithmeticError(f"no {hit}")
        return block

    return Does(what=what)


def branched(bad: Task, **more: Any) -> Pipeline:
    pipe = Pipeline()
    pipe.add("bad", bad, **more)
    pipe.add("late", Collect(), after="bad")
    pipe.add("stats", RoiStatistics(rois=[Rect(0, 0, 1, 1)]), after="bad")
    pipe.add("good", Collect())
    return pipe


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four frames at a time."""
    for name in ("TILE", "CALL_TILE"):
        monkeypatch.setattr(program, name, 4 * SPEC.frame_nbytes)


def ran(pipe: Pipeline, policy: Policy | None = None) -> Result:
    return run(pipe, [block(1, SPEC, 12)], SPEC, policy or Policy())


def test_a_task_that_raises_ends_only_its_branch_for_its_frames() -> None:
    result = ran(branched(raising(5)))
    (outcome,) = result.outcomes
    (failure,) = result.failures
    assert (failure.node, failure.first, failure.last) == ("bad", 4, 7)
    assert failure.text == "ArithmeticError: no [5]"
    assert "raise ArithmeticError" in failure.details
    assert not failure.abort
    late, good = result.collected["late"], result.collected["good"]
    assert late is not None
    assert good is not None
    assert late.numbers.tolist() == [0, 1, 2, 3, 8, 9, 10, 11]
    assert good.numbers.tolist() == list(range(12))
    assert result.products("stats")[0].tolist() == late.numbers.tolist()
    assert outcome.status().tolist() == [P] * 4 + [Q] * 4 + [P] * 4
    assert [outcome.cause(number) for number in (4, 7)] == ["task_error:bad"] * 2


def test_a_frame_that_reached_no_end_is_absent() -> None:
    pipe = Pipeline()
    pipe.add("bad", raising(0, 1))
    pipe.add("late", Collect(), after="bad")
    (outcome,) = ran(pipe).outcomes
    assert outcome.status().tolist() == [A] * 4 + [P] * 8

    pipe.add("worse", raising(3, 11))
    pipe.add("later", Collect(), after="worse")
    (outcome,) = ran(pipe).outcomes
    assert outcome.status().tolist() == [A] * 4 + [P] * 4 + [Q] * 4
    assert {failure.node for failure in outcome.failures} == {"bad", "worse"}
    assert outcome.cause(9) == "task_error:worse"


def test_a_frame_received_in_part_stays_partial() -> None:
    frames = block(1, SPEC, 12)
    frames.status[:] = [Q, P] * 6
    frames.causes = dict.fromkeys(range(0, 12, 2), "packets_lost")
    (outcome,) = run(branched(raising(5)), [frames], SPEC).outcomes
    assert outcome.status().tolist() == [Q, P] * 2 + [Q] * 4 + [Q, P] * 2
    assert [outcome.cause(number) for number in (0, 4)] == ["packets_lost", "task_error:bad"]


class Flaky:
    """Fails some times, then works."""

    def __init__(self, failures: int) -> None:
        self.left, self.calls = failures, 0

    def __call__(self, block: xr.DataArray) -> xr.DataArray:
        if (block["frame"] == 5).any():
            self.calls += 1
            if self.calls <= self.left:
                raise OSError(f"try {self.calls}")
        return block


@pytest.mark.parametrize(
    ("policy", "node", "calls", "lost"),
    [
        (Policy(on_error="retry", retries=2), None, 3, False),
        (Policy(on_error="mark"), "retry", 3, False),
        (Policy(on_error="retry", retries=1), None, 2, True),
        (Policy(on_error="retry", retries=0), None, 1, True),
        (Policy(on_error="retry"), "mark", 1, True),
        (Policy(on_error="mark", retries=5), None, 1, True),
    ],
    ids=str,
)
def test_a_task_is_tried_as_often_as_the_policy_says(
    policy: Policy, node: Any, calls: int, lost: bool
) -> None:
    flaky = Flaky(2)
    result = ran(branched(Does(what=flaky), on_error=node), policy)
    assert flaky.calls == calls
    assert bool(result.failures) == lost
    if lost:
        assert result.failures[0].text == f"OSError: try {calls}"
        assert not result.failures[0].abort
    late = result.collected["late"]
    assert late is not None
    assert len(late) == (8 if lost else 12)


def test_the_time_of_all_tries_is_the_node_s() -> None:
    tries: list[float] = []

    def work_in_vain(block: xr.DataArray) -> xr.DataArray:
        began = time.perf_counter()
        while time.perf_counter() < began + 0.02:
            pass
        tries.append(time.perf_counter() - began)
        raise OSError("in vain")

    result = ran(branched(Does(what=work_in_vain)), Policy(on_error="retry", retries=2))
    assert len(tries) >= 3
    assert sum(one.seconds["bad"] for one in result.outcomes) >= sum(tries)


class Odd(Ordered):
    """Frames as they are; the first number is counted, and then it raises at one of them."""

    at: int

    def init(self, spec: Spec) -> State:
        return {"count": np.zeros(1, "i8")}

    def stepper(self, spec: Spec) -> OrderedStepper:
        def step(state: State, frames: Frames) -> np.ndarray[Any, Any]:
            state["count"] += len(frames)
            if self.at in frames.numbers and len(frames) > 1:
                raise ArithmeticError(f"no {self.at}, {state['count'][0]} counted")
            return frames.pixels + state["count"].astype("u2")

        return step


def test_a_task_with_a_state_is_never_tried_again() -> None:
    result = ran(branched(Odd(at=5), on_error="retry"), Policy(on_error="retry", retries=3))
    assert [one.text for one in result.failures] == ["ArithmeticError: no 5, 8 counted"]
    late, good = result.collected["late"], result.collected["good"]
    assert late is not None
    assert good is not None
    assert late.numbers.tolist() == [0, 1, 2, 3, 8, 9, 10, 11]
    added = late.pixels - good.pixels[late.numbers]
    assert added[:, 0, 0, 0].tolist() == 4 * [4] + 4 * [12]


@pytest.mark.parametrize(
    ("policy", "node", "abort"),
    [
        (Policy(on_error="abort"), None, True),
        (Policy(on_error="mark"), "abort", True),
        (Policy(on_error="abort"), "mark", False),
    ],
    ids=str,
)
def test_a_failure_says_whether_the_run_is_to_end(policy: Policy, node: Any, abort: bool) -> None:
    result = ran(branched(raising(5), on_error=node), policy)
    assert [failure.abort for failure in result.failures] == [abort]


def test_users_cannot_change_what_others_read() -> None:
    def spoils(block: xr.DataArray) -> xr.DataArray:
        block.values[...] = 0
        return block

    result = ran(branched(Does(what=spoils)))
    assert "read-only" in result.failures[0].text
    good = result.collected["good"]
    assert good is not None
    np.testing.assert_array_equal(good.pixels, block(1, SPEC, 12).pixels)


WRONG: dict[str, Callable[[xr.DataArray], Any]] = {
    "another shape": lambda block: block.isel(x=slice(1, None)),
    "another type": lambda block: block.astype("f4"),
    "another band": lambda block: xr.concat([block, block], "band"),
    "a bare array": lambda block: block.values,
    "nothing": lambda block: None,
    "no band": lambda block: block.isel(band=0),
    "fewer frames without numbers": lambda block: xr.DataArray(block.values[1:], dims=block.dims),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_was_not_planned_is_a_failure(what: str) -> None:
    result = ran(branched(Does(what=WRONG[what])))
    assert [(one.node, one.first, one.last) for one in result.failures] == [
        ("bad", 0, 3),
        ("bad", 4, 7),
        ("bad", 8, 11),
    ]
    assert result.collected["late"] is None
    (outcome,) = result.outcomes
    assert outcome.status().tolist() == [Q] * 12


def test_a_block_returned_without_labels_keeps_numbers_and_times() -> None:
    bare = Does(what=lambda block: xr.DataArray(block.values * 2, dims=block.dims))
    late = ran(branched(bare)).collected["late"]
    frames = block(1, SPEC, 12)
    assert late is not None
    assert late.numbers.tolist() == frames.numbers.tolist()
    assert late.timestamps.tolist() == frames.timestamps.tolist()
    np.testing.assert_array_equal(late.pixels, frames.pixels * 2)


def test_a_task_that_leaves_frames_out_is_told_so() -> None:
    even = Does(what=lambda block: block.sel(frame=block["frame"] % 2 == 0))
    result = ran(branched(even))
    assert result.collected["late"] is None
    (outcome,) = result.outcomes
    assert outcome.status().tolist() == [Q] * 12  # no frame is lost silently
    assert "returned the frames 0 to 2 (2), it was given 0 to 3 (4)" in outcome.failures[0].text


class BadSink(Collect):
    """A sink whose writer raises where it is told to."""

    where: str

    def open(self, spec: Any, place: Any) -> Collector:
        sink = self

        class Writer(Collector):
            def encode(self, frames: Frames) -> Frames:
                if sink.where == "encode" and 5 in frames.numbers:
                    raise ValueError("cannot encode")
                return super().encode(frames)

            def write(self, encoded: list[Frames]) -> None:
                if sink.where == "write":
                    raise OSError("disk full")
                super().write(encoded)

        return Writer()


@pytest.mark.parametrize(
    ("where", "lost"), [("encode", range(4, 8)), ("write", range(12))], ids=["encode", "write"]
)
def test_a_sink_that_raises_loses_its_frames(where: str, lost: range) -> None:
    pipe = Pipeline()
    pipe.add("bad", BadSink(where=where))
    pipe.add("good", Collect())
    result = ran(pipe)
    (outcome,) = result.outcomes
    assert outcome.status().tolist() == [Q if number in lost else P for number in range(12)]
    assert outcome.cause(5) == "task_error:bad"


class Listing(Collect):
    """Encodes frames as a list of their numbers."""

    def open(self, spec: Spec, place: Any) -> Any:
        class Writer(Collector):
            def encode(self, frames: Frames) -> Any:
                return frames.numbers.tolist()

            def write(self, encoded: list[Any]) -> None:
                assert [one for part in encoded for one in part] == list(range(12))

        return Writer()


def test_a_sink_gets_what_it_has_encoded_as_it_was() -> None:
    pipe = Pipeline()
    pipe.add("listing", Listing())
    assert ran(pipe).failures == []


@pytest.mark.parametrize("where", ["task", "encode", "write"])
def test_a_failure_holds_no_memory_of_its_block(where: str) -> None:
    pool = BufferPool(1, 12 * SPEC.frame_nbytes)
    pixels = pool.lend((12, *SPEC.frame_shape), "u2")
    assert pixels is not None
    pixels[...] = 1
    pipe = branched(raising(5)) if where == "task" else Pipeline()
    if where != "task":
        pipe.add("bad", BadSink(where=where))
    compiled = Program(plan(pipe, SPEC), Policy(on_error="retry"))
    outcome = compiled.run(Frames.of(pixels))
    del pixels
    gc.collect()
    assert outcome.failures
    assert pool.statistics().free == 1
    compiled.close()
