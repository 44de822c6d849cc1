"""RoiStatistics against NumPy."""

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
    rois,
    seeds,
    shapes,
    tasks_of,
)

from limadask.errors import ConfigError
from limadask.frames import Labels, Spec
from limadask.geometry import Arc, Grid, Polygon, Rect, Roi
from limadask_tasks import Mask, RoiStatistics

Case = tuple[Shape, tuple[Operation, ...]]
NAMES = ("min", "max", "mean", "std", "sum", "count")


def expected(pixels: Any, chosen: Any) -> dict[str, Any]:
    """The statistics of the chosen pixels, ``(band, y, x)``, of each frame and band."""
    tables: dict[str, Any] = {name: np.full(pixels.shape[:2], np.nan) for name in NAMES}
    for frame, band in np.ndindex(pixels.shape[:2]):
        values = pixels[frame, band][chosen[band]].astype("f8")
        values = values[~np.isnan(values)]
        tables["sum"][frame, band], tables["count"][frame, band] = values.sum(), values.size
        if values.size:
            for name in NAMES[:4]:
                tables[name][frame, band] = getattr(np, name)(values)
    return tables


def compare(values: Any, number: int, tables: dict[str, Any]) -> None:
    for name in NAMES:
        got = values[name][:, :, number]
        if name in ("min", "max", "count"):
            np.testing.assert_array_equal(got, tables[name])
        else:
            scale = np.nanmax(np.abs(np.stack([tables["min"], tables["max"]])), initial=1)
            np.testing.assert_allclose(got, tables[name], rtol=1e-9, atol=float(scale) * 1e-9)


@given(
    shapes(2, 12).flatmap(lambda shape: st.tuples(st.just(shape), chains(shape, bins=False))),
    st.lists(rois, min_size=1, max_size=3),
    dtypes,
    st.booleans(),
    st.sampled_from(["none", "all", "each"]),
    seeds,
)
def test_statistics_are_those_of_the_pixels_inside(
    case: Case, regions: list[Roi], dtype: str, on_detector: bool, mask: str, seed: int
) -> None:
    shape, chain = case
    spec = Spec(Grid(shape), np.dtype(dtype), ("a", "b"))
    frames = block(seed, spec)
    end = applied(np.zeros(shape), chain).shape
    where = positions(shape, chain) if on_detector else np.indices(end)
    chosen = [inside(roi, *where) for roi in regions]
    assume(all(one.any() for one in chosen))
    if not on_detector:
        rows, columns = end
        assume(
            all(
                not isinstance(roi, Rect)
                or (0 <= roi.y <= rows - roi.height and 0 <= roi.x <= columns - roi.width)
                for roi in regions
            )
        )
    masked = np.random.default_rng(seed).random((2, *shape) if mask == "each" else shape) < 0.3
    before = [] if mask == "none" else [Mask(masked)]
    coordinates: Any = "detector" if on_detector else "image"
    task = RoiStatistics(rois=regions, coordinates=coordinates)
    values = reduced(spec, frames, *before, *tasks_of(chain), task)
    unmasked = np.ones((2, *end), bool)
    if before:
        unmasked = ~np.broadcast_to(applied(masked, chain), (2, *end))
    for number, one in enumerate(chosen):
        compare(values, number, expected(applied(frames.pixels, chain), one & unmasked))
    assert {name: values[name].dtype.str for name in NAMES} == {
        **dict.fromkeys(NAMES, "<f8"),
        "count": "<i8",
    }


def test_the_deviation_is_that_of_the_population_also_around_a_large_mean() -> None:
    spec = Spec(Grid((100, 100)), np.dtype("u4"))
    frames = block(0, spec, 2)
    noise = np.random.default_rng(5).integers(0, 3, frames.pixels.shape)
    frames.pixels[...] = 4_000_000_000 + noise
    values = reduced(spec, frames, RoiStatistics(rois=[Rect(10, 10, 80, 80)]))
    deviation = noise[:, :, 10:90, 10:90].astype("f8").std(axis=(2, 3), ddof=0)
    np.testing.assert_allclose(values["std"][..., 0], deviation, rtol=1e-7)


def test_nan_is_left_out_and_nothing_gives_nan() -> None:
    spec = Spec(Grid((2, 2)), np.dtype("f4"))
    frames = block(0, spec, 1)
    frames.pixels[...] = [[1, np.nan], [np.nan, np.nan]]
    values = reduced(spec, frames, RoiStatistics(rois=[Rect(0, 0, 1, 2), Rect(1, 0, 1, 2)]))
    assert [values[name][0, 0, 0] for name in NAMES] == [1, 1, 1, 0, 1, 1]
    assert np.isnan([values[name][0, 0, 1] for name in NAMES[:4]]).all()
    assert [values[name][0, 0, 1] for name in NAMES[4:]] == [0, 0]


def test_a_labelled_block_gives_a_dataset() -> None:
    spec = Spec(Grid((4, 4)), np.dtype("u2"), ("4 keV", "8 keV"))
    frames = block(3, spec, 2, first=10)
    task = RoiStatistics(rois=[Rect(0, 0, 2, 2, "spot"), Arc(2.1, 2.2, 0, 2)])
    table = task(Labels(spec)(frames))
    assert table["mean"].dims == ("frame", "band", "roi")
    assert table["frame"].values.tolist() == [10, 11]
    assert table["band"].values.tolist() == ["4 keV", "8 keV"]
    assert table["roi"].values.tolist() == ["spot", "1"]
    found = table["max"].sel(frame=11, band="8 keV", roi="spot")
    assert found == frames.pixels[1, 1, :2, :2].max()


def test_regions_may_be_written_as_mappings() -> None:
    task = RoiStatistics(
        rois=[
            {"y": 1, "x": 2, "height": 3, "width": 4},
            {"y": 1.5, "x": 2, "r1": 0, "r2": 4, "a1": 10, "a2": 50, "name": "wedge"},
            {"points": [[0, 0], [0, 5], [5, 0]]},
        ]
    )
    assert task.rois == (
        Rect(1, 2, 3, 4),
        Arc(1.5, 2, 0, 4, 10, 50, "wedge"),
        Polygon(((0, 0), (0, 5), (5, 0))),
    )


@pytest.mark.parametrize(
    ("roi", "coordinates"),
    [
        (Rect(0, 0, 9, 2), "image"),
        (Rect(0, 6, 2, 3), "image"),
        (Rect(-1, 0, 2, 2), "image"),
        (Arc(20, 20, 1, 3), "image"),
        (Polygon(((20, 20), (20, 30), (30, 20))), "image"),
        (Arc(2.5, 2.5, 0, 0.1), "image"),
        (Rect(0, 0, 2, 2), "detector"),
        (Arc(0, 0, 0, 3), "detector"),
    ],
    ids=str,
)
def test_a_region_outside_the_image_is_refused(roi: Roi, coordinates: Any) -> None:
    spec = Spec(Grid((20, 20)).crop(5, 5, 8, 8), np.dtype("u2"))
    good = Rect(6, 6, 1, 1)
    with pytest.raises(ConfigError) as caught:
        reduced(spec, block(0, spec), RoiStatistics(rois=[good, roi], coordinates=coordinates))
    error = caught.value
    assert (error.node, error.field, error.value) == ("n0", "rois.1", roi)
    assert ("8 rows" if coordinates == "image" else "corners [(5.0, 5.0)") in error.allowed


def test_an_unknown_region_is_refused_by_its_place() -> None:
    with pytest.raises(ConfigError) as caught:
        RoiStatistics(rois=[{"y": 1, "x": 2, "height": 3, "width": 4}, {"y": 1, "radius": 5}])
    assert str(caught.value.field).startswith("rois.1")
    with pytest.raises(ConfigError) as caught:
        RoiStatistics(rois=[])
    assert caught.value.field == "rois"
