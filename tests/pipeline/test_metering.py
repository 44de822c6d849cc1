"""What a program holds for its frames is known, stage by stage, and let go of in the end."""

from __future__ import annotations

import gc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from strategies import block

from limadask.frames import Spec
from limadask.geometry import Grid, Rect
from limadask.memory import METERS, Usage
from limadask.parameters import Policy
from limadask.pipeline import Pipeline, Program, plan
from limadask.pipeline.hold import Hold
from limadask_tasks import Flatfield, Observe, RoiStatistics, SaveHdf5

SPEC = Spec(Grid((64, 64)), np.dtype("u2"), nb_frames=None)
FLOATS = 64 * 64 * 4
FLAT = Flatfield(np.full((64, 64), 2.0))
UUID = "metered"


def told() -> dict[tuple[str, str], Usage]:
    """What each stage of each node holds, whatever it consists of."""
    gc.collect()
    found: dict[tuple[str, str], Usage] = {}
    for one in METERS.usages():
        if one.uuid == UUID:
            key = one.stage, one.node
            found[key] = added(found[key], one) if key in found else one
    return found


def added(first: Usage, second: Usage) -> Usage:
    sums = {
        name: getattr(first, name) + getattr(second, name)
        for name in ("allocated", "in_use", "high_water", "total")
    }
    return replace(first, **sums)


def pipeline(folder: Path) -> Pipeline:
    pipe = Pipeline()
    pipe.add("flat", FLAT)
    pipe.add("stats", RoiStatistics(rois=[Rect(0, 0, 8, 8)]), after="flat")
    pipe.add("live", Observe(history=3), after="flat")
    pipe.add("last", Hold(max_held=2), after="flat")
    pipe.add("file", SaveHdf5(folder=str(folder)), after="flat")
    return pipe


def test_every_stage_is_metered_while_blocks_go_through(tmp_path: Path) -> None:
    program = Program(plan(pipeline(tmp_path), SPEC), Policy(), UUID)
    before = told()
    for first in range(3):
        program.run(block(first, SPEC, 8, first=8 * first))
    now = told()
    assert now["scratch", "flat"].allocated == 8 * FLOATS
    assert now["scratch", "flat"].total == before["scratch", "flat"].total + 8 * FLOATS
    assert now["scratch", "file"].allocated >= FLOATS
    assert now["observe", "live"].in_use == 3 * FLOATS
    assert now["observe", "last"].in_use == 2 * 8 * FLOATS
    assert now["chunks", ""].in_use == 0
    assert 0 < now["chunks", ""].high_water <= 8 * FLOATS + 8 * 64
    program.close()
    assert told()["scratch", "flat"].allocated == 0
    assert told()["scratch", "file"].allocated == 0
    del program
    assert told() == {}


def test_chunks_of_a_block_that_is_never_finished_are_not_counted_for_ever(tmp_path: Path) -> None:
    program = Program(plan(pipeline(tmp_path), SPEC), Policy(), UUID, fresh=True)
    walk: Any = program.walk(block(1, SPEC, 4))
    for step in program.steps:
        walk.step(step.label)
    assert told()["chunks", ""].in_use > 0
    del walk
    assert told()["chunks", ""].in_use == 0
    program.close()


def test_blocks_that_walk_at_the_same_time_have_memory_of_their_own(tmp_path: Path) -> None:
    program = Program(plan(pipeline(tmp_path), SPEC), Policy(), UUID, fresh=True)
    blocks = [block(number, SPEC, 4, first=4 * number) for number in range(2)]
    walks = [program.walk(one) for one in blocks]
    for step in program.steps:
        for walk in walks:
            walk.step(step.label)
    for walk, frames in zip(walks, blocks, strict=True):
        _, values = walk.finish().products["stats"]
        sums = frames.pixels[:, 0, :8, :8].astype("f8").sum((1, 2)) / 2
        np.testing.assert_allclose(values["sum"][:, 0, 0], sums)
    program.close()
