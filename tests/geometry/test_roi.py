"""What a region of interest covers by its own rule, and what it becomes under maps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from strategies import (
    Operation,
    Shape,
    arcs,
    chains,
    grid_after,
    inside,
    polygons,
    positions,
    rects,
    rois,
    shapes,
)

from limadask.geometry import Affine, Arc, Polygon, Rect, Roi

Case = tuple[Shape, tuple[Operation, ...]]
cases = shapes().flatmap(lambda shape: st.tuples(st.just(shape), chains(shape)))
unbinned = shapes().flatmap(lambda shape: st.tuples(st.just(shape), chains(shape, bins=False)))


def covered(roi: Roi, shape: Shape) -> Any:
    """The pixels of an image inside a region, by the region itself."""
    return np.broadcast_to(roi.contains(*np.indices(shape)), shape)


@given(rois, shapes(4, 16))
def test_a_region_contains_what_its_rule_says(roi: Roi, shape: Shape) -> None:
    y, x = np.indices(shape)
    np.testing.assert_array_equal(covered(roi, shape), inside(roi, y, x))


def test_a_rectangle_ends_before_its_last_row_and_column() -> None:
    expected = np.zeros((5, 6), bool)
    expected[1:3, 2:5] = True
    np.testing.assert_array_equal(covered(Rect(1, 2, 2, 3), (5, 6)), expected)
    assert Rect(1, 2, 2, 3).contains(2.999, 2.0)
    assert not Rect(1, 2, 2, 3).contains(3.0, 2.0)
    assert not Rect(1, 2, 2, 3).contains(0.999, 2.0)


def test_an_arc_takes_its_inner_radius_and_first_angle_and_not_its_outer_ones() -> None:
    ring = Arc(0, 0, 5, 10)
    assert ring.contains(3, 4)
    assert not ring.contains(6, 8)
    quarter = Arc(0, 0, 0, 10, 0, 90)
    assert quarter.contains(0, 5)  # along +x
    assert not quarter.contains(5, 0)  # along +y, 90°
    assert quarter.contains(5, 1)
    assert not quarter.contains(-1, 5)


def test_angles_run_from_x_to_y_and_past_full_turns() -> None:
    lower_right = Arc(0, 0, 1, 10, 30, 60)
    assert lower_right.contains(3, 3)
    assert not lower_right.contains(-3, 3)
    assert Arc(0, 0, 1, 10, 390, 420).contains(3, 3)
    assert Arc(0, 0, 1, 10, -330, -300).contains(3, 3)
    assert Arc(0, 0, 1, 10, 300, 420).contains(0, 3)
    assert Arc(0, 0, 1, 10, 17, 377).contains(-3, -3)


def test_a_polygon_that_crosses_itself_is_hollow_where_it_lies_twice() -> None:
    star = Polygon(((0, 0), (10, 0), (10, 10), (0, 10), (0, 0), (7, 3), (7, 7), (3, 7), (3, 3)))
    assert star.contains(1.5, 8.5)
    assert not star.contains(5.1, 5.2)


@given(unbinned, st.one_of(rects, arcs()))
def test_rectangles_and_arcs_stay_what_they_are_under_flips_and_turns(
    case: Case, roi: Rect | Arc
) -> None:
    grid = grid_after(*case)
    there = grid.to_detector(roi)
    assert type(there) is type(roi)
    assert type(grid.from_detector(there)) is type(roi)


@given(shapes(4, 16), st.integers(1, 4), arcs())
def test_an_arc_stays_one_under_equal_bins_and_becomes_a_polygon_under_others(
    shape: Shape, size: int, arc: Arc
) -> None:
    equal, unequal = grid_after(shape, (("bin", {"y": size, "x": size}),)), None
    assert isinstance(equal.to_detector(arc), Arc)
    assert isinstance(equal.from_detector(arc), Arc)
    if size > 1:
        unequal = grid_after(shape, (("bin", {"y": size, "x": 1}),))
        assert isinstance(unequal.to_detector(arc), Polygon)
        assert isinstance(unequal.from_detector(arc), Polygon)


@given(cases, polygons())
def test_a_polygon_stays_a_polygon(case: Case, roi: Polygon) -> None:
    grid = grid_after(*case)
    assert isinstance(grid.to_detector(roi), Polygon)
    assert isinstance(grid.from_detector(roi), Polygon)


def test_a_slanted_map_makes_polygons_of_rectangles() -> None:
    slanted = Affine.of([[0.8, 0.6, 1], [-0.6, 0.8, 2], [0, 0, 1]])
    square = Rect(2, 3, 4, 5, "spot").mapped(slanted)
    assert isinstance(square, Polygon)
    assert square.name == "spot"
    y, x = np.indices((4, 5)) + np.array([2, 3]).reshape(2, 1, 1)
    assert square.contains(*slanted(y, x)).all()
    assert isinstance(Arc(0, 0, 1, 2).mapped(slanted), Arc)


@given(unbinned, rois)
def test_a_region_drawn_on_the_image_is_found_again_from_the_detector(case: Case, roi: Roi) -> None:
    grid = grid_after(*case)
    there = grid.to_detector(roi)
    pixels = inside(roi, *np.indices(grid.shape))
    np.testing.assert_array_equal(there.contains(*positions(*case)), pixels)
    np.testing.assert_array_equal(covered(grid.from_detector(there), grid.shape), pixels)


@given(cases, rects)
def test_a_rectangle_on_binned_pixels_covers_exactly_their_tiles(case: Case, roi: Rect) -> None:
    shape, chain = case
    grid = grid_after(*case)
    there = grid.to_detector(roi)
    assert isinstance(there, Rect)
    low, high = positions(shape, chain, np.min).astype(int), positions(shape, chain, np.max)
    expected = np.zeros(shape, bool)
    for at in np.argwhere(inside(roi, *np.indices(grid.shape))):
        (y0, x0), (y1, x1) = low[:, *at], high[:, *at].astype(int)
        expected[y0 : y1 + 1, x0 : x1 + 1] = True
    window = np.zeros(shape, bool)  # what the image shows of the detector
    for at in np.ndindex(grid.shape):
        (y0, x0), (y1, x1) = low[:, *at], high[:, *at].astype(int)
        window[y0 : y1 + 1, x0 : x1 + 1] = True
    np.testing.assert_array_equal(covered(there, shape) & window, expected)
    back = grid.from_detector(there)
    assert back == roi


@given(cases, rects)
def test_a_rectangle_of_the_detector_takes_the_pixels_whose_centre_it_contains(
    case: Case, roi: Rect
) -> None:
    grid = grid_after(*case)
    here = grid.from_detector(roi)
    expected = inside(roi, *positions(*case))
    if isinstance(here, Rect):
        np.testing.assert_array_equal(covered(here, grid.shape), expected)
    else:
        assert not expected.any()  # too small to contain a centre


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Rect(0, 0, 0, 3), "greater than 0"),
        (lambda: Rect(0, 0, 3, -1), "greater than 0"),
        (lambda: Arc(0, 0, 5, 5), "r1 < r2"),
        (lambda: Arc(0, 0, -1, 5), "greater than or equal"),
        (lambda: Arc(0, 0, 1, 5, 90, 90), "a1 < a2"),
        (lambda: Polygon(((0, 0), (1, 1))), "at least 3"),
    ],
    ids=["no rows", "negative width", "empty ring", "negative radius", "no angle", "a line"],
)
def test_an_impossible_region_is_refused(make: Any, match: str) -> None:
    with pytest.raises(ValidationError, match=match):
        make()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_region_at_no_place_is_refused(bad: float) -> None:
    with pytest.raises(ValidationError, match="finite"):
        Arc(bad, 0, 1, 5)
    with pytest.raises(ValidationError, match="finite"):
        Polygon(((0, 0), (1, bad), (2, 5)))
