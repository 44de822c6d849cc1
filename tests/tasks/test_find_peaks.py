"""FindPeaks: tables of peaks, held against a direct search."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import ran, reduced
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from strategies import block, lacking

import limadask as ld
from limadask.errors import ConfigError
from limadask.frames import Frames, Spec
from limadask.geometry import Grid
from limadask_tasks import Bin, FindPeaks, Flip, Mask, MinPeaks

EIGHT = np.ones((3, 3), bool)


def searched(image: Any, masked: Any, threshold: float, distance: float) -> list[tuple[float, ...]]:
    """Find peaks by labelling the pixels of each value; plain loops."""
    image = np.where(masked, -np.inf, image.astype(float))
    tops = []
    for value in np.unique(image[image > threshold]):
        labels, count = ndimage.label(image == value, EIGHT)
        for label in range(1, count + 1):
            mine = labels == label
            around = ndimage.binary_dilation(mine, EIGHT)
            if image[around].max() == value:
                y, x = np.nonzero(mine)
                tops.append((y.mean(), x.mean(), value, (y[0], x[0])))
    tops.sort(key=lambda top: (-top[2], top[3]))
    kept: list[Any] = []
    for top in tops:
        if all(np.hypot(top[0] - one[0], top[1] - one[1]) >= distance for one in kept):
            kept.append(top)
    return [one[:3] for one in sorted(kept, key=lambda top: top[3])]


@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    top=st.integers(1, 9),
    threshold=st.integers(-1, 8),
    distance=st.sampled_from([0, 1, 1.5, 2, 3.7]),
    holes=st.booleans(),
)
def test_peaks_are_those_of_a_direct_search(
    seed: int, shape: tuple[int, int], top: int, threshold: int, distance: float, holes: bool
) -> None:
    spec = Spec(Grid(shape), np.dtype("u2"), ("a", "b"))
    masked = np.random.default_rng(seed).random(shape) < (0.2 if holes else 0)
    frames = block(seed, spec, 3, top=top)
    task = FindPeaks(threshold=threshold, min_distance=distance)
    before = [Mask(masked)] if holes else []
    found = reduced(spec, frames, *before, task)
    expected = [
        (number, band, *peak)
        for number, frame in enumerate(frames.pixels)
        for band, image in enumerate(frame)
        for peak in searched(image, masked, threshold, distance)
    ]
    counts = np.bincount([one[0] for one in expected], minlength=3)
    assert found["count"].tolist() == counts.tolist()
    assert found["band"].tolist() == [one[1] for one in expected]
    for place, name in enumerate(("y", "x", "intensity"), start=2):
        np.testing.assert_allclose(found[name], [one[place] for one in expected], rtol=1e-12)
    by_counting = MinPeaks(count=1, threshold=threshold).judge(spec)
    if not holes and not distance:
        assert by_counting(frames).tolist() == (counts > 0).tolist()


def test_more_peaks_than_there_is_room_for_at_first() -> None:
    pixels = np.zeros((2, 1, 80, 80), "u2")
    pixels[1, 0, ::2, ::2] = 7
    spec = Spec(Grid((80, 80)), np.dtype("u2"))
    found = reduced(spec, Frames.of(pixels), FindPeaks(threshold=1))
    assert found["count"].tolist() == [0, 1600]
    assert sorted(zip(found["y"], found["x"], strict=True)) == [
        (y, x) for y in range(0, 80, 2) for x in range(0, 80, 2)
    ]


def test_positions_on_the_detector() -> None:
    pixels = np.zeros((1, 1, 8, 12), "u2")
    pixels[0, 0, 2, 5] = 9
    spec = Spec(Grid((8, 12)), np.dtype("u2"))
    tasks = Flip(axis="y"), Bin(y=2, x=1)
    for coordinates, place in (("image", (2.0, 5.0)), ("detector", (2.5, 5.0))):
        task = FindPeaks(threshold=1, coordinates=coordinates)  # type: ignore[arg-type]
        found = reduced(spec, Frames.of(pixels), *tasks, task)
        assert (found["y"].item(), found["x"].item()) == place


def test_pixels_that_a_frame_lacks_are_no_peaks() -> None:
    spec = Spec(Grid((6, 7)), np.dtype("u2"))
    pixels = np.zeros((2, 1, 6, 7), "u2")
    pixels[:, 0, 1, 1], pixels[:, 0, 4, 5] = 5, 5
    mask = np.zeros((6, 7), bool)
    mask[:3] = True
    found = reduced(spec, lacking(Frames.of(pixels), {1: mask}), FindPeaks(threshold=1))
    assert found["count"].tolist() == [2, 1]
    assert found["y"].tolist() == [1, 4, 4]


def test_a_task_called_by_hand_labels_its_table() -> None:
    frames = np.zeros((3, 6, 7), "u2")
    frames[2, 3, 4] = 8
    pipe = ld.Pipeline()
    pipe.add("peaks", FindPeaks(threshold=1))
    found = ld.process(frames, pipe)["peaks"]
    assert found["count"].dims == ("frame",)
    assert found["y"].dims == ("peak",)
    assert found["count"].attrs["sample_dimension"] == "peak"
    assert found["y"].attrs["units"] == "pixel"
    owners = np.repeat(found["frame"].values, found["count"].values)
    assert owners.tolist() == [2]


def test_bands_are_named() -> None:
    spec = Spec(Grid((6, 7)), np.dtype("u2"), ("4 keV", "8 keV"))
    frames = block(1, spec, 2, top=9)
    found = reduced(spec, frames, FindPeaks(threshold=8, band="8 keV"))
    assert set(found["band"].tolist()) <= {1}
    with pytest.raises(ConfigError) as caught:
        ran(spec, frames, FindPeaks(threshold=8, band="none"))
    assert caught.value.field == "band"
