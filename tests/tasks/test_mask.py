"""Mask against NumPy."""

from __future__ import annotations

from pathlib import Path
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
from limadask_tasks import Background, Flatfield, Mask


def filled(pixels: Any, masked: Any) -> Any:
    """What NumPy makes of masked frames."""
    empty = np.nan if pixels.dtype.kind == "f" else np.iinfo(pixels.dtype).max
    return np.where(masked, pixels.dtype.type(empty), pixels)


@given(shapes(), dtypes, st.booleans(), seeds)
def test_masked_pixels_become_the_largest_value_or_nan(
    shape: tuple[int, int], dtype: str, per_band: bool, seed: int
) -> None:
    spec = Spec(Grid(shape), np.dtype(dtype), ("a", "b"))
    frames = block(seed, spec)
    before = frames.pixels.copy()
    masked = np.random.default_rng(seed).random((2, *shape) if per_band else shape) < 0.4
    result = ran(spec, frames, Mask(masked.astype("u1")))
    np.testing.assert_array_equal(result.frames.pixels, filled(before, masked))
    assert result.frames.pixels.dtype == spec.dtype
    np.testing.assert_array_equal(frames.pixels, before)  # never in place
    np.testing.assert_array_equal(result.plan["out"].inputs[0].masked, masked)


def test_anything_but_zero_is_masked() -> None:
    spec = Spec(Grid((1, 5)), np.dtype("u2"))
    mask = np.array([[0.0, 1.0, -2.5, np.inf, 1e-9]])
    result = ran(spec, block(0, spec, 1, top=100), Mask(mask))
    np.testing.assert_array_equal(result.frames.pixels[0, 0, 0] == 65535, [0, 1, 1, 1, 1])


def test_nan_says_neither_that_a_pixel_is_masked_nor_that_it_is_not() -> None:
    spec = Spec(Grid((1, 3)), np.dtype("u2"))
    with pytest.raises(ConfigError, match="NaN at 2 pixels") as caught:
        Mask(np.array([[0.0, np.nan, np.nan]])).plan(spec)
    assert (caught.value.field, caught.value.value) == ("array", "an array")
    assert caught.value.allowed is not None


@given(shapes(), st.booleans(), st.booleans(), seeds)
def test_two_masks_add_up(shape: tuple[int, int], first: bool, second: bool, seed: int) -> None:
    random = np.random.default_rng(seed)
    spec = Spec(Grid(shape), np.dtype("i4"), ("a", "b"))
    one, two = (random.random((2, *shape) if each else shape) < 0.3 for each in (first, second))
    frames = block(seed, spec)
    result = ran(spec, frames, Mask(one), Mask(two))
    np.testing.assert_array_equal(result.frames.pixels, filled(frames.pixels, one | two))
    np.testing.assert_array_equal(result.plan["out"].inputs[0].masked, one | two)


def test_a_mask_is_read_from_a_file_given_by_a_relative_path(tmp_path: Path) -> None:
    masked = np.eye(4, dtype="u1")
    np.save(tmp_path / "mask.npy", masked)
    task = Mask(path="mask.npy").absolute(tmp_path)
    assert task.path == str(tmp_path / "mask.npy")
    spec = Spec(Grid((4, 4)), np.dtype("u2"))
    frames = block(1, spec)
    result = ran(spec, frames, task)
    np.testing.assert_array_equal(result.frames.pixels, filled(frames.pixels, masked != 0))
    assert task.effective(spec)["path"] == str(tmp_path / "mask.npy")


@pytest.mark.parametrize("kind", [Mask, Background, Flatfield])
@pytest.mark.parametrize(
    "shape", [(4, 6), (5, 4), (3, 4, 5), (1, 2, 4, 5), (5,)], ids=lambda shape: str(shape)
)
def test_an_image_of_another_shape_is_refused(kind: Any, shape: tuple[int, ...]) -> None:
    spec = Spec(Grid((4, 5)), np.dtype("u2"), ("a", "b"))
    with pytest.raises(ConfigError) as caught:
        ran(spec, block(0, spec), kind(np.ones(shape)))
    error = caught.value
    assert (error.node, error.field) == ("n0", "array")
    assert str(shape) in str(error.value)
    assert error.allowed == "(4, 5) or (2, 4, 5)"


@pytest.mark.parametrize("kind", [Mask, Background, Flatfield])
@pytest.mark.parametrize("dtype", ["c16", "U3", "O", "M8[s]", "V8"])
def test_an_image_without_real_numbers_is_refused(kind: Any, dtype: str) -> None:
    with pytest.raises(ConfigError, match="no real numbers") as caught:
        kind(np.ones((4, 5)).astype(dtype)).plan(Spec(Grid((4, 5)), np.dtype("u2")))
    assert (caught.value.field, caught.value.value) == ("array", str(np.dtype(dtype)))
    assert caught.value.allowed == "booleans, integers or floats"


@pytest.mark.parametrize("kind", [Mask, Background, Flatfield])
def test_a_missing_file_is_named(kind: Any, tmp_path: Path) -> None:
    spec = Spec(Grid((4, 5)), np.dtype("u2"))
    missing = str(tmp_path / "nothing.h5")
    with pytest.raises(ConfigError, match="no such file") as caught:
        ran(spec, block(0, spec), kind(path=missing))
    error = caught.value
    assert (error.node, error.field, error.value) == ("n0", "path", missing)
    assert error.allowed == "an existing file"


@pytest.mark.parametrize("kind", [Mask, Background, Flatfield])
def test_an_image_comes_from_one_place(kind: Any) -> None:
    with pytest.raises(ConfigError, match="needs a path or an array"):
        kind()
    with pytest.raises(ConfigError, match="needs a path or an array"):
        kind(np.ones((2, 2)), path="also.h5")


def test_the_effective_parameters_tell_of_an_array_by_shape_and_type() -> None:
    spec = Spec(Grid((4, 5)), np.dtype("u2"))
    assert Mask(np.ones((4, 5), "u1")).effective(spec) == {"path": None, "array": "(4, 5) uint8"}
