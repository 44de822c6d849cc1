"""Background against NumPy: nothing ever wraps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import ran
from hypothesis import given
from hypothesis import strategies as st
from strategies import block, dtypes, image, seeds, shapes

from limadask.errors import ConfigError
from limadask.frames import Spec
from limadask.geometry import Grid
from limadask_tasks import Background, Mask

integers = st.sampled_from(["u1", "u2", "u4", "i2", "i4"])
PAIRS = [("u2", "u2"), ("u2", "i2"), ("i4", "u1"), ("u4", "i4"), ("u1", "u2")]
"""Type of the frames, and of the result."""


def exact(pixels: Any, background: Any) -> Any:
    """The differences, in integers of Python."""
    return pixels.astype(object) - background.astype(object)


@given(shapes(most=6), integers, integers, st.booleans(), seeds)
def test_integer_differences_are_exact(
    shape: tuple[int, int], dtype: str, dark: str, per_band: bool, seed: int
) -> None:
    spec = Spec(Grid(shape), np.dtype(dtype), ("a", "b"))
    frames = block(seed, spec)
    background = image(seed + 1, (2, *shape) if per_band else shape, dark)
    out = ran(spec, frames, Background(background)).frames.pixels
    assert out.dtype.kind == "i"
    assert (out.astype(object) == exact(frames.pixels, background)).all()


@pytest.mark.parametrize(
    ("frame", "dark", "expected"),
    [
        ("u2", "u2", "i4"),
        ("u1", "i2", "i4"),
        ("u4", "u2", "i8"),
        ("i4", "u1", "i8"),
        ("u2", "f8", "f4"),
        ("f4", "u2", "f4"),
        ("u2", "f4", "f4"),
        ("f8", "f4", "f8"),
        ("u8", "u8", "f8"),
        ("u8", "f4", "f8"),
        ("u1", "u8", "f8"),
    ],
)
def test_the_type_is_signed_and_wide_enough(frame: str, dark: str, expected: str) -> None:
    spec = Spec(Grid((2, 2)), np.dtype(frame))
    assert Background(np.ones((2, 2), dark)).plan(spec).dtype == np.dtype(expected)


def test_zero_minus_the_largest_value_is_negative() -> None:
    spec = Spec(Grid((1, 2)), np.dtype("u2"))
    frames = block(0, spec, 1)
    frames.pixels[...] = [0, 65535]
    out = ran(spec, frames, Background(np.array([[65535, 0]], "u2"))).frames.pixels
    assert out.ravel().tolist() == [-65535, 65535]


@given(shapes(most=6), dtypes, seeds)
def test_float_backgrounds_give_floats(shape: tuple[int, int], dtype: str, seed: int) -> None:
    spec = Spec(Grid(shape), np.dtype(dtype))
    frames = block(seed, spec)
    background = image(seed + 1, shape, "f4")
    out = ran(spec, frames, Background(background)).frames.pixels
    assert out.dtype == np.dtype("f4")
    expected = frames.pixels.astype("f8") - background.astype("f8")
    scale = np.abs(frames.pixels).max(initial=1) + np.abs(background).max(initial=1)
    np.testing.assert_allclose(out, expected, rtol=0, atol=float(scale) * 2e-7)


@pytest.mark.parametrize(("dtype", "wanted"), PAIRS)
@given(shapes(most=6), seeds)
def test_an_explicit_type_is_cut_at_its_limits(
    dtype: str, wanted: str, shape: tuple[int, int], seed: int
) -> None:
    spec = Spec(Grid(shape), np.dtype(dtype))
    frames, background = block(seed, spec), image(seed + 1, shape, dtype)
    out = ran(spec, frames, Background(background, dtype=wanted)).frames.pixels
    info = np.iinfo(wanted)
    assert out.dtype == np.dtype(wanted)
    expected = np.clip(exact(frames.pixels, background), info.min, info.max)
    assert (out.astype(object) == expected).all()


@given(shapes(most=6), dtypes, st.booleans(), st.none() | st.just("i2"), seeds)
def test_masked_pixels_stay_without_a_value(
    shape: tuple[int, int], dtype: str, per_band: bool, wanted: str | None, seed: int
) -> None:
    spec = Spec(Grid(shape), np.dtype(dtype), ("a", "b"))
    frames = block(seed, spec, top=100)
    masked = np.random.default_rng(seed).random((2, *shape) if per_band else shape) < 0.4
    background = np.full(shape, 3, "u2")
    out = ran(spec, frames, Mask(masked), Background(background, dtype=wanted)).frames.pixels
    where = np.broadcast_to(masked, out.shape)
    held = np.isnan(out) if out.dtype.kind == "f" else out == np.iinfo(out.dtype).max
    np.testing.assert_array_equal(held[where], True)
    expected = frames.pixels.astype("f8") - 3
    if wanted:
        expected = np.trunc(expected)
    np.testing.assert_allclose(out[~where], expected[~where], rtol=1e-6, atol=1e-4)


def test_nan_in_a_frame_stays_nan() -> None:
    spec = Spec(Grid((1, 3)), np.dtype("f4"))
    frames = block(0, spec, 1)
    frames.pixels[...] = [1, np.nan, 3]
    out = ran(spec, frames, Background(np.ones((1, 3)))).frames.pixels
    np.testing.assert_array_equal(out.ravel(), [0, np.nan, 2])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_background_without_a_value_is_refused_unless_masked(bad: float) -> None:
    spec = Spec(Grid((2, 2)), np.dtype("u2"))
    background = np.array([[1, bad], [1, 1]], "f4")
    with pytest.raises(ConfigError, match="NaN or infinities") as caught:
        ran(spec, block(0, spec), Background(background))
    error = caught.value
    assert (error.node, error.field) == ("n0", "path")
    assert error.allowed == "finite values, or a mask before"
    mask = Mask(np.array([[0, 1], [0, 0]]))
    out = ran(spec, block(0, spec), mask, Background(background)).frames.pixels
    assert np.isnan(out[..., 0, 1]).all()
    assert np.isfinite(np.delete(out.reshape(-1, 4), 1, axis=1)).all()


@pytest.mark.parametrize("name", ["complex64", "bool", "S3", "u2,u2", "float16", "", "elephant"])
def test_a_type_that_is_none_for_pixels_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="no type for pixels") as caught:
        Background(np.ones((2, 2)), dtype=name)
    error = caught.value
    assert (error.field, error.value) == ("dtype", name)
    assert "uint8" in error.allowed


def test_a_type_gets_its_canonical_name() -> None:
    assert Background(np.ones((2, 2)), dtype="u2").dtype == "uint16"
    assert Background(np.ones((2, 2)), dtype="<f4").dtype == "float32"
