"""What a plan says of frames is what comes out of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from harness import Collect, run
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import block, image, seeds

from limadask.frames import Spec, spec_of
from limadask.geometry import Grid
from limadask.pipeline import Pipeline
from limadask.task import Products, Task
from limadask_tasks import (
    Accumulate,
    Background,
    Bin,
    Crop,
    Flatfield,
    Flip,
    Mask,
    RoiProfiles,
    RoiStatistics,
    Rotate,
)

TYPES = ("u1", "u2", "i4", "f4")
KINDS = ("mask", "background", "flatfield", "crop", "bin", "mean", "flip", "rotate", "accumulate")


@st.composite
def task_chains(draw: st.DrawFn, spec: Spec) -> list[Task]:
    """Tasks that follow each other, each made for what the one before yields."""
    tasks: list[Task] = []
    for kind in draw(st.lists(st.sampled_from(KINDS), max_size=4)):
        bands, rows, columns = spec.frame_shape
        shape = (bands, rows, columns) if draw(st.booleans()) else (rows, columns)
        seed = draw(seeds)
        random = np.random.default_rng(seed)
        y, x = draw(st.integers(1, min(3, rows))), draw(st.integers(1, min(3, columns)))
        made: dict[str, Any] = {
            "mask": lambda shape=shape, random=random: Mask(random.random(shape) < 0.3),
            "background": lambda shape=shape, seed=seed: Background(image(seed, shape, "u2")),
            "flatfield": lambda shape=shape, random=random: Flatfield(random.uniform(1, 2, shape)),
            "crop": lambda y=y, x=x, rows=rows, columns=columns: Crop(
                y=y - 1, x=x - 1, height=rows - y + 1, width=columns - x + 1
            ),
            "bin": lambda y=y, x=x: Bin(y=y, x=x),
            "mean": lambda y=y, x=x: Bin(y=y, x=x, mode="mean"),
            "flip": lambda y=y: Flip(axis="yx"[y % 2]),
            "rotate": lambda x=x: Rotate(turns=x),
            "accumulate": lambda y=y: Accumulate(nb_frames=y),
        }
        tasks.append(made[kind]())
        planned = tasks[-1].plan(spec)
        assert isinstance(planned, Spec)
        spec = planned
    return tasks


@st.composite
def cases(draw: st.DrawFn) -> tuple[Spec, list[Task], int]:
    grid = Grid((draw(st.integers(1, 9)), draw(st.integers(1, 9))))
    bands = ("a", "b")[: draw(st.integers(1, 2))]
    count = draw(st.integers(1, 9))
    spec = Spec(grid, np.dtype(draw(st.sampled_from(TYPES))), bands, count)
    return spec, draw(task_chains(spec)), draw(seeds)


@given(cases())
@settings(max_examples=150)
def test_frames_are_as_planned(case: tuple[Spec, list[Task], int]) -> None:
    spec, tasks, seed = case
    pipeline, parent = Pipeline(), "input"
    for number, task in enumerate(tasks):
        pipeline.add(f"n{number}", task, after=parent)
        parent = f"n{number}"
    pipeline.add("out", Collect(), after=parent)
    pipeline.add("stats", RoiStatistics(rois=[{"y": 0, "x": 0, "height": 1, "width": 1}]), parent)
    pipeline.add("profile", RoiProfiles(rois=[{"y": 0, "x": 0, "height": 1, "width": 1}]), parent)
    count = spec.nb_frames or 0
    frames = block(seed, spec, count, top=500)
    parts = [frames[start : start + 4] for start in range(0, count, 4)]
    result = run(pipeline, parts, spec)

    assert result.failures == []
    planned, out = result.plan["out"].inputs[0], result.frames
    assert out.pixels.shape[1:] == planned.frame_shape
    assert out.pixels.dtype == planned.dtype
    assert planned.bands == spec.bands
    assert planned.nb_frames == len(out) == -(-count // planned.nb_merged)
    assert out.numbers.tolist() == list(range(len(out)))
    if planned.masked is not None:
        masked = np.broadcast_to(planned.masked, out.pixels.shape)
        values = out.pixels[masked]
        fill = np.isnan(values) if planned.dtype.kind == "f" else values == planned.fill
        assert fill.all()
    for node in ("stats", "profile"):
        numbers, values = result.products(node)
        assert sorted(numbers.tolist()) == list(range(len(out)))
        promised = result.plan[node].output
        assert isinstance(promised, Products)
        sizes = {name: len(labels) for name, (_, labels) in promised.coordinates.items()}
        for name, variable in promised.variables.items():
            assert values[name].dtype == variable.dtype
            assert values[name].shape[1:] == tuple(sizes[dim] for dim in variable.dims)


@given(cases())
def test_a_labelled_block_comes_out_on_the_planned_grid(
    case: tuple[Spec, list[Task], int],
) -> None:
    from limadask.frames import Labels

    spec, tasks, seed = case
    labelled = Labels(spec)(block(seed, spec, top=500))
    for task in tasks:
        if isinstance(task, Accumulate):
            continue
        planned = task.plan(spec_of(labelled, like=spec.replace(masked=None)))
        labelled = task(labelled)
        read = spec_of(labelled)
        assert isinstance(planned, Spec)
        assert (read.grid, read.dtype, read.bands) == (planned.grid, planned.dtype, planned.bands)
