"""Running a planned pipeline over blocks."""

from __future__ import annotations

import gc
import itertools
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from harness import Collect, Collector, chained, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import block

from limadask.errors import ConfigError
from limadask.frames import Frames, Spec
from limadask.geometry import Grid, Rect
from limadask.memory import BufferPool
from limadask.parameters import Policy
from limadask.pipeline import Pipeline, Program, plan, program
from limadask.task import task
from limadask_tasks import (
    Accumulate,
    Background,
    Bin,
    Crop,
    Flatfield,
    Flip,
    Mask,
    RoiStatistics,
    SaveHdf5,
)

SPEC = Spec(Grid((6, 8)), np.dtype("u2"), ("a", "b"), 20)
MASK: Any = np.arange(48).reshape(6, 8) % 5 == 0
STATS = RoiStatistics(rois=[Rect(0, 0, 3, 3)])


@task
def doubled(block: xr.DataArray) -> xr.DataArray:
    return block * 2


@task
def darkest(block: xr.DataArray) -> xr.Dataset:
    return xr.Dataset({"least": block.min(("band", "y", "x"))})


def branched() -> Pipeline:
    """Every kind of step, and branches."""
    pipe = Pipeline()
    pipe.add("mask", Mask(MASK))
    pipe.add("dark", Background(np.full((6, 8), 7, "u2")), after="mask")
    pipe.add("flat", Flatfield(np.full((6, 8), 2.0)), after="dark")
    pipe.add("flip", Flip(axis="y"), after="flat")
    pipe.add("flipped", Collect(), after="flip")
    pipe.add("bin", Bin(y=2, x=2), after="flip")
    pipe.add("binned", Collect(), after="bin")
    pipe.add("stats", STATS, after="flip")
    pipe.add("twice", doubled())
    pipe.add("doubles", Collect(), after="twice")
    pipe.add("least", darkest(), after="dark")
    pipe.add("sum", Accumulate(nb_frames=4))
    pipe.add("sums", Collect(), after="sum")
    return pipe


def expected(pixels: Any) -> dict[str, Any]:
    """The same by NumPy."""
    flat = np.where(MASK, np.nan, (pixels.astype("f8") - 7) / 2)[..., ::-1, :]
    dark = np.where(MASK, 2**31 - 1, pixels.astype("i8") - 7)
    tiles = flat.reshape(len(pixels), 2, 3, 2, 4, 2)
    return {
        "flipped": flat,
        "binned": tiles.sum(axis=(3, 5)),
        "doubles": pixels * 2,
        "sums": pixels.reshape(-1, 4, *pixels.shape[1:]).sum(axis=1, dtype="u4"),
        "mean": np.nanmean(flat[:, :, :3, :3], axis=(2, 3))[..., np.newaxis],
        "least": dark.min(axis=(1, 2, 3)),
    }


def check(result: Any, pixels: Any) -> None:
    told = expected(pixels)
    assert result.failures == []
    for name in ("flipped", "binned", "doubles", "sums"):
        np.testing.assert_allclose(result.collected[name].pixels, told[name], rtol=1e-6)
    for node, variable in (("stats", "mean"), ("least", "least")):
        numbers, values = result.products(node)
        np.testing.assert_allclose(values[variable], told[variable][numbers], rtol=1e-6)
        assert sorted(numbers.tolist()) == list(range(len(pixels)))


def test_every_node_gets_what_the_nodes_before_it_made() -> None:
    frames = block(1, SPEC, 20, top=9000)
    check(run(branched(), [frames], SPEC), frames.pixels)


@pytest.mark.parametrize("frames_per_tile", [1, 3, 7])
def test_the_size_of_tiles_changes_nothing(
    frames_per_tile: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "TILE", frames_per_tile * SPEC.frame_nbytes)
    monkeypatch.setattr(program, "CALL_TILE", frames_per_tile * SPEC.frame_nbytes)
    frames = block(2, SPEC, 20, top=9000)
    check(run(branched(), [frames[:9], frames[9:10], frames[10:]], SPEC), frames.pixels)


@given(cuts=st.sets(st.integers(1, 19), max_size=6), tile=st.integers(1, 8))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
def test_the_cut_into_blocks_changes_nothing(
    cuts: set[int], tile: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "CALL_TILE", tile * SPEC.frame_nbytes)
    frames = block(3, SPEC, 20, top=9000)
    edges = [0, *sorted(cuts), 20]
    parts = [frames[a:b] for a, b in itertools.pairwise(edges)]
    check(run(branched(), parts, SPEC), frames.pixels)


def test_several_threads_at_once_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "CALL_TILE", 2 * SPEC.frame_nbytes)
    spec = SPEC.replace(nb_frames=120)
    frames = block(4, spec, 120, top=9000)
    compiled = Program(plan(branched(), spec), Policy())
    outcomes, lock = [], threading.Lock()

    def work(number: int) -> None:
        for start in range(number * 5, 120, 20):
            outcome = compiled.run(frames[start : start + 5])
            with lock:
                outcomes.append(outcome)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    told = expected(frames.pixels)
    for name in ("flipped", "binned", "doubles", "sums"):
        writer = compiled.writers[name]
        assert isinstance(writer, Collector)
        assert writer.frames is not None
        np.testing.assert_allclose(writer.frames.pixels, told[name], rtol=1e-6)
    for outcome in outcomes:
        numbers, values = outcome.products["stats"]
        np.testing.assert_allclose(values["mean"], told["mean"][numbers], rtol=1e-6)
    compiled.close()


def test_what_is_done_in_front_of_input_is_seen_by_all() -> None:
    pipe = chained(doubled())
    frames = block(5, SPEC, 4, top=9000)
    steps = [("crop", {"y": 1, "x": 2, "height": 4, "width": 5}), ("flip", {"axis": "x"})]
    compiled = Program(plan(pipe, SPEC, steps), Policy())
    compiled.run(frames)
    writer = compiled.writers["out"]
    assert isinstance(writer, Collector)
    assert writer.frames is not None
    cut = frames.pixels[:, :, 1:5, 2:7][..., ::-1]
    np.testing.assert_array_equal(writer.frames.pixels, cut * 2)
    compiled.close()


def test_a_task_after_two_nodes_gets_both() -> None:
    from limadask.task import Task

    class Difference(Task):
        nb_inputs = 2

        def plan(self, spec: Spec, other: Spec) -> Spec:  # type: ignore[override]
            return spec

        def __call__(self, one: xr.DataArray, other: xr.DataArray) -> xr.DataArray:  # type: ignore[override]
            return one - other.values

    pipe = Pipeline()
    pipe.add("twice", doubled())
    pipe.add("less", Difference(), after=["twice", "input"])
    pipe.add("out", Collect(), after="less")
    frames = block(6, SPEC, 3, top=9000)
    np.testing.assert_array_equal(run(pipe, [frames], SPEC).frames.pixels, frames.pixels)


def test_frames_carry_their_numbers_and_times_to_the_end() -> None:
    frames = block(7, SPEC, 6, first=40)
    frames.status[2] = 2
    result = run(branched(), [frames], SPEC.replace(nb_frames=None))
    for name in ("flipped", "doubles"):
        out = result.collected[name]
        assert out is not None
        assert out.numbers.tolist() == frames.numbers.tolist()
        assert out.timestamps.tolist() == frames.timestamps.tolist()
        assert out.status.tolist() == frames.status.tolist()


def test_what_a_user_keeps_is_not_changed_by_the_next_tile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(program, "CALL_TILE", SPEC.frame_nbytes)
    kept: list[xr.DataArray] = []

    @task
    def keeps(block: xr.DataArray) -> xr.DataArray:
        kept.append(block)
        return block

    frames = block(8, SPEC, 5, top=9000)
    run(chained(Mask(MASK), Flip(axis="x"), keeps(), collect=False), [frames], SPEC)
    masked = np.where(MASK, 65535, frames.pixels)[..., ::-1]
    np.testing.assert_array_equal(np.concatenate(kept[1:]), masked)  # the first was the trial


def test_nothing_is_held_of_a_block_that_was_processed() -> None:
    pool = BufferPool(1, 20 * SPEC.frame_nbytes)
    pixels = pool.lend((20, *SPEC.frame_shape), "u2")
    assert pixels is not None
    pixels[...] = block(9, SPEC, 20, top=9000).pixels
    compiled = Program(plan(branched(), SPEC), Policy())
    outcome = compiled.run(Frames.of(pixels))
    del pixels
    gc.collect()
    assert pool.statistics().free == 1
    assert outcome.numbers.size == 20
    compiled.close()


def test_each_node_tells_how_long_it_took() -> None:
    result = run(branched(), [block(1, SPEC, 20, top=9000)], SPEC)
    (outcome, *_) = result.outcomes
    assert set(outcome.seconds) == {node.label for node in result.plan.nodes}
    assert all(seconds > 0 for seconds in outcome.seconds.values())


def test_a_sink_that_cannot_be_opened_is_named_and_the_others_are_closed(tmp_path: Path) -> None:
    closed = []

    class Closing(Collector):
        def close(self) -> dict[str, Any]:
            closed.append(True)
            return {}

    class Opens(Collect):
        def open(self, spec: Any, place: Any) -> Closing:
            return Closing()

    (tmp_path / "file").touch()
    pipe = Pipeline()
    pipe.add("good", Opens())
    pipe.add("part", Crop(y=0, x=0, height=2, width=2))
    pipe.add("bad", SaveHdf5(folder=str(tmp_path / "file")), after="part")
    with pytest.raises(ConfigError) as caught:
        Program(plan(pipe, SPEC), Policy())
    assert (caught.value.node, caught.value.field) == ("bad", "folder")
    assert closed == [True]


def test_every_sink_is_closed_also_after_the_failure_of_another() -> None:
    closed = []

    class Bad(Collector):
        def close(self) -> dict[str, Any]:
            closed.append("bad")
            raise OSError("disk gone")

    class Opens(Collect):
        def open(self, spec: Any, place: Any) -> Collector:
            return Bad() if place.node != "good" else Collector()

    pipe = Pipeline()
    for name in ("bad", "good", "worse"):
        pipe.add(name, Opens())
    compiled = Program(plan(pipe, SPEC), Policy())
    assert compiled.close() == {"good": {}}  # its part is not lost
    assert compiled.trouble == [
        f"{name!r} could not be closed: OSError: disk gone" for name in ("bad", "worse")
    ]
    assert closed == ["bad", "bad"]
    assert compiled.close() == {}
