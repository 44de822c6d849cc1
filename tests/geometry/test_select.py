"""Which pixels of an image a region takes, after any chain of operations."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from strategies import (
    Operation,
    Shape,
    chains,
    grid_after,
    inside,
    positions,
    rois,
    shapes,
    taken,
)

from limadask.geometry import Arc, Polygon, Rect, Roi, select

Case = tuple[Shape, tuple[Operation, ...]]
cases = shapes(1, 16).flatmap(lambda shape: st.tuples(st.just(shape), chains(shape)))


@given(cases, rois)
def test_a_region_of_the_detector_takes_the_pixels_whose_centre_lies_inside(
    case: Case, roi: Roi
) -> None:
    grid = grid_after(*case)
    chosen = taken(*select(roi, grid, "detector"), grid.shape)
    np.testing.assert_array_equal(chosen, inside(roi, *positions(*case)))


@given(cases, rois)
def test_a_region_of_the_image_takes_its_pixels_wherever_the_image_lies(
    case: Case, roi: Roi
) -> None:
    grid = grid_after(*case)
    chosen = taken(*select(roi, grid), grid.shape)
    np.testing.assert_array_equal(chosen, inside(roi, *np.indices(grid.shape)))


on_the_grid = st.one_of(
    st.builds(Rect, *[st.integers(-2, 8)] * 2, *[st.integers(1, 8)] * 2),
    st.builds(
        lambda y, x, r1, width, a1, span: Arc(y, x, r1, r1 + width, a1, a1 + span),
        *[st.integers(0, 8)] * 2,
        *[st.integers(1, 5)] * 2,
        st.sampled_from([-90, -45, 0, 45, 90, 180]),
        st.sampled_from([45, 90, 135, 180]),
    ),
    st.builds(
        lambda y, x, height, width: Polygon(
            ((y, x), (y, x + width), (y + height, x + width), (y + height, x))
        ),
        *[st.integers(0, 8)] * 2,
        *[st.integers(1, 8)] * 2,
    ),
)


@given(shapes(4, 12).flatmap(lambda s: st.tuples(st.just(s), chains(s, bins=False))), on_the_grid)
def test_pixels_on_a_border_are_counted_alike_after_any_flips_and_turns(
    case: Case, roi: Roi
) -> None:
    shape, _ = case
    plain = roi.contains(*np.indices(shape))
    grid = grid_after(*case)
    chosen = taken(*select(roi, grid, "detector"), grid.shape)
    y, x = positions(*case).astype(int)
    np.testing.assert_array_equal(chosen, plain[y, x])


def test_a_large_ring_loses_no_pixel_at_its_extremes() -> None:
    radius = 2000.0
    ring = Arc(-radius + 3.0, 5.3, radius - 3, radius + 0.001, 85, 95)
    grid = grid_after((12, 12), (("flip", {"axis": "y"}),))
    expected = inside(ring, *positions((12, 12), (("flip", {"axis": "y"}),)))
    assert expected.any()
    np.testing.assert_array_equal(taken(*select(ring, grid, "detector"), (12, 12)), expected)
