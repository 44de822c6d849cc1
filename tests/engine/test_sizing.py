"""Frames per block and blocks in the pool."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from limadask.engine.sizing import LEAST_SLOTS, RATE, WORK, size_blocks
from limadask.errors import ConfigError
from limadask.frames import Spec
from limadask.geometry import Grid
from limadask.parameters import Buffers, HardwareParameters

MIB = 1 << 20


def raw(side: int = 1024, nb_frames: int | None = None) -> Spec:
    return Spec(Grid((side, side)), np.dtype("u2"), nb_frames=nb_frames)


def hardware(expo_time: float = 0.0, **more: Any) -> HardwareParameters:
    return HardwareParameters(shape=(1024, 1024), expo_time=expo_time, **more)


def sized(
    spec: Spec, took: HardwareParameters, pool: int = 1 << 30, merged: int = 1, **buffers: Any
) -> tuple[int, int]:
    """Frames per block, and blocks at most."""
    count, least, most = size_blocks(spec, took.period, took, Buffers(**buffers), pool, merged)
    assert 2 <= least <= most
    return count, most


@given(
    side=st.integers(1, 4096),
    pool=st.integers(1, 4 << 30),
    period=st.sampled_from([0.0, 1e-4, 1e-3, 0.01, 0.3, 5.0]),
    nb_frames=st.none() | st.integers(1, 10**6),
    merged=st.integers(1, 50),
    trigger=st.sampled_from(["internal", "software"]),
    per_trigger=st.integers(1, 20),
)
def test_blocks_fit_into_the_pool_and_are_of_a_sensible_size(
    side: int,
    pool: int,
    period: float,
    nb_frames: int | None,
    merged: int,
    trigger: Any,
    per_trigger: int,
) -> None:
    spec = raw(side, nb_frames)
    took = hardware(period, trigger_mode=trigger, nb_frames_per_trigger=per_trigger)
    if pool < LEAST_SLOTS * spec.frame_nbytes:
        with pytest.raises(ConfigError) as caught:
            sized(spec, took, pool, merged)
        assert caught.value.field == "nbytes"
        return
    count, slots = sized(spec, took, pool, merged)
    assert count >= 1
    assert slots >= LEAST_SLOTS
    assert count * slots * spec.frame_nbytes <= pool
    assert count == 1 or count * spec.frame_nbytes <= WORK or period > 0
    if trigger != "internal":
        assert count <= per_trigger
    if nb_frames is not None:
        assert count <= -(-nb_frames // 16)
        assert slots <= max(LEAST_SLOTS, -(-nb_frames // count) + 1)
    assert count % merged == 0 or merged % count == 0  # whole groups, or groups of whole blocks


@given(st.sampled_from([1e-5, 1e-4, 1e-3, 0.01]), st.integers(1, 64))
def test_a_fast_detector_makes_at_most_a_hundred_blocks_a_second(period: float, side: int) -> None:
    count, _ = sized(raw(side), hardware(period), 4 << 30)
    assert 1 / (count * period) <= RATE * 1.001


@pytest.mark.parametrize(
    ("period", "expected"), [(1e-3, 100), (0.01, 10), (0.1, 1), (10.0, 1), (0.0, 128)]
)
def test_a_block_takes_a_tenth_of_a_second_or_a_good_deal_of_work(
    period: float, expected: int
) -> None:
    assert sized(raw(), hardware(period), 8 << 30)[0] == expected


def test_a_triggered_detector_does_not_wait_for_the_next_trigger() -> None:
    took = hardware(1e-3, trigger_mode="software", nb_frames_per_trigger=5)
    assert sized(raw(), took)[0] == 5


@pytest.mark.parametrize(("merged", "expected"), [(7, 98), (100, 100), (60, 60), (250, 50)])
def test_blocks_are_aligned_with_the_frames_that_are_summed(merged: int, expected: int) -> None:
    assert sized(raw(), hardware(1e-3), 8 << 30, merged)[0] == expected


@given(st.integers(1, 64), st.integers(1, 200))
def test_what_the_user_asks_for_is_done_or_refused(count: int, pool_frames: int) -> None:
    pool = pool_frames * raw().frame_nbytes
    if pool_frames >= 2 * count:
        assert sized(raw(), hardware(), pool, nb_frames_per_block=count) == (
            count,
            pool_frames // count,
        )
    else:
        with pytest.raises(ConfigError) as caught:
            sized(raw(), hardware(), pool, nb_frames_per_block=count)
        error = caught.value
        assert (error.node, error.field, error.value) == ("buffers", "nbytes", pool)
        assert error.allowed == f"at least {2 * count * raw().frame_nbytes}"


@given(st.integers(1, 2048), st.integers(1, 64 * MIB), st.none() | st.integers(1, 9))
def test_the_bytes_named_by_the_error_are_enough(side: int, pool: int, count: int | None) -> None:
    try:
        sized(raw(side), hardware(), pool, nb_frames_per_block=count)
    except ConfigError as error:
        enough = int(str(error.allowed).removeprefix("at least "))
        sized(raw(side), hardware(), enough, nb_frames_per_block=count)
        with pytest.raises(ConfigError):
            sized(raw(side), hardware(), enough - 1, nb_frames_per_block=count)
    else:
        assume(False)


@pytest.mark.parametrize(("threads", "floor"), [(1, 4), (2, 6), (8, 18), (40, 80)])
def test_the_floor_is_enough_for_all_threads(threads: int, floor: int) -> None:
    took = hardware(1e-3)
    count, least, most = size_blocks(
        raw(), took.period, took, Buffers(), 80 * 200 * MIB, 1, threads
    )
    assert (count, least, most) == (100, floor, 80)


@pytest.mark.parametrize(("least_nbytes", "floor"), [(1, 2), (9 * MIB, 4), (100 * MIB, 50)])
def test_the_floor_that_is_asked_for_is_made(least_nbytes: int, floor: int) -> None:
    buffers = Buffers(nb_frames_per_block=1, least_nbytes=least_nbytes)
    _, least, most = size_blocks(raw(), 0.0, hardware(), buffers, 100 * MIB)
    assert (least, most) == (floor, 50)


def test_a_floor_above_the_pool_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        sized(raw(), hardware(), 64 * MIB, least_nbytes=65 * MIB)
    error = caught.value
    assert (error.node, error.field, error.value) == ("buffers", "least_nbytes", 65 * MIB)
    assert error.allowed == f"at most {64 * MIB}"
