"""``ld.process``: the same pipeline without Dask, held against NumPy."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from distributed import Client
from harness import chained
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import applied, chains, image, seeds, shapes, tasks_of

import limadask as ld
from limadask.frames import DIMS, Labels, Spec
from limadask.geometry import GridIndex
from limadask.pipeline import inline
from limadask_tasks import (
    Accumulate,
    Background,
    Bin,
    Crop,
    Flatfield,
    Flip,
    Mask,
    Observe,
    RoiProfiles,
    RoiStatistics,
)


@contextmanager
def blocks_of(frames: int, pixels: Any) -> Iterator[None]:
    """Let blocks have so many frames, as they would if these were large."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inline, "BLOCK", frames * pixels[0].nbytes)
        yield


def array(frames: xr.DataArray | xr.Dataset) -> NDArray[Any]:
    assert isinstance(frames, xr.DataArray)
    return np.asarray(frames.values)


def pipeline(*nodes: tuple[str, ld.Task, str]) -> ld.Pipeline:
    pipe = ld.Pipeline()
    for name, task, after in nodes:
        pipe.add(name, task, after=after)
    return pipe


@given(st.data(), seeds)
def test_frames_are_those_that_numpy_makes(data: st.DataObject, seed: int) -> None:
    shape = data.draw(shapes())
    chain = data.draw(chains(shape))
    count, bands = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 2))
    pixels = image(seed, (count, bands, *shape), data.draw(st.sampled_from(["u1", "u2", "i4"])))
    pipe = chained(*tasks_of(chain), collect=False)
    with blocks_of(data.draw(st.integers(1, 4)), pixels):
        found = ld.process(pixels, pipe)
    frames = found[f"n{len(chain) - 1}" if chain else "input"]
    np.testing.assert_array_equal(array(frames), applied(pixels.astype("i8"), chain))
    assert frames["frame"].values.tolist() == list(range(count))
    assert found.ledger.counts() == {"present": count, "partial": 0, "absent": 0, "vetoed": 0}
    assert (found.failures, found.files) == ([], {})


def test_branches_join_by_their_names() -> None:
    pixels = image(1, (10, 6, 8), "u2", top=1000)
    masked = np.zeros((6, 8), bool)
    masked[2, 3] = True
    dark, flat = image(2, (6, 8), "u2", top=50), 1 + np.random.default_rng(3).random((6, 8))
    pipe = pipeline(
        ("masked", Mask(array=masked), "input"),
        ("dark", Background(array=dark), "masked"),
        ("flat", Flatfield(array=flat), "dark"),
        ("stats", RoiStatistics(rois=[ld.Rect(1, 2, 4, 5, name="a"), ld.Rect(0, 0, 1, 1)]), "flat"),
        ("lines", RoiProfiles(rois=[ld.Rect(0, 0, 3, 4)], direction="horizontal"), "input"),
        ("small", Bin(y=2, x=2), "input"),
    )
    with blocks_of(3, pixels):
        found = ld.process(pixels, pipe, keep=["flat", "small"])
    assert set(found.data) == {"flat", "small", "stats", "lines"}
    by_hand = np.where(masked, np.nan, (pixels.astype("f8") - dark) / flat)
    np.testing.assert_allclose(array(found["flat"])[:, 0], by_hand, rtol=1e-5)
    np.testing.assert_array_equal(found["small"], applied(pixels[:, None], (SMALL,)))
    stats = found["stats"]
    assert stats["roi"].values.tolist() == ["a", "1"]
    part = by_hand[:, 1:5, 2:7]
    np.testing.assert_allclose(stats["sum"].sel(roi="a")[:, 0], np.nansum(part, (1, 2)), rtol=1e-5)
    assert (stats["count"].sel(roi="a") == 19).all()
    for node in ("stats", "lines"):
        np.testing.assert_array_equal(found[node]["frame"], range(10))


SMALL = ("bin", {"y": 2, "x": 2})


@pytest.mark.parametrize("shape", [(4, 5), (7, 4, 5), (7, 2, 4, 5)])
def test_arrays_may_have_two_to_four_dimensions(shape: tuple[int, ...]) -> None:
    pixels = image(1, shape, "u2")
    whole = {2: pixels[None, None], 3: pixels[:, None], 4: pixels}[len(shape)]
    for data in (pixels, xr.DataArray(whole, dims=DIMS), pixels.tolist()):
        found = ld.process(data, pipeline(("flip", Flip(axis="x"), "input")))["flip"]
        np.testing.assert_array_equal(found, whole[..., ::-1])


def test_labels_stay_whatever_the_blocks() -> None:
    spec = Spec(ld.Grid((8, 9)).crop(1, 2, 6, 7), np.dtype("u2"), ("4 keV", "8 keV"))
    plain = ld.Frames.of(image(1, (10, 2, 6, 7), "u2"), first=40)
    plain.timestamps = np.arange(10) * 1000 + 5
    block = Labels(spec)(plain)
    regions = [ld.Rect(3, 4, 3, 2)]
    pipe = pipeline(
        ("part", Crop(y=1, x=1, height=4, width=5), "input"),
        ("there", RoiStatistics(rois=regions, coordinates="detector"), "part"),
        ("sum", Accumulate(nb_frames=5), "part"),
    )
    with blocks_of(3, plain.pixels):
        found = ld.process(block, pipe, keep=["part", "sum"])
    part = found["part"]
    assert isinstance(part.xindexes["det_y"], GridIndex)
    assert (part["det_y"].values[0, 0], part["det_x"].values[0, 0]) == (2, 3)
    assert part["frame"].values.tolist() == list(range(40, 50))
    assert part["band"].values.tolist() == ["4 keV", "8 keV"]
    np.testing.assert_array_equal(part["timestamp"], plain.timestamps.view("M8[ns]"))
    expected = plain.pixels[:, :, 2:5, 2:4].sum((2, 3), dtype="i8")
    np.testing.assert_array_equal(found["there"]["sum"][..., 0], expected)
    cut = plain.pixels[:, :, 1:5, 1:6].reshape(2, 5, 2, 4, 5).sum(1, dtype="i8")
    np.testing.assert_array_equal(found["sum"], cut)
    assert found["sum"]["frame"].values.tolist() == [8, 9]
    assert found.ledger.counts() == {"present": 10, "partial": 0, "absent": 0, "vetoed": 0}


@given(st.integers(1, 20), st.integers(1, 7), st.integers(1, 6))
def test_sums_go_on_from_block_to_block(count: int, size: int, step: int) -> None:
    pixels = np.arange(count, dtype="u2").reshape(count, 1, 1) + np.zeros((1, 2, 3), "u2")
    with blocks_of(step, pixels):
        sums = ld.process(pixels, pipeline(("sum", Accumulate(nb_frames=size), "input")))["sum"]
    expected = [sum(range(start, min(start + size, count))) for start in range(0, count, size)]
    assert array(sums)[:, 0, 0, 0].tolist() == expected
    whole = [start + size <= count for start in range(0, count, size)]
    assert (sums["status"] == ld.Status.PRESENT).values.tolist() == whole


def test_frames_that_are_lazy_are_read_block_by_block_in_this_process(client: Client) -> None:
    happened: list[Any] = []

    def read(block: NDArray[Any]) -> NDArray[Any]:
        happened.append(("read", os.getpid()))
        return block

    @ld.task
    def work(block: xr.DataArray) -> xr.DataArray:
        if block.sizes["frame"] > 1:  # one blank frame is the trial
            happened.append(("work", os.getpid()))
        return block + 1

    pixels = image(1, (12, 4, 5), "u2", top=1000)
    lazy = da.from_array(pixels, (3, 4, 5)).map_blocks(read, dtype="u2", meta=np.empty((0, 0, 0)))
    data = xr.DataArray(lazy, dims=("frame", "y", "x"))
    assert client.status == "running"  # and has no part in it
    with blocks_of(3, pixels):
        found = ld.process(data, pipeline(("work", work(), "input")))["work"]
    np.testing.assert_array_equal(found[:, 0], pixels + 1)
    assert happened == [(what, os.getpid()) for _ in range(4) for what in ("read", "work")]


def test_an_observation_point_takes_part_and_changes_nothing() -> None:
    pixels = image(1, (10, 4, 5), "u2")
    flip = "flip", Flip(axis="y"), "input"
    with blocks_of(4, pixels):
        plain = ld.process(pixels, pipeline(flip))
        watched = ld.process(pixels, pipeline(flip, ("live", Observe(), "flip")), keep=["flip"])
    xr.testing.assert_identical(plain["flip"], watched["flip"])
    assert plain.ledger.counts() == watched.ledger.counts()
    assert not watched.failures


def test_a_task_that_raises_is_noted_and_the_rest_goes_on() -> None:
    @ld.task
    def picky(block: xr.DataArray) -> xr.DataArray:
        if (block["frame"] == 5).any():
            raise ValueError("not this one")
        return block

    pixels = image(1, (10, 4, 5), "u2")
    pipe = pipeline(("picky", picky(), "input"), ("flip", Flip(axis="y"), "input"))
    with blocks_of(2, pixels):
        found = ld.process(pixels, pipe)
    assert [(one.node, one.first, one.last) for one in found.failures] == [("picky", 4, 5)]
    assert "ValueError: not this one" in found.failures[0].text
    np.testing.assert_array_equal(found["flip"][:, 0], pixels[:, ::-1])
    assert found.ledger.ranges(ld.Status.PARTIAL) == [(4, 5, "task_error:picky")]


FRAMES = np.ones((3, 4, 5), "u2")
REFUSED: dict[str, tuple[Any, dict[str, Any]]] = {
    "no frames": (np.zeros(3), {}),
    "other dimensions": (xr.DataArray(np.zeros((3, 4, 5)), dims=("time", "y", "x")), {}),
    "truth values": (np.zeros((3, 4, 5), bool), {}),
    "half floats": (np.zeros((3, 4, 5), "f2"), {}),
    "no rows": (np.zeros((3, 0, 5)), {}),
    "numbers twice": (xr.DataArray(FRAMES, {"frame": [1, 2, 1]}, ("frame", "y", "x")), {}),
    "an unknown node to keep": (FRAMES, {"keep": ["flop"]}),
    "by-products to keep": (FRAMES, {"keep": ["stats"]}),
    "a sink to keep": (FRAMES, {"keep": ["live"]}),
    "frames too small": (FRAMES[:, :2, :2], {}),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_processed_is_refused(case: str) -> None:
    data, more = REFUSED[case]
    pipe = pipeline(
        ("bin", Bin(y=1, x=1), "input"),
        ("stats", RoiStatistics(rois=[ld.Rect(0, 0, 4, 4)]), "bin"),
        ("live", Observe(), "bin"),
    )
    assert ld.process(FRAMES, pipe)["stats"].sizes["frame"] == 3
    with pytest.raises(ld.ConfigError) as caught:
        ld.process(data, pipe, **more)
    assert caught.value.message
    assert not str(caught.value.node).endswith("-kept")


@pytest.mark.parametrize("dtype", [">u2", ">i4", ">f4"])
def test_numbers_may_have_either_order_of_bytes(dtype: str) -> None:
    pixels = image(1, (3, 4, 5), dtype[1:]).astype(dtype)
    found = ld.process(pixels, pipeline(("bin", Bin(y=2), "input")))["bin"]
    np.testing.assert_allclose(
        found[:, 0], applied(pixels.astype("f8"), (("bin", {"y": 2, "x": 1}),))
    )


def test_no_frames_give_no_frames() -> None:
    pipe = pipeline(
        ("flip", Flip(axis="y"), "input"),
        ("stats", RoiStatistics(rois=[ld.Rect(0, 0, 4, 4)]), "flip"),
    )
    found = ld.process(np.empty((0, 4, 5), "u2"), pipe, keep=["flip"])
    assert found["flip"].shape == (0, 1, 4, 5)
    assert dict(found["stats"].sizes) == {"frame": 0, "band": 1, "roi": 1}
