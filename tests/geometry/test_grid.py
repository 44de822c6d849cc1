"""Where the pixels lie after any chain of crops, flips, turns and bins."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import numpy as np
import pytest
from dask.base import tokenize
from hypothesis import given
from hypothesis import strategies as st
from strategies import Operation, Shape, chains, grid_after, positions, shapes

from limadask.geometry import Affine, Grid

cases = shapes().flatmap(lambda shape: st.tuples(st.just(shape), chains(shape)))


@given(cases)
def test_a_grid_places_each_pixel_where_numpy_moves_it(
    case: tuple[Shape, tuple[Operation, ...]],
) -> None:
    shape, chain = case
    grid, expected = grid_after(shape, chain), positions(shape, chain)
    assert grid.shape == expected.shape[1:]
    np.testing.assert_allclose(grid(*np.indices(grid.shape)), expected, atol=1e-9)


@given(cases)
def test_pixel_to_detector_and_back_is_the_identity(
    case: tuple[Shape, tuple[Operation, ...]],
) -> None:
    grid = grid_after(*case)
    pixels = np.indices(grid.shape)
    np.testing.assert_allclose((~grid)(*grid(*pixels)), pixels, atol=1e-9)


@given(cases)
def test_a_pickled_grid_is_the_same_value(case: tuple[Shape, tuple[Operation, ...]]) -> None:
    grid = grid_after(*case)
    twin = pickle.loads(pickle.dumps(grid))
    assert twin == grid
    assert hash(twin) == hash(grid)
    assert tokenize(twin) == tokenize(grid)
    assert tokenize(grid.flip("y")) != tokenize(grid) or grid.shape[0] == 1


@given(shapes())
def test_two_flips_and_four_turns_change_nothing(shape: Shape) -> None:
    grid = Grid(shape)
    assert grid.flip("y").flip("y") == grid.flip("x").flip("x") == grid
    assert grid.rotate(4) == grid.rotate(0) == grid.rotate(1).rotate(3) == grid
    assert grid.rotate(2) == grid.flip("y").flip("x")
    assert grid.rotate(-1) == grid.rotate(3)


def test_the_matrix_maps_homogeneous_pixel_positions() -> None:
    grid = Grid((100, 200)).crop(10, 20, 60, 80).rotate(1).bin(2, 4)
    y, x, one = grid.affine.as_array() @ (3, 5, 1)
    assert (y, x) == grid(3, 5)
    assert one == 1


IMPOSSIBLE: dict[str, Callable[[Grid], object]] = {
    "a crop above the image": lambda grid: grid.crop(-1, 0, 2, 2),
    "a crop left of the image": lambda grid: grid.crop(0, -1, 2, 2),
    "a crop below the image": lambda grid: grid.crop(4, 0, 2, 2),
    "a crop right of the image": lambda grid: grid.crop(0, 6, 2, 2),
    "a crop of no rows": lambda grid: grid.crop(0, 0, 0, 2),
    "a flip of a third axis": lambda grid: grid.flip("z"),  # type: ignore[arg-type]
    "a bin of too many rows": lambda grid: grid.bin(6, 1),
    "a bin of too many columns": lambda grid: grid.bin(1, 8),
    "a bin of no rows": lambda grid: grid.bin(0, 1),
    "an image without rows": lambda grid: Grid((0, 7)),
    "an image of one axis": lambda grid: Grid((5,)),  # type: ignore[arg-type]
    "a small matrix": lambda grid: Affine.of(np.eye(2)),
    "a projective matrix": lambda grid: Affine.of([[1, 0, 0], [0, 1, 0], [1, 0, 1]]),
    "the inverse of a flat map": lambda grid: ~Affine.of([[1, 1, 0], [1, 1, 0], [0, 0, 1]]),
}


@pytest.mark.parametrize("what", IMPOSSIBLE)
def test_what_cannot_be_is_refused(what: str) -> None:
    with pytest.raises(ValueError, match=r"not|leaves|must lie|no inverse"):
        IMPOSSIBLE[what](Grid((5, 7)))


def test_an_affine_map_knows_what_it_keeps() -> None:
    turn = Affine.of([[0, 1, 0], [-1, 0, 9], [0, 0, 1]])
    mirror = Affine.of([[-1, 0, 9], [0, 1, 0], [0, 0, 1]])
    unequal = Affine.of([[2, 0, 0.5], [0, 3, 1], [0, 0, 1]])
    angle = np.radians(30)
    slanted = Affine.of(
        [[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    assert [one.keeps_axes for one in (turn, mirror, unequal, slanted)] == [True, True, True, False]
    assert [one.keeps_circles for one in (turn, mirror, unequal, slanted)] == [
        True,
        True,
        False,
        True,
    ]
    assert [one.mirrors for one in (turn, mirror, unequal, slanted)] == [False, True, False, False]
    assert unequal.scale == pytest.approx(6**0.5)
