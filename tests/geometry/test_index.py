"""Finding pixels of a labelled block by their place on the detector."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from strategies import Operation, Shape, applied, chains, grid_after, positions, seeds, shapes

from limadask.frames import Frames, Labels, Spec
from limadask.geometry import Grid, GridIndex, grid_coordinates

Case = tuple[Shape, tuple[Operation, ...]]
cases = shapes().flatmap(lambda shape: st.tuples(st.just(shape), chains(shape)))
unbinned = shapes().flatmap(lambda shape: st.tuples(st.just(shape), chains(shape, bins=False)))


def labelled(case: Case, seed: int) -> tuple[np.ndarray[Any, Any], xr.DataArray]:
    """A raw frame, and the block that the chain makes of it, computed by NumPy."""
    shape, chain = case
    raw = np.random.default_rng(seed).integers(0, 10**6, shape)
    pixels = applied(raw, chain)[np.newaxis, np.newaxis]
    return raw, Labels(Spec(grid_after(shape, chain), pixels.dtype))(Frames.of(pixels))


@given(unbinned, seeds)
def test_a_pixel_found_by_its_place_holds_what_the_detector_saw_there(
    case: Case, seed: int
) -> None:
    raw, block = labelled(case, seed)
    for y, x in zip(*(one.ravel().astype(int) for one in positions(*case)), strict=True):
        found = block.sel(det_y=y, det_x=x, method="nearest")
        assert found.item() == raw[y, x]


@given(cases, seeds)
def test_a_binned_pixel_found_by_its_place_holds_the_sum_of_its_tile(case: Case, seed: int) -> None:
    raw, block = labelled(case, seed)
    low, high = positions(*case, np.min).astype(int), positions(*case, np.max).astype(int)
    centres = positions(*case)
    for at in np.ndindex(centres.shape[1:]):
        y, x = centres[:, *at]
        (y0, x0), (y1, x1) = low[:, *at], high[:, *at]
        # anywhere in the tile, but for its border
        y, x = y + (y1 - y0) * 0.4, x - (x1 - x0) * 0.4
        found = block.sel(det_y=y, det_x=x, method="nearest")
        assert found.item() == raw[y0 : y1 + 1, x0 : x1 + 1].sum()


@given(cases, seeds)
def test_many_places_are_found_at_once(case: Case, seed: int) -> None:
    _, block = labelled(case, seed)
    y, x = (xr.DataArray(one.ravel(), dims="spot") for one in positions(*case))
    found = block.sel(det_y=y, det_x=x, method="nearest")
    assert found.dims == ("frame", "band", "spot")
    np.testing.assert_array_equal(found.values[0, 0], block.values[0, 0].ravel())


slices = st.builds(
    slice,
    st.none() | st.integers(-12, 12),
    st.none() | st.integers(-12, 12),
    st.none() | st.sampled_from([-3, -2, -1, 1, 2, 3]),
)


@given(cases, seeds, slices, slices)
def test_slicing_keeps_the_places_right(case: Case, seed: int, rows: slice, columns: slice) -> None:
    _, block = labelled(case, seed)
    part = block.isel(y=rows, x=columns)
    expected = positions(*case)[:, rows, columns]
    np.testing.assert_allclose(part["det_y"].values, expected[0], atol=1e-9)
    np.testing.assert_allclose(part["det_x"].values, expected[1], atol=1e-9)
    if part.size:
        assert isinstance(part.xindexes["det_y"], GridIndex)
        last = part.sel(det_y=expected[0, -1, -1], det_x=expected[1, -1, -1], method="nearest")
        assert last.item() == block.values[0, 0, rows, columns][-1, -1]


@given(cases, seeds, st.data())
def test_single_rows_and_chosen_columns_keep_their_places(
    case: Case, seed: int, data: st.DataObject
) -> None:
    _, block = labelled(case, seed)
    row = data.draw(st.integers(-block.sizes["y"], block.sizes["y"] - 1))
    columns = data.draw(st.lists(st.integers(0, block.sizes["x"] - 1), min_size=1, max_size=4))
    for part, expected in (
        (block.isel(y=row), positions(*case)[:, row]),
        (block.isel(x=columns), positions(*case)[:, :, columns]),
    ):
        np.testing.assert_allclose(part["det_y"].values, expected[0], atol=1e-9)
        np.testing.assert_allclose(part["det_x"].values, expected[1], atol=1e-9)


@pytest.mark.xfail(strict=True, reason="xarray 2026.9 mixes up a number and a list in one isel")
def test_a_row_and_chosen_columns_can_be_taken_in_one_step() -> None:
    block = xr.DataArray(np.ones((3, 3)), grid_coordinates(Grid((3, 3))), ("y", "x"))
    assert block.isel(y=1, x=[0, 2])["det_x"].values.tolist() == [0, 2]


@given(cases, seeds)
def test_pickling_keeps_the_index(case: Case, seed: int) -> None:
    _, block = labelled(case, seed)
    twin = pickle.loads(pickle.dumps(block))
    assert isinstance(twin.xindexes["det_y"], GridIndex)
    assert Grid.of(twin) == grid_after(*case)
    xr.testing.assert_identical(twin, block)


@given(cases, seeds)
def test_a_place_outside_the_image_is_a_key_error(case: Case, seed: int) -> None:
    _, block = labelled(case, seed)
    low, high = positions(*case, np.min), positions(*case, np.max)
    for y, x in (
        (low[0].min() - 1, low[1].min()),
        (high[0].max() + 1, low[1].min()),
        (low[0].min(), low[1].min() - 1),
        (low[0].min(), high[1].max() + 1),
    ):
        with pytest.raises(KeyError, match="outside"):
            block.sel(det_y=y, det_x=x, method="nearest")


def test_blocks_of_one_place_can_be_added_and_others_cannot() -> None:
    def made(grid: Grid) -> xr.DataArray:
        return xr.DataArray(np.ones((3, 3)), grid_coordinates(grid), ("y", "x"))

    here, there = Grid((5, 5)).crop(0, 0, 3, 3), Grid((5, 5)).crop(1, 0, 3, 3)
    total = made(here) + made(here)
    assert (total == 2).all()
    assert total.xindexes["det_y"].equals(made(here).xindexes["det_y"])
    with pytest.raises((NotImplementedError, xr.AlignmentError), match="align"):
        made(here) + made(there)
    with xr.set_options(arithmetic_join="exact"), pytest.raises(xr.AlignmentError):
        made(here) + made(there)


def test_only_the_nearest_pixel_can_be_asked_for() -> None:
    block = xr.DataArray(np.ones((3, 3)), grid_coordinates(Grid((3, 3))), ("y", "x"))
    with pytest.raises(ValueError, match="nearest"):
        block.sel(det_y=1.0, det_x=1.0)


def test_pixels_without_a_place_are_refused() -> None:
    with pytest.raises(ValueError, match="no place on a detector"):
        Grid.of(xr.DataArray(np.zeros((2, 2)), dims=("y", "x")))
