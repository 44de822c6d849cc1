"""The demo's picture: what is drawn, and where."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from limadask.geometry import Arc, Rect
from limadask_benchmarks.demo.inputs import CAMERA
from limadask_benchmarks.demo.picture import draw_curves, draw_image, regions

BANDS = CAMERA["bands"]
SHAPE = (1062, 1028)


@pytest.fixture
def axes() -> Any:
    return Figure().subplots()


def test_the_image_is_shown_pixel_by_pixel_in_detector_coordinates(axes: Any) -> None:
    image = np.random.default_rng(1).random(SHAPE)
    image[512:550] = np.nan
    draw_image(axes, image, regions())
    (shown,) = axes.images
    assert np.array_equal(shown.get_array().filled(np.nan), image, equal_nan=True)
    assert shown.get_extent() == [-0.5, 1027.5, 1061.5, -0.5]  # pixel centres on integers
    assert axes.get_xlim() == (0, 1028)
    assert axes.get_ylim() == (1062, 0)


def test_every_region_is_outlined_where_it_lies_on_the_detector(axes: Any) -> None:
    draw_image(axes, np.ones(SHAPE), regions())
    lines = {line.get_label(): line.get_xydata() for line in axes.lines}
    assert list(lines) == ["centre", "first ring", "second ring", "corner"]
    corners = [(469.5, 429.5), (533.5, 429.5), (533.5, 493.5), (469.5, 493.5), (469.5, 429.5)]
    assert lines["centre"].tolist() == [list(corner) for corner in corners]
    for roi in regions():
        line = lines[roi.name]
        assert line[0].tolist() == line[-1].tolist()
        assert np.array_equal(line[:-1, ::-1], roi.outline())
    radii = np.hypot(*(lines["first ring"] - (514, 531)).T)
    assert radii.min() == pytest.approx(358)
    assert radii.max() == pytest.approx(402)
    assert [type(roi) for roi in regions()] == [Rect, Arc, Arc, Rect]


def test_an_image_without_any_value_is_drawn_all_the_same(axes: Any) -> None:
    draw_image(axes, np.full(SHAPE, np.nan), regions())
    assert axes.images[0].get_clim() == (0, 1)


@pytest.mark.parametrize(("frames", "width"), [(7, 1), (200, 4)])
def test_there_is_a_curve_for_each_region_and_band(axes: Any, frames: int, width: int) -> None:
    names = [roi.name or "" for roi in regions()]
    mean = np.random.default_rng(2).random((frames, len(BANDS), len(names)))
    statistics = xr.Dataset(
        {"mean": (("frame", "band", "roi"), mean)},
        {"frame": np.arange(frames) + 3, "band": BANDS, "roi": names},
    )
    draw_curves(axes, statistics, names)
    lines = {line.get_label(): line for line in axes.lines}
    assert list(lines) == [f"{name}, {band}" for name in names for band in BANDS]
    for number, name in enumerate(names):
        for place, band in enumerate(BANDS):
            line = lines[f"{name}, {band}"]
            assert line.get_xdata().tolist() == list(range(3, frames + 3))
            smooth = np.convolve(mean[:, place, number], np.full(width, 1 / width), "valid")
            found = line.get_ydata()
            np.testing.assert_allclose(found[np.isfinite(found)], smooth)
