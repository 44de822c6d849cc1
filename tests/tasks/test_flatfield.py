"""Flatfield against NumPy."""

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
from limadask_tasks import Flatfield, Mask


def flat_image(seed: int, shape: tuple[int, ...]) -> Any:
    return np.random.default_rng(seed).uniform(0.5, 2.0, shape)


@given(shapes(), dtypes, st.booleans(), st.sampled_from(["float32", "float64"]), seeds)
def test_frames_are_divided_in_the_type_of_the_result(
    shape: tuple[int, int], dtype: str, per_band: bool, wanted: str, seed: int
) -> None:
    spec = Spec(Grid(shape), np.dtype(dtype), ("a", "b"))
    frames = block(seed, spec)
    flat = flat_image(seed, (2, *shape) if per_band else shape)
    out = ran(spec, frames, Flatfield(flat, dtype=wanted)).frames.pixels
    expected = frames.pixels.astype(wanted) / flat.astype(wanted)
    assert out.dtype == np.dtype(wanted)
    np.testing.assert_array_equal(out, expected)


def test_the_result_is_float32_unless_told_otherwise() -> None:
    spec = Spec(Grid((2, 2)), np.dtype("u4"))
    assert Flatfield(np.ones((2, 2))).plan(spec).dtype == np.dtype("f4")
    assert Flatfield(np.ones((2, 2)), dtype="f8").plan(spec).dtype == np.dtype("f8")
    with pytest.raises(ConfigError, match="yields floats") as caught:
        Flatfield(np.ones((2, 2)), dtype="u4").plan(spec)
    assert (caught.value.field, caught.value.value) == ("dtype", "uint32")
    assert caught.value.allowed == ["float32", "float64"]


@given(shapes(2), st.booleans(), st.booleans(), seeds)
def test_normalizing_divides_by_the_mean_of_the_unmasked_pixels(
    shape: tuple[int, int], per_band: bool, mask_per_band: bool, seed: int
) -> None:
    spec = Spec(Grid(shape), np.dtype("u2"), ("a", "b"))
    frames = block(seed, spec, top=1000)
    flat = flat_image(seed, (2, *shape) if per_band else shape)
    masked = np.random.default_rng(seed).random((2, *shape) if mask_per_band else shape) < 0.3
    masked[..., 0, 0] = False
    out = ran(spec, frames, Mask(masked), Flatfield(flat, normalize=True)).frames.pixels
    everywhere, flats = np.broadcast_to(masked, (2, *shape)), np.broadcast_to(flat, (2, *shape))
    mean = flats[~everywhere].mean()
    expected = np.where(everywhere, np.nan, frames.pixels / (flats / mean))
    np.testing.assert_allclose(out, expected, rtol=1e-6)


@given(shapes(), dtypes, seeds)
def test_masked_pixels_become_nan(shape: tuple[int, int], dtype: str, seed: int) -> None:
    spec = Spec(Grid(shape), np.dtype(dtype))
    frames = block(seed, spec, top=100)
    masked = np.random.default_rng(seed).random(shape) < 0.4
    flat = np.where(masked, np.nan, flat_image(seed, shape))  # masked: may hold anything
    out = ran(spec, frames, Mask(masked), Flatfield(flat)).frames.pixels
    np.testing.assert_array_equal(np.isnan(out), np.broadcast_to(masked, out.shape))


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf, 1e-60, 1e60])
def test_a_flat_field_that_cannot_be_divided_by_is_refused_unless_masked(bad: float) -> None:
    spec = Spec(Grid((2, 3)), np.dtype("u2"))
    flat = np.ones((2, 3))
    flat[1, 2] = bad
    with pytest.raises(ConfigError, match=r"first at \(band, y, x\) = \(0, 1, 2\)") as caught:
        ran(spec, block(0, spec), Flatfield(flat))
    error = caught.value
    assert (error.node, error.field) == ("n0", "path")
    assert error.allowed == "finite values other than 0, or a mask before"
    mask = np.zeros((2, 3))
    mask[1, 2] = 1
    out = ran(spec, block(0, spec), Mask(mask), Flatfield(flat)).frames.pixels
    assert np.isnan(out).sum() == 3  # one pixel of three frames


def test_a_flat_field_of_mean_zero_cannot_be_normalized() -> None:
    spec = Spec(Grid((1, 2)), np.dtype("u2"))
    with pytest.raises(ConfigError):
        ran(spec, block(0, spec), Flatfield(np.array([[1.0, -1.0]]), normalize=True))


def test_a_detector_masked_altogether_is_all_nan() -> None:
    spec = Spec(Grid((2, 2)), np.dtype("u2"))
    for normalize in (False, True):
        flat = Flatfield(np.zeros((2, 2)), normalize=normalize)
        out = ran(spec, block(0, spec), Mask(np.ones((2, 2))), flat).frames.pixels
        assert np.isnan(out).all()
