"""Crop, Flip and Rotate against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from harness import ran
from hypothesis import given
from hypothesis import strategies as st
from strategies import applied, block, chains, dtypes, positions, seeds, shapes, tasks_of

from limadask.errors import ConfigError
from limadask.frames import Labels, Spec
from limadask.geometry import Grid
from limadask_tasks import Crop, Flip, Mask, Rotate

bands = st.sampled_from([("0",), ("4 keV", "8 keV")])


@given(st.data(), dtypes, bands, seeds)
def test_pixels_and_places_move_together_as_numpy_moves_them(
    data: st.DataObject, dtype: str, names: tuple[str, ...], seed: int
) -> None:
    shape = data.draw(shapes())
    chain = data.draw(chains(shape, bins=False))
    spec = Spec(Grid(shape), np.dtype(dtype), names)
    frames = block(seed, spec)
    result = ran(spec, frames, *tasks_of(chain))
    np.testing.assert_array_equal(result.frames.pixels, applied(frames.pixels, chain))
    out = result.plan["out"].inputs[0]
    places = out.grid(*np.indices(out.grid.shape))
    np.testing.assert_allclose(places, positions(shape, chain), atol=1e-9)

    labelled = Labels(spec)(frames)
    for task in tasks_of(chain):
        labelled = task(labelled)
    np.testing.assert_array_equal(labelled.values, result.frames.pixels)
    assert np.shares_memory(labelled.values, frames.pixels)
    np.testing.assert_allclose(labelled["det_y"].values, positions(shape, chain)[0], atol=1e-9)
    np.testing.assert_array_equal(labelled["timestamp"].values.astype("i8"), frames.timestamps)


@pytest.mark.parametrize("turns", range(-5, 6))
def test_rotate_turns_as_numpy_does(turns: int) -> None:
    spec = Spec(Grid((3, 5)), np.dtype("u2"), ("a", "b"))
    frames = block(turns + 5, spec)
    result = ran(spec, frames, Rotate(turns=turns))
    np.testing.assert_array_equal(result.frames.pixels, np.rot90(frames.pixels, turns, axes=(2, 3)))


@given(st.data(), st.booleans(), seeds)
def test_masked_pixels_move_with_the_image(data: st.DataObject, per_band: bool, seed: int) -> None:
    shape = data.draw(shapes())
    chain = data.draw(chains(shape, bins=False))
    spec = Spec(Grid(shape), np.dtype("u2"), ("a", "b"))
    frames = block(seed, spec, top=60_000)
    masked = np.random.default_rng(seed).random((2, *shape) if per_band else shape) < 0.3
    result = ran(spec, frames, Mask(masked), *tasks_of(chain))
    told = result.plan["out"].inputs[0].masked
    np.testing.assert_array_equal(told, applied(masked, chain))
    moved = np.broadcast_to(applied(masked, chain), result.frames.pixels.shape)
    np.testing.assert_array_equal(result.frames.pixels == 65535, moved)


@pytest.mark.parametrize(
    ("fields", "field", "value"),
    [
        ({"y": 0, "x": 0, "height": 6, "width": 1}, "height", 6),
        ({"y": 4, "x": 0, "height": 2, "width": 1}, "height", 2),
        ({"y": 0, "x": 0, "height": 1, "width": 8}, "width", 8),
        ({"y": 0, "x": 7, "height": 1, "width": 1}, "width", 1),
    ],
    ids=str,
)
def test_a_crop_that_leaves_the_image_is_refused(
    fields: dict[str, int], field: str, value: int
) -> None:
    spec = Spec(Grid((5, 7)), np.dtype("u2"))
    with pytest.raises(ConfigError, match="within 5 rows and 7 columns") as caught:
        ran(spec, block(0, spec), Crop(**fields))
    error = caught.value
    assert (error.node, error.field, error.value) == ("n0", field, value)


def test_an_axis_is_y_or_x_and_sizes_are_positive() -> None:
    with pytest.raises(ConfigError) as caught:
        Flip(axis="z")  # type: ignore[arg-type]
    assert caught.value.field == "axis"
    assert "'y' or 'x'" in str(caught.value.allowed)
    with pytest.raises(ConfigError) as caught:
        Crop(y=0, x=0, height=0, width=1)
    assert caught.value.field == "height"
