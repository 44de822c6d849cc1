"""Whatever the detector does itself, and whatever the pipeline: the image is the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from strategies import Operation, applied, image, positions, seeds, shapes

from limadask import registry
from limadask.detector import (
    Capabilities,
    DetectorInfo,
    binned_dtype,
    hardware_grid,
    share,
    software_steps,
)
from limadask.errors import ConfigError
from limadask.frames import Frames, Labels, Spec, spec_of
from limadask.geometry import Grid, Rect
from limadask.parameters import AcquisitionParameters, HardwareParameters


@st.composite
def requests(draw: st.DrawFn) -> tuple[DetectorInfo, Capabilities, AcquisitionParameters]:
    rows, columns = draw(shapes(1, 24))
    roi = None
    height, width = rows, columns
    if draw(st.booleans()):
        y, x = draw(st.integers(0, rows - 1)), draw(st.integers(0, columns - 1))
        height, width = draw(st.integers(1, rows - y)), draw(st.integers(1, columns - x))
        roi = Rect(y, x, height, width)
    bins = {"y": draw(st.integers(1, min(5, height))), "x": draw(st.integers(1, min(5, width)))}
    info = DetectorInfo(
        model="m", shape=(rows, columns), dtype=draw(st.sampled_from(["uint8", "int16", "uint16"]))
    )
    can = Capabilities(
        roi_step=draw(st.sampled_from([0, 1, 4, 8])),
        binning=draw(st.sampled_from([(1,), (1, 2), (1, 2, 4), (1, 2, 3, 4, 5), (2, 4)])),
        flip=draw(st.booleans()),
    )
    asked = AcquisitionParameters(
        roi=roi,
        binning=bins,
        flip=draw(st.sampled_from(["none", "y", "x", "both"])),
        rotation=draw(st.sampled_from([0, 90, 180, 270])),
    )
    return info, can, asked


def operations(parameters: AcquisitionParameters) -> tuple[Operation, ...]:
    """What was asked, or what the hardware took, as NumPy operations."""
    roi, chain = parameters.roi, []
    if roi is not None:
        corner = {"y": roi.y, "x": roi.x, "height": roi.height, "width": roi.width}
        chain.append(("crop", corner))
    chain.append(("bin", {"y": parameters.binning.y, "x": parameters.binning.x}))
    axes = {"none": "", "both": "yx"}.get(parameters.flip, parameters.flip)
    chain.extend(("flip", {"axis": axis}) for axis in axes)
    chain.append(("rotate", {"turns": parameters.rotation // 90}))
    return tuple(chain)


def delivered(raw: Any, hardware: HardwareParameters) -> Any:
    """What the detector delivers, by NumPy; its type must hold every sum."""
    pixels = applied(raw.astype(np.int64), operations(hardware))
    typed = pixels.astype(hardware.dtype)
    np.testing.assert_array_equal(typed, pixels)
    assert typed.shape == hardware.shape
    return typed


@given(requests(), seeds)
@settings(max_examples=200)
def test_hardware_and_software_together_give_what_was_asked(request: Any, seed: int) -> None:
    info, can, asked = request
    raw = image(seed, info.shape, info.dtype)
    shared = share(asked, info, can)
    given_grid = hardware_grid(info, shared.hardware)
    pixels = delivered(raw, shared.hardware)
    spec = Spec(given_grid, pixels.dtype)
    block = Labels(spec)(Frames.of(pixels[np.newaxis, np.newaxis]))
    for name, fields in software_steps(asked, info, given_grid):
        block = registry.task(name)(**fields)(block)

    expected = applied(raw.astype(np.int64), operations(asked))
    np.testing.assert_array_equal(block.values[0, 0], expected)
    grid = spec_of(block).grid
    assert grid == shared.target
    places = positions(info.shape, operations(asked))
    np.testing.assert_allclose(grid(*np.indices(grid.shape)), places, atol=1e-9)


@given(requests())
@settings(max_examples=200)
def test_the_detector_is_asked_for_nothing_that_it_cannot_do(request: Any) -> None:
    info, can, asked = request
    hardware = share(asked, info, can).hardware
    assert hardware.rotation == 0
    assert {hardware.binning.y, hardware.binning.x} <= {1, *can.binning}
    assert can.flip or hardware.flip == "none"
    roi, (rows, columns) = hardware.roi, info.shape
    if roi is not None:
        assert can.roi_step
        for start, size, bound in ((roi.y, roi.height, rows), (roi.x, roi.width, columns)):
            assert start % can.roi_step == 0
            assert (start + size) % can.roi_step == 0 or start + size == bound


@given(requests(), seeds, st.data())
def test_a_detector_that_takes_more_than_its_share_is_cut_to_what_was_asked(
    request: Any, seed: int, data: st.DataObject
) -> None:
    info, can, asked = request
    hardware = share(asked, info, can.replace(binning=(1,))).hardware
    roi = hardware.roi or Rect(0, 0, *info.shape)
    y, x = data.draw(st.integers(0, roi.y)), data.draw(st.integers(0, roi.x))
    bottom = data.draw(st.integers(roi.y + roi.height, info.shape[0]))
    right = data.draw(st.integers(roi.x + roi.width, info.shape[1]))
    larger = Rect(y, x, bottom - y, right - x)
    took = hardware.replace(roi=larger, shape=(larger.height, larger.width))
    raw = image(seed, info.shape, info.dtype)
    grid = hardware_grid(info, took)
    pixels = delivered(raw, took)[np.newaxis, np.newaxis]
    block = Labels(Spec(grid, pixels.dtype))(Frames.of(pixels))
    for name, fields in software_steps(asked, info, grid):
        block = registry.task(name)(**fields)(block)
    expected = applied(raw.astype(np.int64), operations(asked))
    np.testing.assert_array_equal(block.values[0, 0], expected)


INFO = DetectorInfo(model="m", shape=(20, 30))


@pytest.mark.parametrize(
    ("asked", "can", "field", "allowed"),
    [
        ({"roi": Rect(0, 0, 21, 5)}, {}, "roi", "20 rows and 30 columns"),
        ({"roi": Rect(0, 28, 5, 5)}, {}, "roi", "20 rows and 30 columns"),
        ({"roi": Rect(-1, 0, 5, 5)}, {}, "roi", "20 rows and 30 columns"),
        ({"roi": Rect(0, -2, 5, 5)}, {}, "roi", "20 rows and 30 columns"),
        ({"binning": {"y": 21}}, {}, "binning", "y ≤ 20"),
        ({"binning": {"x": 4}, "roi": Rect(1, 1, 8, 3)}, {}, "binning", "x ≤ 3"),
        ({"trigger_mode": "gate"}, {}, "trigger_mode", "internal"),
        ({"expo_time": 0.5}, {"expo_time_range": (0.001, 0.1)}, "expo_time", "0.001 to 0.1 s"),
        ({"expo_time": 1e-6}, {"expo_time_range": (0.001, 0.1)}, "expo_time", "0.001 to 0.1 s"),
        ({"latency_time": 2.0}, {"latency_time_range": (0, 1)}, "latency_time", "0.0 to 1.0 s"),
        ({"nb_frames": 11}, {"max_nb_frames": 10}, "nb_frames", "at most 10"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_refused_by_name(
    asked: dict[str, Any], can: dict[str, Any], field: str, allowed: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        share(AcquisitionParameters(**asked), INFO, Capabilities(**can))
    assert (caught.value.node, caught.value.field) == ("acquisition", field)
    assert caught.value.value == getattr(AcquisitionParameters(**asked), field)
    assert allowed in str(caught.value.allowed)


def test_the_default_exposure_is_the_detectors() -> None:
    can = Capabilities(default_expo_time=0.25)
    assert share(AcquisitionParameters(), INFO, can).hardware.expo_time == 0.25
    asked = AcquisitionParameters(expo_time=0.5)
    assert share(asked, INFO, can).hardware.expo_time == 0.5


def test_a_detector_that_contradicts_itself_or_takes_too_little_is_refused() -> None:
    asked = AcquisitionParameters(roi=Rect(2, 2, 10, 10))
    hardware = share(asked, INFO, Capabilities(roi_step=1)).hardware
    with pytest.raises(ConfigError, match="the detector says") as caught:
        hardware_grid(INFO, hardware.replace(shape=(11, 10)))
    assert caught.value.allowed == (10, 10)
    for roi in (Rect(3, 2, 9, 10), Rect(2, 2, 9, 10), Rect(2, 3, 10, 9), Rect(2, 2, 10, 9)):
        with pytest.raises(ConfigError, match="cannot give"):
            software_steps(asked, INFO, Grid(INFO.shape).crop(roi.y, roi.x, roi.height, roi.width))


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4"])
@given(count=st.integers(1, 10**6))
@example(count=256)
@example(count=258)  # the lowest value needs more room than the highest
@example(count=65538)
def test_the_type_of_a_sum_holds_as_many_extremes_and_is_no_larger_than_needed(
    dtype: str, count: int
) -> None:
    info, wide = np.iinfo(dtype), binned_dtype(np.dtype(dtype), count)
    assert wide.kind == np.dtype(dtype).kind
    assert np.iinfo(wide).min <= info.min * count
    assert np.iinfo(wide).max >= info.max * count
    if wide.itemsize > np.dtype(dtype).itemsize:
        half = np.iinfo(f"{wide.kind}{wide.itemsize // 2}")
        assert half.max < info.max * count or half.min > info.min * count
    assert binned_dtype(np.dtype("f4"), count) == np.dtype("f4")
