"""RoiProfiles against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import reduced
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import (
    Operation,
    Shape,
    applied,
    block,
    chains,
    dtypes,
    inside,
    positions,
    seeds,
    shapes,
    tasks_of,
)

from limadask.errors import ConfigError
from limadask.frames import Labels, Spec
from limadask.geometry import Grid, Rect
from limadask_tasks import Mask, RoiProfiles

Case = tuple[Shape, tuple[Operation, ...]]
NAMES = ("min", "max", "mean", "std", "sum", "count")


def profile(part: Any, used: Any, axis: int) -> dict[str, Any]:
    """Statistics along ``axis`` of a rectangle ``(frame, band, y, x)`` where ``used``."""
    values = np.where(used, part.astype("f8"), np.nan)
    count = np.isfinite(values).sum(axis=axis)
    safe = np.where(np.isnan(values), 0, values)
    total = safe.sum(axis=axis)
    with np.errstate(invalid="ignore"):
        mean = total / np.where(count, count, np.nan)
        spread = np.where(np.isnan(values), 0, values - np.expand_dims(mean, axis)) ** 2
        deviation = np.sqrt(spread.sum(axis=axis) / np.where(count, count, np.nan))
    low = np.where(count, np.where(np.isnan(values), np.inf, values).min(axis=axis), np.nan)
    high = np.where(count, np.where(np.isnan(values), -np.inf, values).max(axis=axis), np.nan)
    columns = (low, high, mean, deviation, total, count)
    return dict(zip(NAMES, columns, strict=True))


@given(
    shapes(2, 10).flatmap(lambda shape: st.tuples(st.just(shape), chains(shape, bins=False))),
    st.data(),
    dtypes,
    st.sampled_from(["horizontal", "vertical"]),
    st.sampled_from(["none", "all", "each"]),
    seeds,
)
def test_profiles_are_those_of_the_columns_or_rows(
    case: Case, data: st.DataObject, dtype: str, direction: Any, mask: str, seed: int
) -> None:
    shape, chain = case
    spec = Spec(Grid(shape), np.dtype(dtype), ("a", "b"))
    frames = block(seed, spec, top=1000)
    rows, columns = applied(np.zeros(shape), chain).shape
    boxes = []
    for _ in range(data.draw(st.integers(1, 3))):
        y, x = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
        height, width = data.draw(st.integers(1, rows - y)), data.draw(st.integers(1, columns - x))
        boxes.append(Rect(y, x, height, width))
    masked = np.random.default_rng(seed).random((2, *shape) if mask == "each" else shape) < 0.3
    before = [] if mask == "none" else [Mask(masked)]
    task = RoiProfiles(rois=boxes, direction=direction)
    values = reduced(spec, frames, *before, *tasks_of(chain), task)

    pixels = applied(frames.pixels, chain)
    used = np.ones(pixels.shape, bool)
    if before:
        used = ~np.broadcast_to(applied(masked, chain), pixels.shape)
    longest = max(box.width if direction == "horizontal" else box.height for box in boxes)
    for name in NAMES:
        assert values[name].shape == (3, 2, len(boxes), longest)
    for number, box in enumerate(boxes):
        cut = (..., slice(box.y, box.y + box.height), slice(box.x, box.x + box.width))
        tables = profile(pixels[cut], used[cut], 2 if direction == "horizontal" else 3)
        length = tables["sum"].shape[-1]
        for name in NAMES:
            got = values[name][:, :, number]
            np.testing.assert_allclose(got[..., :length], tables[name], rtol=1e-9, atol=1e-9)
            filler = 0 if name in ("sum", "count") else np.nan
            np.testing.assert_array_equal(got[..., length:], filler)


@given(
    shapes(2, 10).flatmap(lambda shape: st.tuples(st.just(shape), chains(shape))),
    st.data(),
    seeds,
)
def test_a_rectangle_of_the_detector_is_found_in_the_image(
    case: Case, data: st.DataObject, seed: int
) -> None:
    shape, chain = case
    spec = Spec(Grid(shape), np.dtype("u2"))
    frames = block(seed, spec, top=1000)
    y, x = data.draw(st.integers(0, shape[0] - 1)), data.draw(st.integers(0, shape[1] - 1))
    height = data.draw(st.integers(1, shape[0] - y))
    roi = Rect(y, x, height, data.draw(st.integers(1, shape[1] - x)))
    chosen = inside(roi, *positions(shape, chain))
    low, high = positions(shape, chain, np.min), positions(shape, chain, np.max)
    assume(chosen.any())
    assume(low[0].min() <= roi.y and roi.y + roi.height <= high[0].max() + 1)
    assume(low[1].min() <= roi.x and roi.x + roi.width <= high[1].max() + 1)
    values = reduced(
        spec, frames, *tasks_of(chain), RoiProfiles(rois=[roi], coordinates="detector")
    )
    pixels = applied(frames.pixels.astype("i8"), chain)
    at_y, at_x = np.nonzero(chosen)
    part = pixels[:, 0, at_y.min() : at_y.max() + 1, at_x.min() : at_x.max() + 1]
    assert part[0].size == chosen.sum()
    np.testing.assert_array_equal(values["sum"][:, 0, 0], part.sum(axis=1))


def test_nan_stays_out_of_profiles() -> None:
    spec = Spec(Grid((2, 3)), np.dtype("f4"))
    frames = block(0, spec, 1)
    frames.pixels[...] = [[1, np.nan, 3], [4, np.nan, np.nan]]
    values = reduced(spec, frames, RoiProfiles(rois=[Rect(0, 0, 2, 3)]))
    assert values["count"].ravel().tolist() == [2, 0, 1]
    np.testing.assert_array_equal(values["mean"].ravel(), [2.5, np.nan, 3])


def test_an_image_of_one_pixel_can_be_masked() -> None:
    spec = Spec(Grid((1, 1)), np.dtype("u2"))
    task = RoiProfiles(rois=[Rect(0, 0, 1, 1)])
    assert reduced(spec, block(0, spec), Mask(np.ones((1, 1))), task)["count"].sum() == 0


def test_a_labelled_block_gives_a_dataset_along_positions() -> None:
    spec = Spec(Grid((4, 6)), np.dtype("u2"))
    frames = block(1, spec, 2, first=5)
    task = RoiProfiles(rois=[Rect(1, 2, 2, 3, "edge")], direction="horizontal")
    table = task(Labels(spec)(frames))
    assert table["sum"].dims == ("frame", "band", "roi", "position")
    assert table["position"].values.tolist() == [0, 1, 2]
    found = table["sum"].sel(frame=6, roi="edge", position=2).item()
    assert found == frames.pixels[1, 0, 1:3, 4].sum()


@pytest.mark.parametrize(
    ("roi", "coordinates"),
    [
        (Rect(0, 0, 9, 2), "image"),
        (Rect(0, -1, 2, 2), "image"),
        (Rect(4, 5, 3, 3), "detector"),
        (Rect(30, 30, 3, 3), "detector"),
    ],
    ids=str,
)
def test_a_rectangle_that_leaves_the_image_is_refused(roi: Rect, coordinates: Any) -> None:
    spec = Spec(Grid((20, 20)).crop(5, 5, 8, 8), np.dtype("u2"))
    with pytest.raises(ConfigError, match="leaves the image") as caught:
        reduced(spec, block(0, spec), RoiProfiles(rois=[roi], coordinates=coordinates))
    assert (caught.value.node, caught.value.field) == ("n0", "rois.0")


def test_a_rectangle_smaller_than_a_bin_is_refused() -> None:
    spec = Spec(Grid((20, 20)).bin(4, 4), np.dtype("u2"))
    with pytest.raises(ConfigError, match="does not stay one") as caught:
        reduced(spec, block(0, spec), RoiProfiles(rois=[Rect(0, 0, 1, 1)], coordinates="detector"))
    assert caught.value.field == "rois.0"


def test_only_rectangles_have_profiles() -> None:
    with pytest.raises(ConfigError) as caught:
        RoiProfiles(rois=[{"y": 0, "x": 0, "r1": 1, "r2": 2}])
    assert str(caught.value.field).startswith("rois.0")
