"""Vetoes: which frames are left out where, and what is told of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from harness import Collect, chained, run
from hypothesis import given
from hypothesis import strategies as st
from strategies import block

import limadask as ld
from limadask.errors import ConfigError
from limadask.frames import Frames, Spec, Status
from limadask.geometry import Grid, Rect
from limadask.pipeline import Pipeline, Plan, plan
from limadask_tasks import (
    Accumulate,
    Failing,
    Flatfield,
    Flip,
    MinIntensity,
    RoiStatistics,
    SaveHdf5,
)

COUNT = 12
SPEC = Spec(Grid((4, 6)), np.dtype("u2"), nb_frames=COUNT)
P, Q, V = int(Status.PRESENT), int(Status.PARTIAL), int(Status.VETOED)
STATS = RoiStatistics(rois=[Rect(0, 0, 4, 6)])


class Skip(Collect):
    """Collects what was not vetoed."""

    @property
    def skips_vetoed(self) -> bool:
        return True


@ld.veto
def one_of(block: xr.DataArray, every: int = 2, rest: int = 0) -> xr.DataArray:
    return block["frame"] % every == rest


def numbers(frames: Frames | None) -> list[int]:
    return [] if frames is None else frames.numbers.tolist()


@contextmanager
def never_dropping() -> Iterator[None]:
    """Let vetoed frames go on also where nobody wants them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Plan, "all_skip_vetoed", lambda self, name: False)
        yield


def test_frames_are_left_out_where_sinks_say_so_and_kept_elsewhere() -> None:
    pipe = Pipeline()
    pipe.add("third", one_of(every=3))
    pipe.add("flip", Flip(axis="y"), after="third")
    pipe.add("skips", Skip(), after="flip")
    pipe.add("keeps", Collect(), after="flip")
    pipe.add("stats", STATS, after="flip")
    pipe.add("before", Skip())
    frames = block(1, SPEC, COUNT)
    result = run(pipe, [frames], SPEC)
    assert result.failures == []
    kept = list(range(0, COUNT, 3))
    assert numbers(result.collected["skips"]) == kept
    np.testing.assert_array_equal(result.collected["skips"].pixels, frames.pixels[kept, :, ::-1])  # type: ignore[union-attr]
    status = [P if one in kept else V for one in range(COUNT)]
    assert result.collected["keeps"].status.tolist() == status  # type: ignore[union-attr]
    assert numbers(result.collected["before"]) == list(range(COUNT))
    assert result.products("stats")[0].tolist() == list(range(COUNT))
    (outcome,) = result.outcomes
    assert outcome.status().tolist() == status
    assert {outcome.cause(one) for one in range(COUNT) if one not in kept} == {"veto:third"}
    assert outcome.status().tolist() != frames.status.tolist()  # which nobody has changed


VETOES = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3)), min_size=1, max_size=3)


@given(vetoes=VETOES, cuts=st.sets(st.integers(1, COUNT - 1), max_size=3), sound=st.booleans())
def test_dropping_early_gives_the_same_as_not_dropping(
    vetoes: list[tuple[int, int]], cuts: set[int], sound: bool
) -> None:
    pipe, last = Pipeline(), "input"
    for place, (every, rest) in enumerate(vetoes):
        pipe.add(f"v{place}", one_of(every=every, rest=rest), after=last)
        pipe.add(f"flat{place}", Flatfield(np.full((4, 6), 2.0)), after=f"v{place}")
        last = f"flat{place}"
    pipe.add("out", Skip(), after=last)
    if sound:
        pipe.add("all", Collect())
    frames = block(2, SPEC, COUNT)
    edges = [0, *sorted(cuts), COUNT]
    parts = [frames[a:b] for a, b in itertools.pairwise(edges)]
    dropped = run(pipe, parts, SPEC)
    with never_dropping():
        whole = run(pipe, parts, SPEC)
    kept = [one for one in range(COUNT) if all(one % every == rest for every, rest in vetoes)]
    assert numbers(dropped.collected["out"]) == numbers(whole.collected["out"]) == kept
    if kept:
        np.testing.assert_array_equal(
            dropped.collected["out"].pixels,  # type: ignore[union-attr]
            whole.collected["out"].pixels,  # type: ignore[union-attr]
        )
    for one, other in zip(dropped.outcomes, whole.outcomes, strict=True):
        assert one.status().tolist() == other.status().tolist()
        causes = [[told.cause(number) for number in told.numbers] for told in (one, other)]
        assert causes[0] == causes[1]


def test_frames_are_dropped_where_nobody_wants_them() -> None:
    pipe = Pipeline()
    pipe.add("veto", one_of())
    pipe.add("flat", Flatfield(np.full((4, 6), 2.0)), after="veto")
    pipe.add("skips", Skip(), after="flat")
    assert plan(pipe, SPEC).all_skip_vetoed("veto")
    for task in (Collect(), STATS, Accumulate(nb_frames=2), Failing(frames=frozenset())):
        wanted = Pipeline([*pipe])
        wanted.add("wants", task, after="flat")
        assert not plan(wanted, SPEC).all_skip_vetoed("veto")


def test_a_frame_that_is_also_lost_to_an_error_is_that_first() -> None:
    pipe = Pipeline()
    pipe.add("veto", one_of())
    pipe.add("out", Skip(), after="veto")
    pipe.add("bad", Failing(frames=frozenset({3})))
    pipe.add("other", Collect(), after="bad")
    frames = block(1, SPEC, COUNT)
    frames.status[1:3], frames.causes = Q, {1: "packets_lost", 2: "packets_lost"}
    result = run(pipe, [frames[:3], frames[3:4], frames[4:]], SPEC)
    status = np.concatenate([outcome.status() for outcome in result.outcomes])
    assert status[:5].tolist() == [P, V, Q, Q, P]
    causes = [one.cause(n) for one in result.outcomes for n in one.numbers.tolist()]
    assert causes[1:4] == ["veto:veto", "packets_lost", "task_error:bad"]


def test_a_sum_of_vetoed_frames_is_whole_and_a_vetoed_sum_is_all_its_frames() -> None:
    pipe = Pipeline()
    pipe.add("veto", one_of())
    pipe.add("sum", Accumulate(nb_frames=4), after="veto")
    pipe.add("second", one_of(every=3, rest=1), after="sum")
    pipe.add("sums", Collect(), after="second")
    pipe.add("few", Skip(), after="second")
    frames = block(1, SPEC, COUNT)
    result = run(pipe, [frames], SPEC)
    assert result.collected["sums"].status.tolist() == [V, P, V]  # type: ignore[union-attr]
    assert numbers(result.collected["few"]) == [1]
    (outcome,) = result.outcomes
    causes = [outcome.cause(number) for number in range(COUNT)]
    assert causes[4:8] == ["detector", "veto:veto", "detector", "veto:veto"]
    assert causes[::2] == ["veto:second"] * 2 + ["detector"] * 2 + ["veto:second"] * 2
    assert outcome.status().tolist() == [V] * 4 + [P, V] * 2 + [V] * 4


def test_the_arguments_of_a_function_are_its_fields() -> None:
    assert one_of() == one_of(every=2, rest=0)
    assert one_of(every="3").every == 3
    assert one_of.task_name() == "one_of"
    with pytest.raises(ConfigError) as caught:
        one_of(evry=3)
    assert caught.value.allowed == ["every", "rest"]


RETURNS: dict[str, Any] = {
    "numbers": lambda block: np.ones(len(block)),
    "one value": lambda block: True,
    "too many": lambda block: np.ones(len(block) + 1, bool),
    "a value a band": lambda block: (block > 0).any(("y", "x")),
    "nothing": lambda block: None,
    "an error": lambda block: 1 / 0,
    "a change of the block": lambda block: block.values.fill(0) or block["frame"] >= 0,
}


@pytest.mark.parametrize("what", RETURNS)
def test_a_function_that_does_not_judge_is_refused(what: str) -> None:
    def wrong(block: xr.DataArray) -> Any:
        return RETURNS[what](block)

    def late(block: xr.DataArray) -> Any:
        return RETURNS[what](block) if block.any() else block["frame"] >= 0

    with pytest.raises(ConfigError, match="failed on a blank frame") as caught:
        plan(chained(ld.veto(wrong)()), SPEC)
    assert caught.value.node == "n0"
    result = run(chained(ld.veto(late)()), [block(1, SPEC, 3)], SPEC)
    assert [(one.node, one.first, one.last) for one in result.failures] == [("n0", 0, 2)]
    assert result.outcomes[0].status().tolist() == [Status.ABSENT] * 3


def test_what_a_veto_keeps_is_not_changed_by_the_next_tile() -> None:
    seen: list[xr.DataArray] = []

    @ld.veto
    def looks(block: xr.DataArray) -> xr.DataArray:
        seen.append(block)
        return block["frame"] >= 0

    frames = block(3, SPEC, COUNT)
    flat = Flatfield(np.full((4, 6), 2.0))
    run(chained(flat, looks(), collect=False), [frames[:6], frames[6:]], SPEC)
    np.testing.assert_array_equal(np.concatenate(seen[1:]), frames.pixels / 2)


def test_saved_frames_tell_who_was_left_out(tmp_path: Path) -> None:
    pixels = np.zeros((COUNT, 4, 6), "u2")
    pixels[[2, 5], 1, 1] = 9
    pipe = Pipeline()
    pipe.add("hits", MinIntensity(minimum=9))
    for vetoed in ("skip", "keep"):
        pipe.add(vetoed, SaveHdf5(folder=str(tmp_path), prefix=vetoed, vetoed=vetoed), after="hits")  # type: ignore[arg-type]
    result = ld.process(pixels, pipe)
    assert result.ledger.counts() == {"present": 2, "partial": 0, "absent": 0, "vetoed": 10}
    for vetoed, fill in (("skip", 65535), ("keep", 0)):
        data: Any = ld.open(result.files[vetoed])["entry/data"]
        status = data["frame_status"].values
        assert np.flatnonzero(status == P).tolist() == [2, 5]
        assert (np.delete(status, [2, 5]) == V).all()
        assert data["frame_cause"].values[:3].tolist() == ["veto:hits", "veto:hits", ""]
        assert data["data"].values[[0, 2]].max(axis=(1, 2)).tolist() == [fill, 9]


def test_frames_kept_at_a_veto_are_returned_with_their_status() -> None:
    result = ld.process(block(1, SPEC, COUNT).pixels, chained(one_of(), collect=False))
    assert result["n0"]["status"].values.tolist() == [P, V] * (COUNT // 2)
    assert result.ledger.counts()["vetoed"] == COUNT // 2
