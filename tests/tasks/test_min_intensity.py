"""MinIntensity against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import ran
from hypothesis import given
from hypothesis import strategies as st
from strategies import DTYPES, Shape, block, image, inside, rois, seeds, shapes

from limadask.errors import ConfigError
from limadask.frames import Frames, Labels, Spec, Status
from limadask.geometry import Grid, Rect, Roi
from limadask_tasks import Crop, MinIntensity

BANDS = ("low", "high")
SPEC = Spec(Grid((4, 6)), np.dtype("u2"), BANDS)


def judged(task: MinIntensity, spec: Spec, frames: Frames) -> list[bool]:
    """Which frames it keeps."""
    return [bool(one) for one in task.judge(task.plan(spec))(frames)]


def expected(pixels: Any, used: Any, statistic: str, minimum: float) -> list[bool]:
    """The same by NumPy; ``used`` is ``(band, y, x)``."""
    kept = []
    for frame in pixels.astype("f8"):
        values = frame[used]
        values = values[~np.isnan(values)]
        if statistic == "sum":
            kept.append(bool(values.sum() >= minimum))
        else:
            kept.append(bool(values.size and getattr(np, statistic)(values) >= minimum))
    return kept


@given(
    shape=shapes(1, 9),
    seed=seeds,
    dtype=st.sampled_from(DTYPES),
    statistic=st.sampled_from(("sum", "mean", "max")),
    band=st.sampled_from((None, *BANDS)),
    roi=st.none() | rois,
    masks=st.sampled_from((None, 2, 3)),
    quantile=st.floats(0, 1),
)
def test_it_keeps_what_numpy_keeps(
    shape: Shape,
    seed: int,
    dtype: str,
    statistic: Any,
    band: str | None,
    roi: Roi | None,
    masks: int | None,
    quantile: float,
) -> None:
    random = np.random.default_rng(seed)
    masked = None if masks is None else random.random((2, *shape)[3 - masks :]) < 0.3
    spec = Spec(Grid(shape), np.dtype(dtype), BANDS, masked=masked)
    frames = block(seed, spec, 5, top=1000)
    if dtype == "f4":
        frames.pixels[random.random(frames.pixels.shape) < 0.1] = np.nan
    used = np.ones((2, *shape), bool) if masked is None else ~np.broadcast_to(masked, (2, *shape))
    if roi is not None:
        taken = inside(roi, *np.indices(shape).astype(float))
        if not taken.any():
            return
        if isinstance(roi, Rect) and roi != Rect(0, 0, *shape):
            rows, columns = shape
            if min(roi.y, roi.x) < 0 or roi.y + roi.height > rows or roi.x + roi.width > columns:
                return
        used = used & taken
    if band is not None:
        used = used & (np.array(BANDS) == band)[:, np.newaxis, np.newaxis]
    values = np.nan_to_num(frames.pixels[:, used].astype("f8"))
    told = values.sum(axis=1) if statistic == "sum" else values.max(axis=1, initial=0)
    minimum = round(float(np.quantile(told, quantile))) + 0.37  # not reached by rounding
    task = MinIntensity(minimum=minimum, statistic=statistic, band=band, roi=roi)
    assert judged(task, spec, frames) == expected(frames.pixels, used, statistic, minimum)


def test_reaching_the_minimum_is_enough() -> None:
    frames = Frames.of(np.zeros((3, 2, 4, 6), "u2"))
    frames.pixels[:, 1, 2, 3] = [9, 10, 11]
    for statistic, minimum in (("sum", 10), ("max", 10), ("mean", 10 / 48)):
        task = MinIntensity(minimum=minimum, statistic=statistic)  # type: ignore[arg-type]
        assert judged(task, SPEC, frames) == [False, True, True]


def test_a_frame_without_any_pixel_has_the_sum_0_and_no_mean_or_maximum() -> None:
    spec = Spec(Grid((2, 2)), np.dtype("f4"))
    nothing = Frames.of(np.full((1, 1, 2, 2), np.nan, "f4"))
    assert judged(MinIntensity(minimum=0), spec, nothing) == [True]
    assert judged(MinIntensity(minimum=1), spec, nothing) == [False]
    for statistic in ("mean", "max"):
        task = MinIntensity(minimum=-1e300, statistic=statistic)  # type: ignore[arg-type]
        assert judged(task, spec, nothing) == [False]


def test_a_region_may_be_given_on_the_detector() -> None:
    frames = Frames.of(np.zeros((4, 2, 4, 6), "u2"))
    frames.pixels[1, 0, 3, 5] = frames.pixels[2, 0, 3, 4] = 7
    region = Rect(3, 5, 1, 1)
    cropped = Crop(y=2, x=3, height=2, width=3)
    task = MinIntensity(minimum=7, roi=region, coordinates="detector")
    result = ran(SPEC, frames, cropped, task)
    assert result.failures == []
    assert result.frames.status.tolist() == [Status.VETOED, 1, Status.VETOED, Status.VETOED]


def test_a_labelled_block_can_be_given_to_it_directly() -> None:
    frames = Frames.of(image(1, (3, 2, 4, 6), "u2", top=9))
    frames.pixels[1] = 0
    out = MinIntensity(minimum=1)(Labels(SPEC)(frames))
    assert out["status"].values.tolist() == [1, Status.VETOED, 1]
    np.testing.assert_array_equal(out, frames.pixels)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"band": "middle"}, "band"),
        ({"roi": Rect(0, 0, 5, 5)}, "roi"),
        ({"roi": Rect(9, 9, 1, 1), "coordinates": "detector"}, "roi"),
    ],
)
def test_what_the_frames_do_not_have_is_refused(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        MinIntensity(minimum=1, **fields).plan(SPEC)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "minimum"),
        ({"minimum": 1, "statistic": "median"}, "statistic"),
        ({"minimum": 1, "roi": {"y": 1, "x": 2, "height": 3}}, "roi.width"),
        ({"minimum": 1, "roi": {"y": 1, "x": 2, "heigth": 3, "width": 3}}, "roi.heigth"),
    ],
)
def test_a_mistake_is_named(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        MinIntensity(**fields)
    assert caught.value.field == field
