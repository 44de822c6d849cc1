"""Bin against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import ran
from hypothesis import given
from hypothesis import strategies as st
from strategies import block, dtypes, seeds, shapes

from limadask.errors import ConfigError
from limadask.frames import Spec
from limadask.geometry import Grid
from limadask_tasks import Bin, Mask

Case = tuple[tuple[int, int], tuple[int, int]]
cases = shapes(1, 9).flatmap(
    lambda shape: st.tuples(
        st.just(shape),
        st.tuples(st.integers(1, min(4, shape[0])), st.integers(1, min(4, shape[1]))),
    )
)
integers = st.sampled_from(["u1", "u2", "u4", "i2", "i4"])
PAIRS = [("u2", "u2"), ("u2", "i2"), ("i4", "u1"), ("u4", "i4"), ("u1", "u2")]
"""Type of the frames, and of the result."""


def tiles(pixels: Any, bins: tuple[int, int]) -> Any:
    """Cut into tiles, ``(…, row, column, pixel of the tile)``; incomplete ones are dropped."""
    ny, nx = bins
    rows, columns = pixels.shape[-2] // ny, pixels.shape[-1] // nx
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (ny, nx), axis=(-2, -1))
    cut = windows[..., ::ny, ::nx, :, :][..., :rows, :columns, :, :]
    return cut.reshape(*cut.shape[:-2], -1)


@given(cases, integers, seeds)
def test_sums_are_exact_whatever_their_size(case: Case, dtype: str, seed: int) -> None:
    shape, bins = case
    spec = Spec(Grid(shape), np.dtype(dtype), ("a", "b"))
    frames = block(seed, spec)
    out = ran(spec, frames, Bin(y=bins[0], x=bins[1])).frames.pixels
    expected = tiles(frames.pixels.astype(object), bins).sum(axis=-1)
    assert (out.astype(object) == expected).all()
    assert out.dtype.kind == np.dtype(dtype).kind


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i2", "i4"])
def test_a_sum_of_largest_values_does_not_wrap(dtype: str) -> None:
    spec = Spec(Grid((8, 8)), np.dtype(dtype))
    frames = block(0, spec, 1)
    for extreme in (np.iinfo(dtype).max, np.iinfo(dtype).min):
        frames.pixels[...] = extreme
        out = ran(spec, frames, Bin(y=8, x=8)).frames.pixels
        assert int(out.item()) == 64 * extreme


@pytest.mark.parametrize(("dtype", "wanted"), PAIRS)
@given(cases, seeds)
def test_an_explicit_type_is_cut_at_its_limits(
    dtype: str, wanted: str, case: Case, seed: int
) -> None:
    shape, bins = case
    spec = Spec(Grid(shape), np.dtype(dtype))
    frames = block(seed, spec)
    out = ran(spec, frames, Bin(y=bins[0], x=bins[1], dtype=wanted)).frames.pixels
    info = np.iinfo(wanted)
    expected = tiles(frames.pixels.astype(object), bins).sum(axis=-1)
    assert out.dtype == np.dtype(wanted)
    assert (out.astype(object) == np.clip(expected, info.min, info.max)).all()


@given(cases, dtypes, seeds)
def test_means_are_float32(case: Case, dtype: str, seed: int) -> None:
    shape, bins = case
    spec = Spec(Grid(shape), np.dtype(dtype))
    frames = block(seed, spec)
    out = ran(spec, frames, Bin(y=bins[0], x=bins[1], mode="mean")).frames.pixels
    assert out.dtype == np.dtype("f4")
    expected = tiles(frames.pixels.astype("f8"), bins).mean(axis=-1)
    np.testing.assert_allclose(out, expected, rtol=2e-7, atol=1e-3)


@given(cases, integers, seeds)
def test_means_of_an_explicit_integer_type_are_rounded(case: Case, dtype: str, seed: int) -> None:
    shape, bins = case
    spec = Spec(Grid(shape), np.dtype(dtype))
    frames = block(seed, spec)
    out = ran(spec, frames, Bin(y=bins[0], x=bins[1], mode="mean", dtype="i2")).frames.pixels
    expected = np.rint(tiles(frames.pixels.astype("f8"), bins).mean(axis=-1))
    np.testing.assert_array_equal(out, np.clip(expected, -32768, 32767))


@given(cases, dtypes, st.booleans(), st.sampled_from(["sum", "mean"]), seeds)
def test_a_sum_with_a_masked_pixel_is_masked_and_a_mean_leaves_it_out(
    case: Case, dtype: str, per_band: bool, mode: Any, seed: int
) -> None:
    shape, bins = case
    spec = Spec(Grid(shape), np.dtype(dtype), ("a", "b"))
    frames = block(seed, spec, top=100)
    masked = np.random.default_rng(seed).random((2, *shape) if per_band else shape) < 0.4
    result = ran(spec, frames, Mask(masked), Bin(y=bins[0], x=bins[1], mode=mode))
    out = result.frames.pixels
    everywhere = np.broadcast_to(masked, frames.pixels.shape)
    cut, holes = tiles(frames.pixels.astype("f8"), bins), tiles(everywhere, bins)
    empty = holes.any(axis=-1) if mode == "sum" else holes.all(axis=-1)
    held = np.isnan(out) if out.dtype.kind == "f" else out == np.iinfo(out.dtype).max
    np.testing.assert_array_equal(held, empty)
    total = np.where(holes, 0, cut).sum(axis=-1)
    expected = total if mode == "sum" else total / np.maximum((~holes).sum(axis=-1), 1)
    np.testing.assert_allclose(out[~empty], expected[~empty], rtol=1e-6, atol=1e-3)
    told = np.broadcast_to(result.plan["out"].inputs[0].masked, out.shape)
    np.testing.assert_array_equal(told, empty)


def test_an_image_of_one_pixel_can_be_masked() -> None:
    spec = Spec(Grid((1, 1)), np.dtype("u2"))
    out = ran(spec, block(0, spec), Mask(np.ones((1, 1))), Bin(dtype="u4")).frames.pixels
    assert set(out.ravel().tolist()) == {2**32 - 1}


def test_float_sums_keep_nan_and_float_type() -> None:
    spec = Spec(Grid((2, 4)), np.dtype("f4"))
    frames = block(0, spec, 1)
    frames.pixels[...] = [[1.5, 2, 3, 4], [5, np.nan, 7, 8.25]]
    out = ran(spec, frames, Bin(y=2, x=2)).frames.pixels
    np.testing.assert_array_equal(out.ravel(), [np.nan, 22.25])
    assert out.dtype == np.dtype("f4")


@pytest.mark.parametrize(("axis", "value", "size"), [("y", 6, 5), ("x", 8, 7)])
def test_a_bin_larger_than_the_image_is_refused(axis: str, value: int, size: int) -> None:
    spec = Spec(Grid((5, 7)), np.dtype("u2"))
    with pytest.raises(ConfigError, match="larger than the image") as caught:
        ran(spec, block(0, spec), Bin(**{axis: value}))
    error = caught.value
    assert (error.node, error.field, error.value) == ("n0", axis, value)
    assert error.allowed == f"1 … {size}"


def test_an_unknown_mode_and_an_unknown_type_are_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        Bin(mode="median")  # type: ignore[arg-type]
    assert caught.value.field == "mode"
    with pytest.raises(ConfigError) as caught:
        Bin(dtype="c8")
    assert (caught.value.field, caught.value.value) == ("dtype", "c8")
