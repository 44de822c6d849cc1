"""Demosaic against convolutions by SciPy, and against photographs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from harness import ran
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import convolve
from strategies import (
    Operation,
    applied,
    block,
    chains,
    grid_after,
    image,
    lacking,
    seeds,
    shapes,
    tasks_of,
)

import limadask as ld
from limadask.errors import ConfigError
from limadask.frames import Frames, Labels, Spec, spec_of
from limadask.geometry import PATTERNS, Grid, Rect
from limadask_tasks import Accumulate, Bin, CombineBands, Crop, Demosaic, Flip, Mask

METHODS = "malvar", "bilinear"
types = st.sampled_from(["u1", "u2", "i4", "f4"])
patterns = st.sampled_from(PATTERNS)
methods = st.sampled_from(METHODS)

CROSS = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
CORNERS = np.array([[1, 0, 1], [0, 0, 0], [1, 0, 1]])
ROW, COLUMN = CROSS * [[0], [1], [0]], CROSS * [0, 1, 0]
# figure 2 of Malvar, He and Cutler, in eighths
GREEN = np.zeros((5, 5))
GREEN[2], GREEN[:, 2] = [-1, 2, 4, 2, -1], [-1, 2, 4, 2, -1]
BESIDE = np.array([
    [0, 0, 0.5, 0, 0], [0, -1, 0, -1, 0], [-1, 4, 5, 4, -1], [0, -1, 0, -1, 0], [0, 0, 0.5, 0, 0],
])  # fmt: skip
OPPOSITE = np.zeros((5, 5))
OPPOSITE[2], OPPOSITE[:, 2] = [-1.5, 0, 6, 0, -1.5], [-1.5, 0, 6, 0, -1.5]
OPPOSITE[1:4:2, 1:4:2] = 2


def colours_of(pattern: str, places: NDArray[np.float64]) -> NDArray[Any]:
    """The colour of each pixel, by its place on the detector, ``(2, y, x)``."""
    y, x = places.astype(int) % 2
    return np.array(list(pattern))[2 * y + x]


def expected(
    mosaic: NDArray[Any], colours: NDArray[Any], masked: NDArray[np.bool_], method: str
) -> NDArray[np.float64]:
    """Red, green and blue by convolutions, not rounded; NaN where there is no value."""
    there = ~masked & ~np.isnan(mosaic)
    values = np.where(there, mosaic, 0).astype("f8")

    def filtered(kernel: Any) -> Any:
        """The sum, where all of the filter's pixels hold values."""
        holds = convolve(there.astype(int), (kernel != 0).astype(int), mode="constant")
        whole = holds == np.count_nonzero(kernel)
        return np.where(whole, convolve(values, kernel / 8, mode="constant"), np.nan)

    def mean(kernel: Any) -> Any:
        """The mean of what there is."""
        count = convolve(there.astype(int), kernel, mode="constant")
        with np.errstate(invalid="ignore"):
            return np.where(count, convolve(values, kernel, mode="constant") / count, np.nan)

    # by the row of a green pixel, to find whether red lies beside it or above it
    in_row = {c: (colours == c).any(axis=1)[:, np.newaxis] for c in "rb"}
    planes = []
    for colour, opposite in (("r", "b"), ("g", ""), ("b", "r")):
        plane = values.copy()
        for where, filters in (
            ((colours != "g") & (colour == "g"), (GREEN, CROSS)),
            ((colours == "g") & (colour != "g") & in_row.get(colour, False), (BESIDE, ROW)),
            (
                (colours == "g") & (colour != "g") & ~np.asarray(in_row.get(colour, False)),
                (BESIDE.T, COLUMN),
            ),
            (colours == opposite, (OPPOSITE, CORNERS)),
        ):
            by_means = mean(filters[1])
            linear = filtered(filters[0])
            best = np.where(np.isnan(linear), by_means, linear) if method == "malvar" else by_means
            plane[where] = best[where]
        planes.append(np.where(there, plane, np.nan))
    return np.stack(planes)


def held(pixels: NDArray[Any]) -> NDArray[np.bool_]:
    """Where there is the fill value."""
    return np.isnan(pixels) if pixels.dtype.kind == "f" else pixels == np.iinfo(pixels.dtype).max


def same(pixels: NDArray[Any], wanted: NDArray[np.float64]) -> None:
    """The pixels are those, cut to the type; what has none holds the fill value."""
    none = np.isnan(wanted)
    assert held(pixels)[none].all()
    if pixels.dtype.kind == "f":
        top = float(np.nanmax(np.abs(wanted), initial=1.0))
        np.testing.assert_allclose(pixels[~none], wanted[~none], rtol=0, atol=1e-5 * top)
        return
    info = np.iinfo(pixels.dtype)
    rounded = np.clip(np.floor(wanted + 0.5), info.min, info.max)
    np.testing.assert_allclose(pixels[~none].astype("f8"), rounded[~none], rtol=0, atol=1e-6)


@st.composite
def mosaics(draw: st.DrawFn) -> tuple[tuple[int, int], tuple[Operation, ...]]:
    """A detector, and what was cropped, flipped and turned of it: at least 2 × 2 pixels."""
    shape = draw(shapes(2, 12))
    chain = draw(chains(shape, bins=False))
    if min(grid_after(shape, chain).shape) < 2:
        chain = tuple(one for one in chain if one[0] != "crop")
    return shape, chain


@given(mosaics(), types, patterns, methods, seeds)
def test_each_colour_is_what_convolutions_yield_after_any_crops_flips_and_turns(
    case: Any, dtype: str, pattern: str, method: Any, seed: int
) -> None:
    shape, chain = case
    spec = Spec(Grid(shape), np.dtype(dtype), pattern=pattern)
    frames = block(seed, spec, 2)
    result = ran(spec, frames, *tasks_of(chain), Demosaic(method=method))
    planned, out = result.plan["out"].inputs[0], result.frames.pixels
    colours = applied(colours_of(pattern, np.indices(shape).astype(float)), chain)
    assert (planned.bands, planned.pattern) == (("red", "green", "blue"), "")
    assert (planned.grid, out.dtype) == (grid_after(shape, chain), spec.dtype)
    for frame, rgb in zip(frames.pixels, out, strict=True):
        mosaic = applied(frame[0], chain)
        same(rgb, expected(mosaic, colours, np.zeros(mosaic.shape, bool), method))
        for plane, colour in zip(rgb, "rgb", strict=True):  # to the last bit, with all 64 of them
            assert np.array_equal(plane[colours == colour], mosaic[colours == colour])


@given(shapes(2, 9), types, patterns, methods, st.floats(0.02, 0.6), seeds)
def test_masked_pixels_and_nan_are_kept_out(
    shape: Any, dtype: str, pattern: str, method: Any, share: float, seed: int
) -> None:
    spec = Spec(Grid(shape), np.dtype(dtype), pattern=pattern)
    frames = block(seed, spec, 2)
    random = np.random.default_rng(seed)
    masked = random.random(shape) < share
    if spec.dtype.kind == "f":
        frames.pixels[random.random(frames.pixels.shape) < share] = np.nan
    result = ran(spec, frames, Mask(masked), Demosaic(method=method))
    colours = colours_of(pattern, np.indices(shape).astype(float))
    told = result.plan["out"].inputs[0].masked
    told = np.zeros((3, *shape), bool) if told is None else np.broadcast_to(told, (3, *shape))
    for frame, rgb in zip(frames.pixels, result.frames.pixels, strict=True):
        wanted = expected(frame[0], colours, masked, method)
        same(rgb, wanted)
        if spec.dtype.kind != "f":
            assert np.array_equal(told, np.isnan(wanted))


@given(shapes(2, 9), patterns, methods, seeds)
def test_what_a_single_frame_lacks_is_kept_out_of_this_frame_alone(
    shape: Any, pattern: str, method: Any, seed: int
) -> None:
    spec = Spec(Grid(shape), np.dtype("u2"), pattern=pattern)
    missing = np.random.default_rng(seed).random(shape) < 0.3
    missing[0, 0] = True
    frames = lacking(block(seed, spec, 3), {1: missing})
    mosaic = frames.pixels.copy()
    out = ran(spec, frames, Demosaic(method=method)).frames.pixels
    colours = colours_of(pattern, np.indices(shape).astype(float))
    for number in range(3):
        none = missing if number == 1 else np.zeros(shape, bool)
        same(out[number], expected(mosaic[number, 0], colours, none, method))


@pytest.mark.parametrize("dtype", ["u8", "i8"])
def test_wide_integers_keep_their_own_colour_and_do_not_wrap(dtype: str) -> None:
    spec = Spec(Grid((6, 6)), np.dtype(dtype), pattern="rggb")
    frames = block(0, spec, 1)
    for value in (np.iinfo(dtype).max - 1, np.iinfo(dtype).min, 2**53 + 1):
        frames.pixels[...] = value
        out = ran(spec, frames, Demosaic()).frames.pixels
        assert out[0, 0, 0, 0] == value
        assert np.abs(out.astype("f8") - float(value)).max() <= 2048


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_grey_stays_grey_and_a_colour_that_is_even_stays_even(method: Any, pattern: str) -> None:
    rgb = np.array([200, 100, 50])
    colours = colours_of(pattern, np.indices((7, 9)).astype(float))
    for levels in (rgb, np.array([77, 77, 77])):
        mosaic = np.zeros((7, 9), "u1")
        for level, colour in zip(levels, "rgb", strict=True):
            mosaic[colours == colour] = level
        pipe = ld.Pipeline()
        pipe.add("rgb", Demosaic(pattern=pattern, method=method))
        out = ld.process(mosaic, pipe)["rgb"]
        # the filters of 5 × 5 carry steps of one colour to another, and an even colour has none
        assert (out.values[0] == levels[:, np.newaxis, np.newaxis]).all()
        assert out["band"].values.tolist() == ["red", "green", "blue"]


def test_photographs_come_out_as_well_as_is_known_of_the_methods() -> None:
    """Over Kodak's 24 photographs bilinear has some 30 dB, Malvar's filters some 35 dB."""
    from skimage.data import astronaut, chelsea, coffee
    from skimage.metrics import peak_signal_noise_ratio

    for photograph in (astronaut(), chelsea(), coffee()):
        mosaic = mosaicked(photograph, "grbg")
        found = {}
        for method in METHODS:
            pipe = ld.Pipeline()
            pipe.add("rgb", Demosaic(pattern="grbg", method=method))
            out = np.moveaxis(ld.process(mosaic, pipe)["rgb"].values[0], 0, -1)
            found[method] = peak_signal_noise_ratio(photograph, out)
        assert 29 < found["bilinear"] < 35, found
        assert 32 < found["malvar"] < 40, found
        assert 3 < found["malvar"] - found["bilinear"] < 7, found


def mosaicked(photograph: NDArray[Any], pattern: str) -> NDArray[Any]:
    """A photograph, ``(y, x, colour)``, as a camera with colour filters takes it."""
    colours = colours_of(pattern, np.indices(photograph.shape[:2]).astype(float))
    return np.choose(np.select([colours == one for one in "rgb"], [0, 1, 2]), list(
        np.moveaxis(photograph, -1, 0)
    ))  # fmt: skip


# ---- where the pattern comes from --------------------------------------------------------------


SPEC = Spec(Grid((8, 10)), np.dtype("u2"), pattern="rggb")


def test_a_pattern_of_ones_own_goes_before_the_detector_s() -> None:
    frames = block(3, SPEC)
    own = ran(SPEC, frames, Demosaic(pattern="bggr")).frames.pixels
    told = ran(SPEC.replace(pattern="bggr"), frames, Demosaic()).frames.pixels
    assert np.array_equal(own, told)
    assert not np.array_equal(own, ran(SPEC, frames, Demosaic()).frames.pixels)


def test_sums_are_demosaiced_like_frames() -> None:
    frames = block(3, SPEC, 4, top=1000)
    out = ran(SPEC, frames, Accumulate(nb_frames=2), Demosaic()).frames.pixels
    sums = frames.pixels.reshape(2, 2, 1, 8, 10).sum(axis=1, dtype="u4")
    alone = ran(SPEC.replace(dtype=np.dtype("u4")), Frames.of(sums), Demosaic()).frames.pixels
    assert np.array_equal(out, alone)


def test_labelled_blocks_carry_the_pattern_and_slices_keep_it_right() -> None:
    frames = block(5, SPEC, 1)
    labelled = Labels(SPEC)(frames)
    assert labelled.attrs["pattern"] == "rggb"
    assert spec_of(labelled).pattern == "rggb"
    cut = labelled[..., 1:7, 3:8]
    wanted = ran(SPEC, frames, Crop(y=1, x=3, height=6, width=5), Demosaic()).frames.pixels
    made = Demosaic()(cut)
    assert np.array_equal(made.values, wanted)
    assert "pattern" not in made.attrs
    assert made["band"].values.tolist() == ["red", "green", "blue"]


def test_a_function_s_result_is_still_a_mosaic_unless_it_has_other_bands() -> None:
    @ld.task
    def halved(block: Any) -> Any:
        return (block // 2).drop_attrs()

    @ld.task
    def coloured(block: Any) -> Any:
        return xr.concat([block.drop_vars("band")] * 3, "band").transpose(*block.dims)

    assert halved().plan(SPEC).pattern == "rggb"  # type: ignore[union-attr]
    assert coloured().plan(SPEC).pattern == ""  # type: ignore[union-attr]


def refused(spec: Spec, *tasks: Any) -> ConfigError:
    """How the last of the tasks is refused."""
    with pytest.raises(ConfigError) as caught:
        ran(spec, block(0, spec), *tasks)
    assert caught.value.node == f"n{len(tasks) - 1}"
    return caught.value


@pytest.mark.parametrize("bins", [(2, 2), (1, 2), (3, 3)])
@pytest.mark.parametrize("pattern", [None, "rggb"])
def test_after_binning_it_is_refused_and_says_what_to_do(bins: Any, pattern: Any) -> None:
    error = refused(SPEC, Bin(y=bins[0], x=bins[1]), Flip(axis="y"), Demosaic(pattern=pattern))
    assert f"{bins[0]}×{bins[1]}" in str(error)
    assert "demosaic first, then bin" in str(error)
    assert error.field == "pattern"


def test_bins_of_one_pixel_leave_the_mosaic() -> None:
    frames = block(0, SPEC)
    out = ran(SPEC, frames, Bin(), Demosaic()).frames.pixels
    assert np.array_equal(out, ran(SPEC, frames, Demosaic()).frames.pixels)


def test_it_is_refused_where_nobody_tells_the_pattern() -> None:
    error = refused(SPEC.replace(pattern=""), Demosaic())
    assert (error.field, error.allowed) == ("pattern", PATTERNS)


def test_frames_of_several_bands_are_refused() -> None:
    error = refused(SPEC.replace(bands=("a", "b")), Demosaic())
    assert "a, b" in str(error)
    assert "select_band" in str(error)
    masked = np.zeros((2, 8, 10), bool)
    refused(SPEC.replace(bands=("a", "b"), masked=masked), Demosaic())


def test_an_image_that_lacks_a_colour_is_refused() -> None:
    error = refused(SPEC, Crop(y=0, x=0, height=1, width=6), Demosaic())
    assert "1 × 6" in str(error)


def test_an_unknown_pattern_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        Demosaic(pattern="rgbg")  # type: ignore[arg-type]
    assert (caught.value.field, caught.value.value) == ("pattern", "rgbg")
    assert "rggb" in str(caught.value.allowed)


# ---- parts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("gap", [0, 1, 2, 5])
def test_parts_are_demosaiced_apart_where_nothing_of_each_other_would_be_used(gap: int) -> None:
    rows = 16 + gap
    masked = np.zeros((rows, 9), bool)
    masked[8 : 8 + gap] = True
    whole = Spec(Grid((rows, 9)), np.dtype("u2"), masked=masked, pattern="gbrg")
    regions = Rect(0, 0, 8, 9), Rect(8 + gap, 0, 8, 9)
    if gap < 2:
        for region in regions:
            with pytest.raises(ConfigError, match="another part"):
                Demosaic().for_part(whole, region)
        return
    pixels = image(1, (1, *whole.frame_shape), "u2")
    pixels[..., masked] = 65535
    full = ran(whole, Frames.of(pixels), Demosaic()).frames.pixels
    for one in regions:
        grid = whole.grid.crop(one.y, one.x, one.height, one.width)
        part = whole.replace(grid=grid, masked=None)
        task = Demosaic().for_part(whole, one)
        cut = pixels[..., one.y : one.y + one.height, :]
        alone = ran(part, Frames.of(cut), task).frames.pixels
        assert np.array_equal(alone, full[..., one.y : one.y + one.height, :])


def test_luminance_of_a_mosaic_is_that_of_its_colours() -> None:
    frames = block(2, SPEC, 1)
    rgb = ran(SPEC, frames, Demosaic()).frames.pixels.astype("f8")
    weights = {"red": 0.2126, "green": 0.7152, "blue": 0.0722}
    out = ran(SPEC, frames, Demosaic(), CombineBands(weights=weights)).frames.pixels
    np.testing.assert_allclose(out[:, 0], np.tensordot(list(weights.values()), rgb[0], 1)[None])
