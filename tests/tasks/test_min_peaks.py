"""MinPeaks against labelled regions of SciPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import ran
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from strategies import Shape, seeds, shapes

from limadask.errors import ConfigError
from limadask.frames import Frames, Spec, Status
from limadask.geometry import Grid
from limadask_tasks import Flip, Mask, MinPeaks, peak_kernels

NO_MASK = np.zeros((1, 0, 0), bool)
TOUCHING = np.ones((3, 3), bool)


def found(image: Any, threshold: float, mask: Any = None, enough: int = 1 << 40) -> int:
    """The number of peaks by the kernel."""
    count = np.zeros(1, np.int64)
    masked = NO_MASK if mask is None else np.asarray(mask)[np.newaxis]
    pixels = np.ascontiguousarray(image)[np.newaxis, np.newaxis]
    peak_kernels.count(pixels, masked, 0, threshold, enough, count)
    return int(count[0])


def expected(image: Any, threshold: float, mask: Any = None) -> int:
    """The number of plateaus without a higher neighbour, one value after the other."""
    values = np.where(np.isnan(image), -np.inf, image.astype("f8"))
    if mask is not None:
        values[np.asarray(mask)] = -np.inf
    peaks = 0
    for value in np.unique(values[values > threshold]):
        plateaus, count = ndimage.label(values == value, TOUCHING)
        for number in range(1, count + 1):
            around = ndimage.binary_dilation(plateaus == number, TOUCHING)
            peaks += bool(values[around].max() == value)
    return peaks


@given(
    shape=shapes(1, 10),
    seed=seeds,
    levels=st.integers(1, 6),
    threshold=st.integers(-1, 5),
    dtype=st.sampled_from(["u1", "i4", "f4", "f8"]),
    masks=st.booleans(),
)
def test_it_counts_as_scipy_does(
    shape: Shape, seed: int, levels: int, threshold: int, dtype: str, masks: bool
) -> None:
    random = np.random.default_rng(seed)
    image = random.integers(0, levels, shape).astype(dtype)  # few levels: many ties
    if dtype.startswith("f"):
        image[random.random(shape) < 0.1] = np.nan
    mask = random.random(shape) < 0.2 if masks else None
    assert found(image, threshold, mask) == expected(image, threshold, mask)


PICTURES = {
    "nothing": (["...", "...", "..."], 0),
    "one": (["...", ".5.", "..."], 1),
    "two neighbours are one": (["....", ".55.", "...."], 1),
    "a plateau is one, whatever its shape": (["5.5", ".5.", "5.5"], 1),
    "a plateau beside a higher pixel is none": (["556", "...", "..."], 1),
    "two that do not touch": (["5.5", "...", "..."], 2),
    "corners and edges": (["5.5", "...", "5.5"], 4),
    "below the threshold": (["3.3", "...", "3.3"], 0),
}


@pytest.mark.parametrize("name", PICTURES)
def test_what_a_peak_is(name: str) -> None:
    rows, count = PICTURES[name]
    image = np.array([[0 if one == "." else int(one) for one in row] for row in rows], "u2")
    assert found(image, 3) == expected(image, 3) == count


def test_it_stops_when_there_are_enough() -> None:
    image = np.zeros((9, 9), "u2")
    image[::2, ::2] = 7
    assert found(image, 3) == 25
    assert found(image, 3, enough=3) == 5  # those of the first row


def test_masked_pixels_never_count_and_hide_nothing() -> None:
    image = np.zeros((5, 5), "u2")
    image[2, 2], image[2, 3] = 65535, 9
    mask = np.zeros((5, 5), bool)
    mask[2, 2] = True
    assert found(image, 3) == 1
    assert found(image, 3, mask) == 1  # the 9, which it would have hidden
    image[2, 3] = 0
    assert found(image, 3, mask) == 0


@pytest.mark.parametrize(("band", "kept"), [(None, [0, 2]), ("a", [0]), ("b", [])])
def test_frames_with_enough_peaks_are_kept(band: str | None, kept: list[int]) -> None:
    spec = Spec(Grid((8, 8)), np.dtype("u2"), ("a", "b"))
    frames = Frames.of(np.zeros((4, 2, 8, 8), "u2"))
    frames.pixels[0, 0, [1, 3, 5], [1, 3, 5]] = 9
    frames.pixels[1, 0, [1, 3], [1, 3]] = 9
    frames.pixels[2, 0, [1, 3], [1, 3]] = frames.pixels[2, 1, 6, 6] = 9
    mask = np.zeros((8, 8), bool)
    mask[7, 7] = True
    task = MinPeaks(count=3, threshold=5, band=band)
    result = ran(spec, frames, Mask(mask), Flip(axis="y"), task)
    assert result.failures == []
    assert np.flatnonzero(result.frames.status == Status.PRESENT).tolist() == kept
    np.testing.assert_array_equal(result.frames.numbers, range(4))


def test_mistakes_are_named() -> None:
    with pytest.raises(ConfigError) as caught:
        MinPeaks(count=0, threshold=1)
    assert caught.value.field == "count"
    with pytest.raises(ConfigError) as caught:
        MinPeaks(count=1, threshold=1, band="c").plan(Spec(Grid((2, 2)), np.dtype("u2")))
    assert (caught.value.field, caught.value.allowed) == ("band", ["0"])
