"""Parts of frames and their places in the whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limadask.frames import Mosaic, Spec
from limadask.geometry import Grid, Rect

GAPS = np.zeros((20, 12), bool)
GAPS[8:12] = True
WHOLE = Spec(Grid((20, 12)), np.dtype("u2"), masked=GAPS)
PARTS = [WHOLE.replace(grid=WHOLE.grid.crop(y, 0, 8, 12), masked=None) for y in (0, 12)]


def turned(spec: Spec, axis: bool, turns: int) -> Spec:
    """Return the spec after a flip and quarter turns; the mask goes with the pixels."""
    masked = spec.masked
    grid = spec.grid
    if axis:
        grid, masked = grid.flip("y"), None if masked is None else masked[::-1]
    masked = None if masked is None else np.rot90(masked, turns)
    return spec.replace(grid=grid.rotate(turns), masked=masked)


@given(st.booleans(), st.integers(0, 3))
def test_places_follow_flips_and_turns(axis: bool, turns: int) -> None:
    whole = turned(WHOLE, axis, turns)
    mosaic = Mosaic.of(whole, [turned(part, axis, turns) for part in PARTS])
    assert whole.masked is not None
    covered = np.zeros(whole.grid.shape, int)
    for place, part in zip(mosaic.places, PARTS, strict=True):
        covered[place] += 1
        corner = whole.grid(place[0].start, place[1].start)
        assert corner == turned(part, axis, turns).grid(0, 0)
    assert np.array_equal(covered, ~whole.masked)


def test_a_full_frame_is_its_only_part() -> None:
    assert Mosaic.of(WHOLE, [WHOLE]).regions == (Rect(0, 0, 20, 12),)


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ([PARTS[0], PARTS[0]], "overlap"),
        ([PARTS[0]], "96 pixels of the full image are in no part"),
        ([turned(PARTS[0], True, 0), PARTS[1]], "does not lie on pixels"),
        ([PARTS[0].replace(grid=PARTS[0].grid.bin(2, 1)), PARTS[1]], "does not lie on pixels"),
        ([PARTS[0].replace(grid=Grid((30, 12))), PARTS[1]], "does not lie on pixels"),
    ],
)
def test_what_does_not_fit_is_refused(parts: list[Spec], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Mosaic.of(WHOLE, parts)
