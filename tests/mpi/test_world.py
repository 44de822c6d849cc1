"""Real worlds of MPI: results against NumPy, and ranks that raise, hang, exit and are killed.

What a rank does is told by the number of the block's first frame, so that one world serves many
tests.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import psutil
import pytest
import xarray as xr
from harness import chained, run
from strategies import block

import limadask as ld
from limadask.frames import Frames, Labels, Spec
from limadask.geometry import Grid
from limadask.mpi import collective
from limadask.mpi.world import WorldEnded, WorldError
from limadask.testing.leftovers import Leftovers

SPEC = Spec(Grid((9, 7)), np.dtype("u2"), ("a", "b"))
ALL_RAISE, ONE_RAISES, EXITS, KILLED, HANGS = 1000, 1001, 1002, 1003, 1004
LEAVES_A_MESSAGE, LISTENS, WRITES = 1005, 1006, 1007
NAMES = "masked", "invalid"
RETURNS_NOTHING, RETURNS_DOUBLES = 1008, 1020


def planned(spec: ld.Spec) -> ld.Products:
    kinds = {"total": ("band", "f8"), "pid": ("rank", "i8")}
    found = {name: ld.Variable((dim,), np.dtype(kind)) for name, (dim, kind) in kinds.items()}
    return ld.Products(found, {"band": (("band",), list(spec.bands)), "rank": (("rank",), [0, 1])})


@ld.mpi_task(plan=planned)
def total(comm: Any, block: xr.DataArray) -> Any:
    """Sums over bands, each rank its rows; and all process numbers."""
    order, is_second = int(block.frame[0]), comm.rank == 1
    if order == ALL_RAISE or (order == ONE_RAISES and is_second):
        raise ValueError(f"frame {order} is bad")
    if order == EXITS and is_second:
        os._exit(0)
    if order == KILLED and is_second:
        os.kill(os.getpid(), signal.SIGKILL)
    if order == HANGS and is_second:
        threading.Event().wait(60)
    if order == LEAVES_A_MESSAGE:
        if is_second:
            comm.send("old", dest=0)
        raise ValueError("nobody receives it")
    if order == LISTENS and comm.iprobe():
        raise ValueError("a message of another block has come")
    if order == WRITES:
        block.values[:] = 0
    mine = block[..., comm.rank :: comm.size, :].sum(("y", "x"), dtype="f8").values
    whole, pids = comm.allreduce(mine), comm.allgather(os.getpid())
    if comm.rank:
        return None  # only what rank 0 returns counts
    return {"total": (("frame", "band"), whole), "pid": (("frame", "rank"), [pids] * len(whole))}


@ld.mpi_task(plan="f4")
def divided(comm: Any, block: xr.DataArray, by: float = 2.0) -> Any:
    """Frames: each rank divides every other one."""
    first = int(block.frame[0])
    parts = comm.gather(block[comm.rank :: comm.size].astype("f4") / np.float32(by))
    if comm.rank or first == RETURNS_NOTHING:
        return None
    found = xr.concat(parts, "frame", coords="minimal", compat="override").sortby("frame")
    return found.astype("f8") if first == RETURNS_DOUBLES else found


@pytest.fixture(autouse=True, scope="module")
def _by_value() -> Iterator[None]:
    """Let ranks get what a test's module defines, though they cannot import it."""
    module = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(module)
    yield
    cloudpickle.unregister_pickle_by_value(module)


@pytest.fixture(scope="module")
def world(_by_value: None) -> Iterator[Any]:
    """A world that stands any number of deaths."""
    made = total(restarts=100, timeout=60).setup(SPEC)
    yield made
    made.close()


def labelled(first: int, count: int = 4, seed: int = 0) -> xr.DataArray:
    return Labels(SPEC)(Frames.of(block(seed, SPEC, count).pixels, first))


def sums(frames: xr.DataArray) -> Any:
    return frames.values.sum((2, 3), dtype="f8")


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def pids(found: Any) -> list[int]:
    return [int(one) for one in found["pid"].values[0]]


def test_all_ranks_enter_with_the_same_block(world: Any) -> None:
    for seed, count in enumerate((3, 1, 50, 2)):  # memory grows with the largest
        frames = labelled(10 * seed, count, seed)
        found = world(frames)
        np.testing.assert_array_equal(found["total"], sums(frames))
        assert len(set(pids(found))) == 2
        assert os.getpid() not in pids(found)


def test_shared_memory_of_mpich_has_no_name_that_could_be_left_behind(world: Any) -> None:
    maps = [Path(f"/proc/{pid}/maps").read_text() for pid in pids(world(labelled(0)))]
    names = {
        line.split(maxsplit=5)[5]
        for one in maps
        for line in one.splitlines()
        if "mpich_shm" in line
    }
    assert names, "this MPI has other names: world.SEGMENT must know them"
    assert all(name.endswith("(deleted)") for name in names)


def test_several_threads_take_turns(world: Any) -> None:
    blocks = [labelled(10 * one, 3, one) for one in range(8)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(world, blocks))
    for one, found in zip(blocks, results, strict=True):
        np.testing.assert_array_equal(found["total"], sums(one))


def test_what_all_raise_costs_the_block_alone(world: Any) -> None:
    before = pids(world(labelled(0)))
    with pytest.raises(WorldError, match=r"ValueError: frame 1000 is bad \(rank 0, 1\)"):
        world(labelled(ALL_RAISE))
    assert pids(world(labelled(0))) == before


def test_a_block_is_read_only(world: Any) -> None:
    with pytest.raises(WorldError, match="read-only"):
        world(labelled(WRITES))


def test_messages_of_a_block_that_failed_are_not_received_by_the_next(world: Any) -> None:
    for _ in range(3):
        with pytest.raises(WorldError, match="nobody receives it"):
            world(labelled(LEAVES_A_MESSAGE))
        np.testing.assert_array_equal(world(labelled(LISTENS))["total"], sums(labelled(LISTENS)))


def test_a_world_in_which_much_was_raised_is_replaced_in_time(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collective, "COMMUNICATORS", world._nb_failed + 2)
    before, left = pids(world(labelled(0))), world._left
    for _ in range(2):
        with pytest.raises(WorldError, match="frame 1000 is bad"):
            world(labelled(ALL_RAISE))
    assert not set(pids(world(labelled(0)))) & set(before)
    assert world._left == left


@pytest.mark.parametrize(
    ("first", "text"),
    [
        (ONE_RAISES, r"ValueError: frame 1001 is bad \(rank 1\), and rank 0 has not ended since"),
        (KILLED, "rank 1 of 2 has died"),
    ],
)
def test_a_world_that_is_lost_costs_its_block_and_is_started_again(
    world: Any, first: int, text: str
) -> None:
    before = pids(world(labelled(0)))
    with pytest.raises(WorldEnded, match=text):
        world(labelled(first))
    assert not any(map(is_alive, before))
    found = world(labelled(20))
    np.testing.assert_array_equal(found["total"], sums(labelled(20)))
    assert not set(pids(found)) & set(before)


def test_a_rank_that_dies_between_two_blocks_costs_none(world: Any) -> None:
    before = pids(world(labelled(0)))
    os.kill(before[0], signal.SIGKILL)
    psutil.Process(before[0]).wait(20)
    found = world(labelled(30))
    np.testing.assert_array_equal(found["total"], sums(labelled(30)))


def test_frames_are_lost_with_their_world_until_its_restarts_are_used_up() -> None:
    before = Leftovers()
    pipe = chained(total(restarts=1, timeout=1.0), collect=False)
    firsts = [0, HANGS, 100, EXITS, 200, 300]
    blocks = [Frames.of(block(one, SPEC, 3).pixels, one) for one in firsts]
    result = run(pipe, blocks, SPEC)
    assert [(one.first, one.last) for one in result.failures] == [
        (HANGS, HANGS + 2), (EXITS, EXITS + 2), (200, 202), (300, 302)
    ]  # fmt: skip
    texts = [one.text for one in result.failures]
    assert "rank" in texts[0]
    assert "not ended within 1 s" in texts[0]
    for text in texts[2:]:
        assert "has ended 2 times, the last time because rank 1 of 2 has died: restarts=1" in text
    numbers, values = result.products("n0")
    assert numbers.tolist() == [0, 1, 2, 100, 101, 102]
    whole = np.concatenate([blocks[0].pixels, blocks[2].pixels])
    np.testing.assert_array_equal(values["total"], whole.sum((2, 3), dtype="f8"))
    assert before.found() == set()


def test_a_block_in_a_world_that_is_closed_does_not_keep_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(collective, "ENDING", 0.5)  # a block may take so long to end
    before, made = Leftovers(), total(timeout=100.0).setup(SPEC)
    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(made, labelled(HANGS))
        while not made._lock.locked():
            assert not hanging.done()
        made.close()
        with pytest.raises(WorldEnded, match="has died"):
            hanging.result(20)
    with pytest.raises(WorldError, match="the run is over"):
        made(labelled(0))
    assert before.found() == set()


def test_frames_that_ranks_return_are_held_against_the_plan() -> None:
    firsts = [7, RETURNS_NOTHING, RETURNS_DOUBLES, 20]
    blocks = [block(3, SPEC, 5, first) for first in firsts]
    result = run(chained(divided(by=4.0)), blocks, SPEC)
    told = {one.first: one.text for one in result.failures}
    assert set(told) == {RETURNS_NOTHING, RETURNS_DOUBLES}
    assert "must return a DataArray" in told[RETURNS_NOTHING]
    assert "it returned NoneType" in told[RETURNS_NOTHING]
    assert "planned frames (2, 9, 7) float32" in told[RETURNS_DOUBLES]
    good = [blocks[0], blocks[3]]
    pixels = np.concatenate([one.pixels for one in good]).astype("f4") / 4
    np.testing.assert_array_equal(result.frames.pixels, pixels)
    numbers = np.concatenate([one.numbers for one in good])
    np.testing.assert_array_equal(result.frames.numbers, numbers)
    assert (result.frames.timestamps == (numbers * 1000 + 7)).all()


@ld.mpi_task(plan={"masked": "i8", "invalid": "i8"})
def missing_pixels(comm: Any, block: xr.DataArray) -> Any:
    """How many pixels of each frame have no value, as rank 1 sees it."""
    found = np.zeros((2, block.sizes["frame"], block.sizes["band"]), "i8")
    if comm.rank == 1:
        found[0] = block.masked.sum()
        found[1] = block.invalid.sum(("y", "x")) if "invalid" in block.coords else 0
    found = comm.allreduce(found)
    return {name: (("frame", "band"), one) for name, one in zip(NAMES, found, strict=True)}


def test_masked_and_missing_pixels_are_known_to_the_ranks() -> None:
    masked, missing = np.zeros((9, 7), bool), np.zeros((9, 7), bool)
    masked[0], missing[1:3] = True, True
    spec = SPEC.replace(masked=masked)
    frames = block(0, spec, 3)
    frames.invalid = {1: missing}
    numbers, values = run(chained(missing_pixels(), collect=False), [frames], spec).products("n0")
    by_number = dict(zip(numbers.tolist(), values["masked"][:, 0].tolist(), strict=True))
    assert by_number == {0: 7, 1: 21, 2: 7}
    lacking = dict(zip(numbers.tolist(), values["invalid"][:, 0].tolist(), strict=True))
    assert lacking == {0: 0, 1: 21, 2: 0}
