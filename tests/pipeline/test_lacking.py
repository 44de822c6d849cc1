"""Frames that lack pixels come out as if the pixels were masked in all frames."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from harness import Collect, chained, run
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import block, chains, lacking, seeds, tasks_of

import limadask as ld
from limadask.errors import ConfigError
from limadask.frames import Spec, Status
from limadask.geometry import Grid, Rect
from limadask.pipeline import Pipeline, plan
from limadask.task import Task, ViewTask
from limadask_tasks import (
    Background,
    Bin,
    Flatfield,
    Flip,
    Mask,
    MinIntensity,
    RoiProfiles,
    RoiStatistics,
)

SHAPE = 6, 8
SPEC = Spec(Grid(SHAPE), np.dtype("u2"), ("a", "b"), 5)


@ld.task
def doubled(block: xr.DataArray) -> xr.DataArray:
    return block * 2


def masks(seed: int, count: int, spec: Spec) -> dict[int, Any]:
    """Pixels that some frames lack, in all bands or in each; of one frame perhaps all."""
    random = np.random.default_rng(seed)
    found: dict[int, Any] = {}
    for number in range(count):
        kind = random.integers(4)
        shape = spec.frame_shape if kind == 1 else spec.grid.shape
        if kind:
            found[number] = random.random(shape) < random.choice([0.05, 0.3, 1.0])
    return {number: mask for number, mask in found.items() if mask.any()}


@st.composite
def pipelines(draw: st.DrawFn, spec: Spec) -> list[Task]:
    """Corrections, geometry and functions in any order that the shape of the image bears."""
    random = np.random.default_rng(draw(seeds))
    tasks: list[Task] = []
    for one in (*tasks_of(draw(chains(spec.grid.shape, most=3))), None):
        shape = spec.grid.shape
        made = {
            "mask": Mask(random.random(shape) < 0.1),
            "background": Background(random.integers(0, 99, shape)),
            "flatfield": Flatfield(random.uniform(1, 2, shape), normalize=draw(st.booleans())),
            "function": doubled(),
        }
        kinds = draw(st.lists(st.sampled_from([*made]), max_size=2))
        chosen: list[Any] = [made[kind] for kind in kinds]
        if one is not None:
            means = isinstance(one, Bin) and draw(st.booleans())
            chosen.append(one.replace(mode="mean") if means else one)
        for task in chosen:
            spec = task.plan(spec)
        tasks += chosen
    return tasks


def branches(tasks: list[Task], spec: Spec, front: Task | None = None) -> Pipeline:
    """The tasks one after the other, then frames and what is measured of them."""
    pipe, last = Pipeline(), "input"
    for place, task in enumerate(tasks if front is None else [front, *tasks]):
        pipe.add(f"n{place}", task, after=last)
        last = f"n{place}"
    output: Any = plan(pipe, spec).output(last)
    rows, columns = output.grid.shape
    rect = Rect(0, 0, rows, max(1, columns // 2))
    pipe.add("bright", MinIntensity(minimum=3000, statistic="mean", roi=rect), after=last)
    pipe.add("out", Collect(), after="bright")
    pipe.add("stats", RoiStatistics(rois=[rect]), after=last)
    pipe.add("profiles", RoiProfiles(rois=[rect]), after=last)
    return pipe


@given(data=st.data(), dtype=st.sampled_from(["u2", "f4"]), seed=seeds)
@settings(max_examples=40)
def test_a_frame_comes_out_as_if_its_pixels_were_masked_in_all_frames(
    data: st.DataObject, dtype: str, seed: int
) -> None:
    spec = SPEC.replace(dtype=np.dtype(dtype))
    tasks, missing = data.draw(pipelines(spec)), masks(seed, 5, spec)
    frames = lacking(block(seed, spec, 5, top=9000), missing)
    result = run(branches(tasks, spec), [frames], spec)
    assert result.failures == []
    out = result.collected["out"]
    assert out is not None
    tables = {node: result.products(node) for node in ("stats", "profiles")}
    for number in range(5):
        mask = missing.get(number)
        front = None if mask is None else Mask(mask)
        expected = run(branches(tasks, spec, front), [frames[number : number + 1]], spec)
        (told,), alone = expected.outcomes, expected.collected["out"]
        assert alone is not None
        np.testing.assert_array_equal(out.pixels[number], alone.pixels[0])
        vetoed = int(told.status()[0]) == Status.VETOED
        assert (int(out.status[number]) == Status.VETOED) == vetoed
        for node, (numbers, table) in tables.items():
            place = numbers.tolist().index(number)
            for name, values in expected.products(node)[1].items():
                np.testing.assert_array_equal(table[name][place], values[0])
        if mask is not None:
            masked = expected.plan["out"].inputs[0].masked
            np.testing.assert_array_equal(out.invalid[number], masked)
            if doubled() not in tasks:  # which keeps no fill values
                fill = expected.plan["out"].inputs[0].fill
                where = np.broadcast_to(masked, out.pixels[number].shape)
                np.testing.assert_array_equal(out.pixels[number][where], fill)
    assert set(out.invalid) == set(missing)


def test_statistics_count_the_pixels_that_are_there() -> None:
    mask = np.zeros(SHAPE, bool)
    mask[2:4] = True
    frames = lacking(block(1, SPEC, 5, top=9), {3: mask})
    pipe = Pipeline()
    pipe.add("stats", RoiStatistics(rois=[Rect(0, 0, *SHAPE)]))
    numbers, values = run(pipe, [frames], SPEC).products("stats")
    assert numbers.tolist() == list(range(5))
    assert values["count"][:, 0, 0].tolist() == [48, 48, 48, 32, 48]
    assert values["max"].max() <= 9


def test_functions_see_what_is_missing() -> None:
    seen: dict[int, tuple[Any, Any]] = {}

    @ld.task
    def looks(block: xr.DataArray) -> xr.DataArray:
        for frame in block:
            invalid = frame["invalid"].values if "invalid" in block.coords else None
            seen[int(frame["frame"])] = frame["masked"].values, invalid
        return block

    always, missing = np.zeros(SHAPE, bool), np.zeros(SPEC.frame_shape, bool)
    always[0, 0] = missing[1, 2, 3] = True
    frames = lacking(block(1, SPEC, 5), {2: missing})
    result = run(chained(Mask(always), Flip(axis="y"), looks()), [frames], SPEC)
    assert result.failures == []
    np.testing.assert_array_equal(seen[1][0], always[::-1])
    assert seen[1][1] is None
    both = (missing | always)[:, ::-1]
    np.testing.assert_array_equal(seen[2][0], both)
    np.testing.assert_array_equal(seen[2][1], both)


def test_a_task_after_two_nodes_sees_what_each_lacks() -> None:
    seen: list[Any] = []

    class Both(Task):
        nb_inputs = 2

        def plan(self, spec: Spec, other: Spec) -> Spec:  # type: ignore[override]
            return spec

        def __call__(self, one: xr.DataArray, other: xr.DataArray) -> xr.DataArray:  # type: ignore[override]
            seen.append(
                [each["invalid"].values for each in (one, other) if "invalid" in each.coords]
            )
            return one

    mask = np.eye(6, 8, dtype=bool)
    pipe = Pipeline()
    pipe.add("small", Bin(y=2, x=2))
    pipe.add("both", Both(), after=["input", "small"])
    result = run(pipe, [lacking(block(1, SPEC, 5), {2: mask})], SPEC)
    assert result.failures == []
    assert [len(each) for each in seen] == [0, 2, 0]
    np.testing.assert_array_equal(seen[1][0][0, 0], mask)
    np.testing.assert_array_equal(seen[1][1][0, 1], np.eye(3, 4, dtype=bool))


def test_only_the_branch_that_cannot_do_without_the_pixels_is_lost() -> None:
    class Whole(ViewTask):
        def plan(self, spec: Spec) -> Spec:
            if spec.masked is not None:
                raise ConfigError("needs every pixel")
            return spec

        def view(self, pixels: Any) -> Any:
            return pixels

    pipe = Pipeline()
    pipe.add("whole", Whole())
    pipe.add("few", Collect(), after="whole")
    pipe.add("all", Collect())
    frames = lacking(block(1, SPEC, 5), {2: np.eye(6, 8, dtype=bool)})
    result = run(pipe, [frames], SPEC)
    assert [(one.node, one.first, one.last) for one in result.failures] == [("whole", 2, 2)]
    assert "needs every pixel" in result.failures[0].text
    assert result.collected["few"].numbers.tolist() == [0, 1, 3, 4]  # type: ignore[union-attr]
    assert result.collected["all"].numbers.tolist() == list(range(5))  # type: ignore[union-attr]
    assert result.outcomes[0].status()[2] == Status.PARTIAL
