"""Sums over blocks, with frames that never come, and from several threads."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import numpy as np
import pytest
from harness import Collect, Collector, Result, chained, run
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import block

from limadask.frames import Frames, Spec, Status
from limadask.geometry import Grid
from limadask.parameters import Policy
from limadask.pipeline import Pipeline, Program, plan
from limadask_tasks import Accumulate, Bin

SHAPE = (3, 4)


def spec_for(nb_frames: int | None) -> Spec:
    return Spec(Grid(SHAPE), np.dtype("u2"), ("a", "b"), nb_frames)


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[int, int, list[Frames]]:
    """Frames of a run of which some never come, cut into blocks that account for all."""
    total, size = draw(st.integers(1, 30)), draw(st.integers(1, 7))
    whole = block(draw(st.integers(0, 99)), spec_for(total), total)
    kept = np.array(sorted(draw(st.sets(st.integers(0, total - 1), min_size=1))))
    whole = Frames(
        whole.pixels[kept],
        whole.numbers[kept],
        whole.timestamps[kept],
        whole.status[kept],
        (0, total),
    )
    cuts = sorted(draw(st.sets(st.integers(1, len(kept)), max_size=5)) | {0, len(kept)})
    return total, size, [whole[a:b] for a, b in itertools.pairwise(cuts)]


def check(result: Result, total: int, size: int, blocks: list[Frames]) -> None:
    """Hold the sums against NumPy's."""
    numbers = np.concatenate([one.numbers for one in blocks])
    pixels = np.concatenate([one.pixels for one in blocks]).astype(object)
    stamps = np.concatenate([one.timestamps for one in blocks])
    out = result.frames
    assert out.numbers.tolist() == sorted({number // size for number in numbers.tolist()})
    for place, group in enumerate(out.numbers.tolist()):
        mine = numbers // size == group
        assert (out.pixels[place].astype(object) == pixels[mine].sum(axis=0)).all()
        whole = mine.sum() == size
        assert out.status[place] == (Status.PRESENT if whole else Status.PARTIAL)
        assert out.timestamps[place] == stamps[mine].min()


@given(deliveries(), st.booleans())
@settings(max_examples=150)
def test_sums_reach_over_blocks_and_leave_out_what_did_not_come(
    case: tuple[int, int, list[Frames]], known: bool
) -> None:
    total, size, blocks = case
    spec = spec_for(total if known else None)
    check(run(chained(Accumulate(nb_frames=size)), blocks, spec), total, size, blocks)


@given(deliveries(), st.randoms(use_true_random=False))
def test_blocks_may_come_in_any_order(case: tuple[int, int, list[Frames]], random: Any) -> None:
    total, size, blocks = case
    random.shuffle(blocks)
    result = run(chained(Accumulate(nb_frames=size)), blocks, spec_for(total))
    check(result, total, size, blocks)


@given(deliveries())
@settings(max_examples=20)
def test_two_threads_sum_as_one(case: tuple[int, int, list[Frames]]) -> None:
    total, size, blocks = case
    spec = spec_for(total)
    compiled = Program(plan(chained(Accumulate(nb_frames=size)), spec), Policy())

    def work(part: list[Frames]) -> None:
        for one in part:
            compiled.run(one)

    threads = [threading.Thread(target=work, args=(blocks[n::2],)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    list(compiled.drain())
    writer = compiled.writers["out"]
    assert isinstance(writer, Collector)
    result = Result(compiled.plan, collected={"out": writer.frames})
    check(result, total, size, blocks)
    compiled.close()


def test_a_sum_goes_on_as_soon_as_all_its_frames_are_accounted_for() -> None:
    spec = spec_for(8)
    whole = block(1, spec, 8)
    compiled = Program(plan(chained(Accumulate(nb_frames=4)), spec), Policy())
    writer = compiled.writers["out"]
    assert isinstance(writer, Collector)
    compiled.run(whole[0:3])
    assert writer.frames is None
    late = whole[4:6]
    late.span = (3, 6)  # frame 3 will never come
    compiled.run(late)
    assert writer.frames is not None
    assert writer.frames.numbers.tolist() == [0]
    assert writer.frames.status.tolist() == [Status.PARTIAL]
    compiled.run(whole[6:8])
    assert writer.frames.numbers.tolist() == [0, 1]
    assert list(compiled.drain()) == []
    compiled.close()


def test_draining_gives_the_incomplete_ones_as_partial() -> None:
    spec = spec_for(100)
    whole = block(1, spec, 100)
    pipe = Pipeline()
    pipe.add("sum", Accumulate(nb_frames=10))
    pipe.add("bin", Bin(y=3, x=4), after="sum")
    pipe.add("out", Collect(), after="bin")
    compiled = Program(plan(pipe, spec), Policy())
    compiled.run(whole[0:13])
    compiled.run(whole[20:25])
    writer = compiled.writers["out"]
    assert isinstance(writer, Collector)
    assert writer.frames is not None
    assert writer.frames.numbers.tolist() == [0]
    (outcome,) = compiled.drain()
    assert outcome.numbers.tolist() == [1, 2]
    assert outcome.status().tolist() == [Status.PARTIAL] * 2
    assert writer.frames.numbers.tolist() == [0, 1, 2]
    expected = whole.pixels[20:25].sum(axis=(0, 2, 3), dtype="u8")
    assert writer.frames.pixels[2].ravel().tolist() == expected.tolist()
    assert list(compiled.drain()) == []
    compiled.close()


@pytest.mark.parametrize("first", [2, 3])
def test_sums_of_sums_are_sums(first: int) -> None:
    spec = spec_for(23)
    whole = block(5, spec, 23)
    result = run(
        chained(Accumulate(nb_frames=first), Accumulate(nb_frames=4)),
        [whole[0:5], whole[5:6], whole[6:20], whole[20:]],
        spec,
    )
    size = first * 4
    for number, frame in zip(result.frames.numbers.tolist(), result.frames.pixels, strict=True):
        part = whole.pixels[number * size : (number + 1) * size].astype(object)
        assert (frame.astype(object) == part.sum(axis=0)).all()
    assert result.frames.numbers.tolist() == list(range(-(-23 // size)))


def test_a_frame_received_in_part_makes_its_sum_partial() -> None:
    spec = spec_for(6)
    whole = block(1, spec, 6)
    whole.status[4] = Status.PARTIAL
    out = run(chained(Accumulate(nb_frames=3)), [whole], spec).frames
    assert out.status.tolist() == [Status.PRESENT, Status.PARTIAL]
