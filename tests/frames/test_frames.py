"""Blocks as bare arrays and as labelled ones."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from strategies import DTYPES, chains, dtypes, grid_after, image, seeds, shapes

from limadask.frames import DIMS, Frames, Labels, Spec, Status, fill_value, spec_of, unlabelled
from limadask.geometry import Grid, GridIndex


def frames_with_gaps(numbers: list[int], span: tuple[int, int]) -> Frames:
    count = len(numbers)
    return Frames(
        np.arange(count * 6, dtype="u2").reshape(count, 1, 2, 3),
        np.array(numbers, np.int64),
        np.array(numbers, np.int64) * 1000,
        np.array([Status.PRESENT, Status.PARTIAL] * count, np.uint8)[:count],
        span,
        1.5,
    )


@st.composite
def blocks(draw: st.DrawFn) -> Frames:
    numbers = sorted(draw(st.sets(st.integers(0, 40), min_size=1, max_size=10)))
    before, behind = draw(st.integers(0, 5)), draw(st.integers(0, 5))
    return frames_with_gaps(numbers, (max(0, numbers[0] - before), numbers[-1] + 1 + behind))


@given(blocks(), st.integers(1, 5))
def test_tiles_answer_together_for_all_frames_of_their_block(block: Frames, size: int) -> None:
    tiles = [block[start : start + size] for start in range(0, len(block), size)]
    spans = [tile.span for tile in tiles]
    assert spans[0][0] == block.span[0]
    assert spans[-1][1] == block.span[1]
    assert all(one[1] == other[0] for one, other in itertools.pairwise(spans))
    for tile in tiles:
        assert tile.span[0] <= tile.numbers[0] <= tile.numbers[-1] < tile.span[1]
    for name in ("pixels", "numbers", "timestamps", "status"):
        joined = np.concatenate([getattr(tile, name) for tile in tiles])
        np.testing.assert_array_equal(joined, getattr(block, name))
    assert {tile.born for tile in tiles} == {1.5}


@given(st.data(), dtypes, seeds)
def test_labels_hold_what_the_frames_hold_and_copy_nothing(
    data: st.DataObject, dtype: str, seed: int
) -> None:
    shape = data.draw(shapes())
    grid = grid_after(shape, data.draw(chains(shape)))
    spec = Spec(grid, np.dtype(dtype), ("4 keV", "8 keV"), nb_merged=3)
    numbers = [3, 4, 9]
    frames = Frames(
        image(seed, (3, *spec.frame_shape), dtype),
        np.array(numbers),
        np.array([10, 20, 30]),
        np.array([1, 2, 1], np.uint8),
        (3, 11),
    )
    block = Labels(spec)(frames, "live")
    assert block.dims == DIMS
    assert np.shares_memory(block.values, frames.pixels)
    assert block.name == "live"
    assert block["frame"].values.tolist() == numbers
    assert block["band"].values.tolist() == ["4 keV", "8 keV"]
    assert block["timestamp"].values.astype("i8").tolist() == [10, 20, 30]
    assert block["status"].values.tolist() == [1, 2, 1]
    assert block.attrs["nb_merged"] == 3
    assert isinstance(block.xindexes["det_x"], GridIndex)
    assert block.xindexes["det_x"].grid == grid
    np.testing.assert_array_equal(block.sel(frame=9, band="8 keV"), frames.pixels[2, 1])

    back = unlabelled(block, (3, 11))
    for name in ("pixels", "numbers", "timestamps", "status"):
        np.testing.assert_array_equal(getattr(back, name), getattr(frames, name))
    assert back.span == (3, 11)
    assert unlabelled(block).span == (3, 10)
    read = spec_of(block)
    assert (read.grid, read.dtype, read.bands) == (grid, np.dtype(dtype), spec.bands)
    assert read.frame_shape == spec.frame_shape


def test_a_block_in_another_order_of_dimensions_is_put_right() -> None:
    spec = Spec(Grid((2, 3)), np.dtype("u2"), ("a", "b"))
    frames = Frames.of(image(1, (4, 2, 2, 3), "u2"), 5)
    turned = Labels(spec)(frames).transpose("x", "band", "frame", "y")
    np.testing.assert_array_equal(unlabelled(turned).pixels, frames.pixels)
    assert spec_of(turned).frame_shape == (2, 2, 3)


def test_a_bare_array_gets_defaults_and_a_flat_one_is_refused() -> None:
    plain = xr.DataArray(np.zeros((2, 1, 3, 4), "u1"), dims=DIMS)
    frames = unlabelled(plain)
    assert frames.numbers.tolist() == [0, 1]
    assert frames.status.tolist() == [Status.PRESENT] * 2
    assert spec_of(plain).bands == ("0",)
    assert spec_of(plain).grid == Grid((3, 4))
    with pytest.raises(ValueError, match="band"):
        spec_of(plain.isel(band=0))


def test_what_a_block_does_not_tell_is_taken_from_the_spec_it_is_like() -> None:
    masked = np.eye(3, dtype=bool)
    spec = Spec(Grid((5, 5)).crop(1, 1, 3, 3), np.dtype("u2"), ("a",), 100, 2, masked)
    plain = xr.DataArray(np.zeros((2, 1, 3, 3), "f4"), {"band": ["a"]}, DIMS)
    read = spec_of(plain, like=spec)
    assert read.grid == spec.grid
    assert read.dtype == np.dtype("f4")
    assert (read.nb_frames, read.nb_merged) == (100, 2)
    assert read.masked is masked
    smaller = spec_of(plain.isel(x=slice(0, 2)), like=spec)
    assert smaller.grid == Grid((3, 2))
    assert smaller.masked is None


@pytest.mark.parametrize("dtype", [*DTYPES, "i1", "i8", "u8", "f8"])
def test_the_fill_value_is_the_largest_integer_or_nan(dtype: str) -> None:
    value = fill_value(dtype)
    assert value.dtype == np.dtype(dtype)
    if np.dtype(dtype).kind == "f":
        assert np.isnan(value)
    else:
        bits = 8 * np.dtype(dtype).itemsize - (np.dtype(dtype).kind == "i")
        assert int(value) == 2**bits - 1


def test_pixels_are_numbers() -> None:
    with pytest.raises(TypeError, match="integers or floats"):
        fill_value("c8")


def test_a_spec_counts_its_bytes() -> None:
    spec = Spec(Grid((10, 20)), np.dtype("u4"), ("a", "b", "c"))
    assert spec.frame_shape == (3, 10, 20)
    assert spec.frame_nbytes == 3 * 10 * 20 * 4
    assert str(spec) == "10 × 20 uint32, 3 bands"
    assert spec.replace(bands=("a",)).frame_nbytes == 800
