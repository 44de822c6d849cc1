"""Sums of frames that lack pixels."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from harness import Collect, run
from hypothesis import given
from hypothesis import strategies as st
from strategies import block, lacking, seeds

from limadask.frames import Frames, Labels, Spec, Status
from limadask.geometry import Grid, Rect
from limadask.parameters import Policy
from limadask.pipeline import Pipeline, Program, plan
from limadask.pipeline.inline import process
from limadask_tasks import Accumulate, Flip, RoiStatistics

COUNT = 12
SHAPE = 4, 5
SPEC = Spec(Grid(SHAPE), np.dtype("u2"), ("a", "b"), COUNT)


def summed(size: int) -> Pipeline:
    """Sums, turned, collected and measured."""
    pipe = Pipeline()
    pipe.add("sum", Accumulate(nb_frames=size))
    pipe.add("flip", Flip(axis="y"), after="sum")
    pipe.add("out", Collect(), after="flip")
    pipe.add("stats", RoiStatistics(rois=[Rect(0, 0, *SHAPE)]), after="flip")
    return pipe


def given_frames(seed: int, missing: dict[int, Any], absent: set[int]) -> Frames:
    """Frames of which some lack pixels and some never came."""
    frames = lacking(block(seed, SPEC, COUNT, top=5000), missing)
    there = np.array([number not in absent for number in range(COUNT)])
    return frames.taking(there)


def cut(frames: Frames, edges: set[int]) -> list[Frames]:
    """The same in several blocks, which account for all numbers."""
    parts, bounds = [], [0, *sorted(edges), COUNT]
    for first, stop in itertools.pairwise(bounds):
        chosen = (frames.numbers >= first) & (frames.numbers < stop)
        one = frames.taking(chosen)
        one.span = first, stop
        if len(one):
            parts.append(one)
    return parts


@given(
    seed=seeds,
    size=st.integers(1, 5),
    lacks=st.sets(st.integers(0, COUNT - 1), max_size=5),
    absent=st.sets(st.integers(0, COUNT - 1), max_size=5),
    edges=st.sets(st.integers(1, COUNT - 1), max_size=4),
    order=st.randoms(use_true_random=False),
)
def test_a_sum_lacks_what_any_of_its_frames_lacks(
    seed: int, size: int, lacks: set[int], absent: set[int], edges: set[int], order: Any
) -> None:
    random = np.random.default_rng(seed)
    shapes = [SHAPE, SPEC.frame_shape]
    missing = {one: random.random(shapes[one % 2]) < 0.2 for one in lacks}
    missing = {one: mask for one, mask in missing.items() if mask.any()}
    frames = given_frames(seed, missing, absent)
    parts = cut(frames, edges)
    order.shuffle(parts)
    result = run(summed(size), parts, SPEC)
    assert result.failures == []
    there = dict(zip(frames.numbers.tolist(), frames.pixels.astype("i8"), strict=True))
    groups = sorted({number // size for number in there})
    if not groups:
        assert result.collected["out"] is None
        return
    out = result.frames
    assert out.numbers.tolist() == groups
    numbers, values = result.products("stats")
    assert sorted(numbers.tolist()) == groups
    for place, group in enumerate(groups):
        members = [one for one in range(group * size, (group + 1) * size) if one in there]
        lost = np.zeros(SPEC.frame_shape, bool)
        for one in members:
            lost |= missing.get(one, False)
        total = np.sum([there[one] for one in members], axis=0)
        fill = result.plan["out"].inputs[0].fill
        np.testing.assert_array_equal(out.pixels[place], np.where(lost, fill, total)[:, ::-1])
        found = out.invalid.get(group)
        assert (found is not None) == bool(lost.any())
        if found is not None:
            np.testing.assert_array_equal(np.broadcast_to(found, lost.shape), lost[:, ::-1])
        row = numbers.tolist().index(group)
        assert values["count"][row, :, 0].tolist() == (~lost).sum(axis=(1, 2)).tolist()
        is_whole = len(members) == size and not lost.any()
        assert out.status[place] == (Status.PRESENT if is_whole else Status.PARTIAL)


def test_a_frame_that_lacks_pixels_completes_the_sum_before_it() -> None:
    mask = np.eye(*SHAPE, dtype=bool)
    frames = given_frames(1, {4: mask}, absent={3})  # so that frame 4 answers for 3 as well
    compiled = Program(plan(summed(4), SPEC), Policy())
    compiled.run(frames[:4])
    writer: Any = compiled.writers["out"]
    assert writer.frames.numbers.tolist() == [0]
    assert [outcome.numbers.tolist() for outcome in compiled.drain()] == [[1]]  # frame 4 alone
    compiled.close()


def test_sums_are_in_order_whatever_they_lack() -> None:
    frames = given_frames(1, {0: np.eye(*SHAPE, dtype=bool), 7: np.ones(SHAPE, bool)}, set())
    labelled = Labels(SPEC)(frames)
    pipe = Pipeline()
    pipe.add("sum", Accumulate(nb_frames=3))
    pipe.add("stats", RoiStatistics(rois=[Rect(0, 0, *SHAPE)]), after="sum")
    pipe.add("flip", Flip(axis="x"), after="sum")
    result = process(labelled, pipe)
    for node in ("stats", "flip"):
        assert result[node]["frame"].values.tolist() == [0, 1, 2, 3]
    assert result["stats"]["count"].values[:, 0, 0].tolist() == [16, 20, 0, 20]
    assert result["flip"]["invalid"].sum(("y", "x")).values[:, 1].tolist() == [4, 0, 20, 0]
