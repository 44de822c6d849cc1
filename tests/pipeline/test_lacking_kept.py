"""What is kept of frames that lack pixels: looked at, held, walked; and what is not kept."""

from __future__ import annotations

from typing import Any

import numpy as np
from harness import Collect, chained
from strategies import block, lacking

from limadask.frames import Spec, Status, concatenated
from limadask.geometry import Grid, Rect
from limadask.parameters import Policy
from limadask.pipeline import Pipeline, Program, plan, program
from limadask.pipeline.hold import Hold
from limadask_tasks import Flatfield, Flip, MinIntensity, Observe, RoiStatistics

SHAPE = 6, 8
SPEC = Spec(Grid(SHAPE), np.dtype("u2"), ("a", "b"), 5)


def test_what_is_looked_at_and_held_tells_what_it_lacks() -> None:
    pipe = Pipeline()
    pipe.add("flip", Flip(axis="x"))
    pipe.add("live", Observe(history=5), after="flip")
    pipe.add("held", Hold(max_held=9), after="flip")
    mask = np.eye(6, 8, dtype=bool)
    compiled = Program(plan(pipe, SPEC), Policy())
    frames = lacking(block(1, SPEC, 5), {2: mask, 4: mask})
    for part in (slice(0, 2), slice(2, 5)):
        compiled.run(frames[part])
    live: Any = compiled.writers["live"]
    held: Any = compiled.writers["held"]
    blocks = held.take_all()
    assert ["invalid" in one.coords for one in blocks] == [False, True]
    for found in (live.recent(), concatenated(blocks), concatenated(blocks[::-1])):
        assert found["frame"].values.tolist() == list(range(5))
        assert found["invalid"].dims == ("frame", "band", "y", "x")
        assert found["invalid"].any(("band", "y", "x")).values.tolist() == [0, 0, 1, 0, 1]
        np.testing.assert_array_equal(found["invalid"].values[2, 1], mask[:, ::-1])
    np.testing.assert_array_equal(live.latest()["invalid"].values[0, 0], mask[:, ::-1])


def test_many_patterns_are_not_kept_for_ever() -> None:
    flat = Flatfield(np.ones(SHAPE))
    compiled = Program(plan(chained(flat, Flip(axis="y")), SPEC.replace(nb_frames=None)), Policy())
    random = np.random.default_rng(1)
    for number in range(3 * program.PATTERNS):
        frames = lacking(block(1, SPEC, 1, first=number), {number: random.random(SHAPE) < 0.5})
        compiled.run(frames)
        assert len(compiled._variants) <= program.PATTERNS
    steps = list(compiled._variants.values())
    compiled.run(frames)  # the last one is still known
    assert list(compiled._variants.values())[-1] is steps[-1]
    writer: Any = compiled.writers["out"]
    compiled.close()
    assert len(writer.parts) == 3 * program.PATTERNS + 1


def test_a_block_walked_node_by_node_gives_the_same() -> None:
    pipe = chained(Flip(axis="x"), MinIntensity(minimum=3000, statistic="max"), collect=False)
    pipe.add("out", Collect(), after="n1")
    pipe.add("stats", RoiStatistics(rois=[Rect(0, 0, *SHAPE)]), after="n0")
    for missing in ({}, {1: np.eye(6, 8, dtype=bool), 3: np.ones(SHAPE, bool)}):
        frames = block(1, SPEC, 5, top=9000)
        frames.pixels[2] = 0
        frames = lacking(frames, missing)
        walked, straight = (Program(plan(pipe, SPEC), Policy()) for _ in range(2))
        walk = walked.walk(frames)
        for step in walked.steps:
            walk.step(step.label)
        one, other = walk.finish(), straight.run(frames)
        assert one.status().tolist() == other.status().tolist()
        assert one.cause(2) == other.cause(2) == "veto:n1"
        assert one.status()[2] == Status.VETOED
        outs: list[Any] = [each.writers["out"] for each in (walked, straight)]
        np.testing.assert_array_equal(outs[0].frames.pixels, outs[1].frames.pixels)
        assert set(outs[0].frames.invalid) == set(missing)
        counts = [each.products["stats"][1]["count"] for each in (one, other)]
        np.testing.assert_array_equal(counts[0], counts[1])
