"""SelectBand and CombineBands against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import ran
from hypothesis import given
from hypothesis import strategies as st
from strategies import block, dtypes, seeds, shapes

from limadask.errors import ConfigError
from limadask.frames import Labels, Spec
from limadask.geometry import Grid
from limadask_tasks import Background, CombineBands, Flatfield, Mask, SelectBand

BANDS = ("low", "1", "high")
"""The second one has the name that is the place of… the second one."""
SPEC = Spec(Grid((4, 5)), np.dtype("u2"), BANDS)


@given(shapes(1, 9), dtypes, st.sampled_from([*BANDS, 0, 1, 2]), seeds)
def test_a_band_is_picked_by_name_or_place(shape: Any, dtype: str, band: Any, seed: int) -> None:
    spec = Spec(Grid(shape), np.dtype(dtype), BANDS, pattern="rggb")
    frames = block(seed, spec)
    result = ran(spec, frames, SelectBand(band=band))
    place = BANDS.index(band) if isinstance(band, str) else band
    planned = result.plan["out"].inputs[0]
    assert np.array_equal(result.frames.pixels, frames.pixels[:, [place]], equal_nan=True)
    assert (planned.bands, planned.dtype) == ((BANDS[place],), spec.dtype)
    assert planned.pattern == "rggb"  # a band of mosaics is one


def test_a_band_takes_its_own_mask_along() -> None:
    masked = np.zeros((3, 4, 5), bool)
    masked[1, 2, 3] = True
    for band, wanted in ((1, masked[1]), (0, None)):
        planned = ran(SPEC, block(0, SPEC), Mask(masked), SelectBand(band=band)).plan["out"]
        told = planned.inputs[0].masked
        assert np.array_equal(told, wanted) if wanted is not None else told is None
    both = masked[1]
    planned = ran(SPEC, block(0, SPEC), Mask(both), SelectBand(band=0)).plan["out"]
    assert np.array_equal(planned.inputs[0].masked, both)


@pytest.mark.parametrize("band", ["high ", "03", 3])
def test_a_band_that_is_not_there_is_refused(band: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        ran(SPEC, block(0, SPEC), SelectBand(band=band))
    error = caught.value
    assert (error.node, error.field, error.value) == ("n0", "band", band)
    assert error.allowed == [*BANDS, "0 … 2"]


def test_a_negative_place_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        SelectBand(band=-1)
    assert caught.value.field == "band"


weights = st.lists(st.sampled_from([0.0, 1.0, -1.0, 0.25, 3.5]), min_size=3, max_size=3).filter(any)


@given(
    shapes(1, 9), dtypes, weights, st.booleans(), st.sampled_from([None, "i2", "u1", "f8"]), seeds
)
def test_bands_add_up_by_their_weights(
    shape: Any, dtype: str, given: list[float], by_name: bool, wanted: Any, seed: int
) -> None:
    spec = Spec(Grid(shape), np.dtype(dtype), BANDS)
    frames = block(seed, spec)
    told: Any = {n: w for n, w in zip(BANDS, given, strict=True) if w} if by_name else given
    fields = {} if wanted is None else {"dtype": wanted}
    result = ran(spec, frames, CombineBands(weights=told, band="sum", **fields))
    out = result.frames.pixels
    total = np.tensordot(given, frames.pixels.astype("f8"), (0, 1))[:, np.newaxis]
    assert result.plan["out"].inputs[0].bands == ("sum",)
    assert out.dtype == np.dtype(wanted or "f4")
    if out.dtype.kind == "f":
        np.testing.assert_allclose(out, total, rtol=1e-6, atol=1e-9 * np.abs(total).max())
    else:
        info = np.iinfo(out.dtype)
        assert np.array_equal(out, np.clip(np.rint(total), info.min, info.max))


@given(dtypes, weights, st.booleans(), seeds)
def test_what_a_used_band_lacks_the_sum_lacks(
    dtype: str, given: list[float], per_band: bool, seed: int
) -> None:
    spec = SPEC.replace(dtype=np.dtype(dtype))
    random = np.random.default_rng(seed)
    masked = random.random((3, 4, 5) if per_band else (4, 5)) < 0.3
    frames = block(seed, spec, top=100)
    nan = np.zeros(frames.pixels.shape, bool)
    if spec.dtype.kind == "f":
        nan = random.random(frames.pixels.shape) < 0.2
        frames.pixels[nan] = np.nan
    result = ran(spec, frames, Mask(masked), CombineBands(weights=given, dtype="i4"))
    used = np.array(given) != 0
    whole = np.broadcast_to(masked, (3, 4, 5))[used].any(axis=0)
    lacking = (nan[:, used].any(axis=1) | whole)[:, np.newaxis]
    assert np.array_equal(result.frames.pixels == 2**31 - 1, lacking)
    told = result.plan["out"].inputs[0].masked
    assert np.array_equal(np.zeros((4, 5), bool) if told is None else told, whole)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "at least 1"), ([], "at least 1"), ([0, 0], "make no sum"),
        ({"low": float("nan")}, "make no sum"), ({"low": float("inf")}, "make no sum"),
    ],
)  # fmt: skip
def test_weights_without_a_sum_are_refused(given: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        CombineBands(weights=given)
    assert caught.value.field == "weights"


@pytest.mark.parametrize(
    ("given", "message"), [([1, 2], "2 weights for 3 bands"), ({"low": 1, "red": 2}, "no such")]
)
def test_weights_of_other_bands_are_refused(given: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        ran(SPEC, block(0, SPEC), CombineBands(weights=given))
    assert (caught.value.node, caught.value.field) == ("n0", "weights")


def test_labelled_blocks_get_the_new_bands() -> None:
    labelled = Labels(SPEC)(block(1, SPEC))
    assert SelectBand(band="high")(labelled)["band"].values.tolist() == ["high"]
    made = CombineBands(weights=[1, 1, 1])(labelled)
    assert made["band"].values.tolist() == ["combined"]
    np.testing.assert_allclose(made.values[:, 0], labelled.values.sum(axis=1, dtype="f8"))


@given(seeds, st.booleans())
def test_corrections_are_of_all_bands_or_of_each(seed: int, per_band: bool) -> None:
    """An image ``(y, x)`` is of all bands, one of ``(band, y, x)`` has one for each."""
    random = np.random.default_rng(seed)
    shape = (3, 4, 5) if per_band else (4, 5)
    masked = random.random(shape) < 0.2
    dark, flat = random.integers(0, 50, shape), random.uniform(0.5, 2, shape)
    frames = block(seed, SPEC, top=1000)
    out = ran(SPEC, frames, Mask(masked), Background(dark), Flatfield(flat)).frames.pixels
    for band in range(3):
        own = (masked, dark, flat) if not per_band else (masked[band], dark[band], flat[band])
        wanted = np.where(own[0], np.nan, (frames.pixels[:, band].astype("f8") - own[1]) / own[2])
        np.testing.assert_allclose(out[:, band], wanted, rtol=1e-6)
