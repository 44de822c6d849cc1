"""Frames of which only few pixels are kept, against NumPy."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import sparse
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sparse_frames import shown, sparse_of

from limadask.frames import Frames, Labels, SparsePixels, Spec, concatenated, spec_of, unlabelled
from limadask.geometry import Grid

SPEC = Spec(Grid((4, 5)), np.dtype("u2"), ("low", "high"), is_sparse=True)


def dense(seed: int, count: int, density: float = 0.2) -> NDArray[Any]:
    """Frames of two bands with a few counts."""
    random = np.random.default_rng(seed)
    shape = count, 2, 4, 5
    held = random.random(shape) < density
    return np.asarray((held * random.integers(1, 9, shape)).astype("u2"))


def frames_of(pixels: NDArray[Any], first: int = 0) -> Frames:
    return Frames.of(pixels, first).holding(sparse_of(pixels))


@given(seed=st.integers(0, 1000), count=st.integers(1, 6), density=st.sampled_from((0, 0.2, 1)))
def test_labelling_and_back_keeps_all(seed: int, count: int, density: float) -> None:
    pixels = dense(seed, count, density)
    block = Labels(SPEC)(frames_of(pixels, 7))
    assert isinstance(block.data, sparse.GCXS)
    assert np.array_equal(shown(block.data), pixels)
    frames = unlabelled(block)
    assert frames.sparse is not None
    assert np.array_equal(shown(frames.sparse.array), pixels)
    assert frames.numbers.tolist() == list(range(7, 7 + count))
    assert spec_of(block).is_sparse
    assert np.array_equal(shown(pickle.loads(pickle.dumps(block)).data), pixels)


@given(seed=st.integers(0, 1000), bounds=st.tuples(st.integers(0, 6), st.integers(0, 6)))
def test_frames_are_taken_as_numpy_takes_them(seed: int, bounds: tuple[int, int]) -> None:
    pixels = dense(seed, 6)
    kept, part = frames_of(pixels).sparse, slice(*sorted(bounds))
    assert kept is not None
    assert np.array_equal(shown(kept[part].array), pixels[part])
    chosen = np.random.default_rng(seed).random(6) < 0.5
    assert np.array_equal(shown(kept[chosen].array), pixels[chosen])
    order = np.random.default_rng(seed).permutation(6)
    assert np.array_equal(shown(kept[order].array), pixels[order])
    assert kept.counts.tolist() == np.count_nonzero(pixels, axis=(2, 3)).tolist()


def test_a_slice_shares_memory_and_a_copy_does_not() -> None:
    kept = frames_of(dense(1, 6)).sparse
    assert kept is not None
    assert np.shares_memory(kept[2:4].index, kept.index)
    assert not np.shares_memory(kept.copied().intensity, kept.intensity)
    assert np.shares_memory(kept.array.data, kept.intensity)


def test_blocks_are_joined_by_number() -> None:
    pixels = dense(2, 6)
    frames = frames_of(pixels)
    whole = concatenated([Labels(SPEC)(frames[3:]), Labels(SPEC)(frames[:3])])
    assert whole["frame"].values.tolist() == list(range(6))
    assert np.array_equal(shown(whole.data), pixels)


@pytest.mark.parametrize("compressed_axes", [(0,)])
def test_other_layouts_of_the_library_are_taken(compressed_axes: tuple[int, ...]) -> None:
    pixels = dense(3, 4)
    array = sparse.GCXS.from_numpy(pixels, compressed_axes=compressed_axes)
    block = xr.DataArray(array, dims=("frame", "band", "y", "x"))
    kept = unlabelled(block).sparse
    assert kept is not None
    assert np.array_equal(shown(kept.array), pixels)


def test_another_fill_value_is_refused() -> None:
    array = sparse.COO.from_numpy(dense(4, 1)) + np.uint16(1)
    with pytest.raises(ValueError, match="0 where they hold nothing, not 1"):
        SparsePixels.of(array)
