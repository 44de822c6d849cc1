"""Accumulate against NumPy; what it does across blocks is tested with the pipeline."""

from __future__ import annotations

import numpy as np
import pytest
from harness import ran
from hypothesis import given
from hypothesis import strategies as st
from strategies import block, dtypes, seeds, shapes

from limadask.errors import ConfigError
from limadask.frames import Spec, Status
from limadask.geometry import Grid
from limadask_tasks import Accumulate, Mask


@given(shapes(most=5), dtypes, st.integers(1, 7), st.integers(1, 20), seeds)
def test_successive_frames_are_summed(
    shape: tuple[int, int], dtype: str, size: int, count: int, seed: int
) -> None:
    spec = Spec(Grid(shape), np.dtype(dtype), ("a", "b"), nb_frames=count)
    frames = block(seed, spec, count)
    result = ran(spec, frames, Accumulate(nb_frames=size))
    groups = [frames.pixels[start : start + size] for start in range(0, count, size)]
    out = result.frames
    assert out.numbers.tolist() == list(range(len(groups)))
    for number, group in enumerate(groups):
        if dtype == "f4":
            expected = np.zeros(group.shape[1:], "f4")
            for frame in group:
                expected += frame
            np.testing.assert_array_equal(out.pixels[number], expected)
        else:
            total = group.astype(object).sum(axis=0)
            assert (out.pixels[number].astype(object) == total).all()
        assert out.timestamps[number] == frames.timestamps[number * size]
        whole = len(group) == size
        assert out.status[number] == (Status.PRESENT if whole else Status.PARTIAL)
    planned = result.plan["out"].inputs[0]
    assert (planned.nb_frames, planned.nb_merged) == (len(groups), size)


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i2", "i4"])
@pytest.mark.parametrize("size", [2, 300])
def test_sums_of_extremes_do_not_wrap(dtype: str, size: int) -> None:
    spec = Spec(Grid((2, 2)), np.dtype(dtype), nb_frames=size)
    frames = block(0, spec, size)
    frames.pixels[..., 0] = np.iinfo(dtype).max
    frames.pixels[..., 1] = np.iinfo(dtype).min
    out = ran(spec, frames, Accumulate(nb_frames=size)).frames.pixels[0, 0]
    assert out[0].astype(object).tolist() == [
        np.iinfo(dtype).max * size,
        np.iinfo(dtype).min * size,
    ]


@given(dtypes, st.booleans(), seeds)
def test_masked_pixels_stay_without_a_value(dtype: str, per_band: bool, seed: int) -> None:
    spec = Spec(Grid((4, 5)), np.dtype(dtype), ("a", "b"), nb_frames=6)
    frames = block(seed, spec, 6, top=20)
    masked = np.random.default_rng(seed).random((2, 4, 5) if per_band else (4, 5)) < 0.4
    out = ran(spec, frames, Mask(masked), Accumulate(nb_frames=3)).frames.pixels
    held = np.isnan(out) if out.dtype.kind == "f" else out == np.iinfo(out.dtype).max
    np.testing.assert_array_equal(held, np.broadcast_to(masked, out.shape))
    total = frames.pixels.reshape(2, 3, 2, 4, 5).sum(axis=1, dtype="f8")
    np.testing.assert_allclose(out[~held], total[~held], rtol=1e-6)


def test_at_least_one_frame_is_summed() -> None:
    with pytest.raises(ConfigError) as caught:
        Accumulate(nb_frames=0)
    assert (caught.value.field, caught.value.value) == ("nb_frames", 0)
    assert caught.value.allowed == "> 0"
