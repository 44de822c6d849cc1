"""Results lie in memory used again wherever the plan proves that nobody else needs it."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any, ClassVar

import h5py
import numpy as np
import pytest
import xarray as xr
from harness import Collect, chained, ran, run
from strategies import block

import limadask as ld
from limadask.frames import Frames, Spec
from limadask.geometry import Grid, Rect
from limadask.memory import METERS, BufferPool
from limadask.parameters import Policy
from limadask.pipeline import Pipeline, Program, plan, program
from limadask.task import PixelTask, task
from limadask_tasks import Accumulate, Bin, Crop, Flip, Mask, Observe, RoiStatistics, SaveHdf5

SPEC = Spec(Grid((64, 96)), np.dtype("u2"))
MASK = np.arange(64 * 96).reshape(64, 96) % 7 == 0
STATS = RoiStatistics(rois=[Rect(0, 0, 8, 8)])


def address(array: Any) -> int:
    return int(array.__array_interface__["data"][0])


class More(PixelTask):
    """Adds to every pixel, and notes where its input and result lie."""

    in_place: ClassVar[bool] = True
    seen: ClassVar[list[tuple[int, int]]] = []

    by: int = 1

    def kernel(self, spec: Spec) -> Any:
        def run(pixels: Any, out: Any) -> None:
            self.seen.append((address(pixels), address(out)))
            np.add(pixels, spec.dtype.type(self.by), out=out)

        return run


class Wider(More):
    """The same, into a wider type."""

    def plan(self, spec: Spec) -> Spec:
        return spec.replace(dtype=np.dtype("u4"))


class Apart(More):
    """The same, with memory of its own."""

    in_place: ClassVar[bool] = False


@task
def passes(block: xr.DataArray) -> xr.DataArray:
    return block


@pytest.fixture(autouse=True)
def forget() -> None:
    More.seen.clear()


def shared(pipe: Pipeline, policy: Policy | None = None) -> list[bool]:
    """Run a block; tell of each call whether input and result are one memory."""
    compiled = Program(plan(pipe, SPEC), policy or Policy())
    More.seen.clear()  # the trials
    outcome = compiled.run(block(1, SPEC, 4))
    compiled.close()
    assert not outcome.failures
    return [before == after for before, after in More.seen]


def test_a_task_that_works_in_place_writes_over_what_it_gets() -> None:
    assert shared(chained(Mask(MASK), More(), More(by=2), STATS, collect=False)) == [True, True]


def test_the_results_are_the_same_as_with_memory_of_their_own() -> None:
    frames = block(2, SPEC, 5)
    in_place = ran(SPEC, frames, Mask(MASK), More(by=3), More(by=5), Flip(axis="x")).frames
    apart = ran(SPEC, frames, Mask(MASK), Apart(by=3), Apart(by=5), Flip(axis="x")).frames
    np.testing.assert_array_equal(in_place.pixels, apart.pixels)


def test_what_the_detector_delivered_is_never_written_over() -> None:
    frames = block(3, SPEC, 4)
    before = frames.pixels.copy()
    run(chained(More(), More(), STATS, collect=False), [frames], SPEC)
    np.testing.assert_array_equal(frames.pixels, before)
    assert [one == other for one, other in More.seen[-2:]] == [False, True]


@pytest.mark.parametrize(
    ("tasks", "policy"),
    [
        ((Mask(MASK), Apart(), STATS), Policy()),
        ((Mask(MASK), Wider(), STATS), Policy()),
        ((Mask(MASK), Crop(y=1, x=1, height=8, width=8), More(), STATS), Policy()),
        ((Mask(MASK), More(), STATS), Policy(on_error="retry")),
    ],
    ids=["says no", "another type", "a view between", "may be tried again"],
)
def test_a_task_gets_memory_of_its_own_where_that_is_not_proven(
    tasks: tuple[Any, ...], policy: Policy
) -> None:
    statistics = RoiStatistics(rois=[Rect(0, 0, 4, 4)])
    assert shared(chained(*tasks[:-1], statistics, collect=False), policy) == [False]


@pytest.mark.parametrize("other", [STATS, passes(), Collect()])
def test_a_task_gets_memory_of_its_own_where_others_need_the_input(other: Any) -> None:
    pipe = chained(Mask(MASK), More(), STATS, collect=False)
    pipe.add("other", other, after="n0")
    assert shared(pipe) == [False]


def pool_of_one(count: int = 4) -> tuple[BufferPool, Frames]:
    """A pool whose only slot holds a block."""
    pool = BufferPool(1, count * SPEC.frame_nbytes)
    pixels = pool.lend((count, *SPEC.frame_shape), "u2")
    assert pixels is not None
    pixels[...] = block(4, SPEC, count).pixels
    return pool, Frames.of(pixels)


@pytest.mark.parametrize("shrinks", [Crop(y=2, x=3, height=8, width=9), Bin(y=8, x=8)])
def test_what_is_kept_of_a_smaller_image_does_not_keep_the_full_one(shrinks: Any) -> None:
    pool, frames = pool_of_one()
    pipe = Pipeline()
    pipe.add("small", shrinks)
    pipe.add("live", Observe(history=2), after="small")
    pipe.add("sum", Accumulate(nb_frames=3), after="small")
    compiled = Program(plan(pipe, SPEC), Policy(), "smaller")
    compiled.run(frames)
    small = compiled.plan["small"].output
    assert isinstance(small, Spec)
    del frames
    gc.collect()
    assert pool.statistics().free == 1
    held = [one for one in METERS.usages() if (one.uuid, one.stage) == ("smaller", "observe")]
    assert sum(one.in_use for one in held) == 2 * small.frame_nbytes
    compiled.close()


@pytest.mark.parametrize(
    "tasks", [(), (Mask(MASK),), (Crop(y=2, x=3, height=8, width=9),), (Mask(MASK), Flip(axis="y"))]
)
def test_what_is_saved_as_it_is_stays_until_it_is_written(
    tasks: tuple[Any, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "TILE", 2 * SPEC.frame_nbytes)  # several, written together
    pipe = chained(*tasks, collect=False)
    pipe.add("file", SaveHdf5(folder=str(tmp_path), compression="none"), after=last(pipe))
    compiled = Program(plan(pipe, SPEC), Policy(), "saved")
    writer: Any = compiled.writers["file"]
    assert writer.keeps
    frames = block(5, SPEC, 9)
    outcomes = [compiled.run(frames), compiled.run(block(6, SPEC, 9, first=9))]
    compiled.close()
    assert not [failure for one in outcomes for failure in one.failures]
    expected = ran(SPEC, frames, *tasks).frames.pixels[:, 0]
    (path,) = tmp_path.glob("*.h5")
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["entry/data/data"][:9], expected)


def test_what_user_code_returns_is_copied_before_it_is_saved(tmp_path: Path) -> None:
    pipe = chained(passes(), collect=False)
    pipe.add("file", SaveHdf5(folder=str(tmp_path), compression="none"), after="n0")
    compiled = Program(plan(pipe, SPEC), Policy())
    writer: Any = compiled.writers["file"]
    assert not writer.keeps
    compiled.close()


def test_a_history_that_the_budget_has_no_room_for_is_refused() -> None:
    budget = ld.memory.BUDGET
    budget.bound("test", budget.used + 10 * SPEC.frame_nbytes)
    try:
        pipe = Pipeline()
        pipe.add("live", Observe(history=1000))
        with pytest.raises(ld.ConfigError) as caught:
            Program(plan(pipe, SPEC), Policy())
    finally:
        budget.bound("test", None)
    error = caught.value
    assert (error.node, error.field, error.value) == ("live", "history", 1000)
    assert str(error.allowed) == "at most 10"
    assert f"{SPEC.frame_nbytes} bytes" in str(error)


def last(pipe: Pipeline) -> str:
    """The name of the last node, ``input`` if there is none."""
    names = [node.name for node in pipe]
    return names[-1] if names else "input"
