"""The simulated camera: the same frames everywhere, whoever cuts, bins and flips them."""

from __future__ import annotations

import hashlib
import inspect
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from harness import Collect, Collector
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import Operation, applied

from limadask import ConfigError
from limadask.detector import End, Frame, hardware_grid, share, software_steps
from limadask.frames import Frames, Spec
from limadask.geometry import PATTERNS, Grid, GridIndex
from limadask.parameters import AcquisitionParameters, HardwareParameters, Policy
from limadask.pipeline import Pipeline, Program, plan
from limadask_detectors import Simulator

DTYPES = ["uint8", "uint16", "uint32", "int16", "int32", "float32"]
CAMERAS: list[dict[str, Any]] = [
    {"shape": [40, 30]},
    {"shape": [40, 30], "seed": 2**40 + 1},
    {"shape": [47, 20], "modules": 2, "gap": 7, "bands": ["4 keV", "8 keV"], "dtype": "int32"},
    {"shape": [40, 30], "growth": 1.5, "dtype": "float32", "photons": 4.0, "hot_pixels": 0},
]


def took(camera: Simulator, **asked: Any) -> HardwareParameters:
    """What the camera does itself of what was asked."""
    parameters = AcquisitionParameters(**{"expo_time": 0.0, **asked})
    return share(parameters, camera.info(), camera.capabilities()).hardware


def frames(camera: Simulator, hardware: HardwareParameters) -> Iterator[tuple[Frame, NDArray[Any]]]:
    """The frames that a receiver gives, until it ends."""
    receiver = camera.receiver(0, 1)
    receiver.open()
    receiver.arm(hardware)
    receiver.start()
    shape = len(hardware.bands), *hardware.shape
    while True:
        buffer = np.empty(shape, hardware.dtype)
        receiver.give(buffer)
        frame = receiver.take(1.0)
        if isinstance(frame, End):
            break
        assert frame is not None
        if frame.lent is None:
            assert not receiver.given, "it did not take the buffer that it filled"
        else:
            assert receiver.given.pop() is buffer, "it took a buffer that it did not fill"
        yield frame, buffer if frame.lent is None else frame.lent
    receiver.close()


def told(fields: dict[str, Any]) -> list[str]:
    """Digests of some frames of a camera."""
    camera = Simulator(**fields)
    numbers = (0, 1, 15, 16, 17, 12345)
    return [hashlib.sha256(camera.frame(i).values.tobytes()).hexdigest() for i in numbers]


PROGRAM = f"""
import hashlib, json, sys
from typing import Any
from limadask_detectors import Simulator
{inspect.getsource(told)}
print(json.dumps([told(one) for one in json.loads(sys.argv[1])]))
"""


def test_a_frame_is_the_same_in_another_process() -> None:
    command = [sys.executable, "-c", PROGRAM, json.dumps(CAMERAS)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    digests = json.loads(done.stdout)
    assert digests == [told(one) for one in CAMERAS]
    assert len({digest for some in digests for digest in some}) == 6 * len(CAMERAS)


@pytest.mark.parametrize("fields", CAMERAS, ids=str)
def test_the_receiver_gives_the_frames_in_order(fields: dict[str, Any]) -> None:
    camera = Simulator(**fields)
    for number, (frame, pixels) in enumerate(frames(camera, took(camera, nb_frames=20))):
        assert (frame.index, frame.complete) == (number, True)
        np.testing.assert_array_equal(pixels, camera.frame(number))
    assert number == 19


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bands", [1, 2])
def test_all_frames_of_a_long_run_differ(dtype: Any, bands: int) -> None:
    camera = Simulator(shape=(47, 20), modules=2, gap=7, dtype=dtype, bands=["a", "b"][:bands])
    gaps = camera.gaps()
    seen: list[set[bytes]] = [set() for _ in range(bands)]
    fill = camera.frame(0).values[0][gaps]
    for _, pixels in frames(camera, took(camera, nb_frames=2000)):
        for band, image in enumerate(pixels):
            seen[band].add(image[~gaps].tobytes())
            assert image[gaps].tobytes() == fill.tobytes()
    assert [len(one) for one in seen] == [2000] * bands


def test_another_seed_is_another_run() -> None:
    runs = [Simulator(shape=(40, 30), seed=seed) for seed in (0, 1, 2**63 + 5)]
    images = [camera.frame(number).values.tobytes() for camera in runs for number in range(3)]
    assert len(set(images)) == len(images)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gaps_and_only_gaps_hold_the_value_that_is_none(dtype: Any) -> None:
    camera = Simulator(shape=(68, 10), modules=3, gap=7, dtype=dtype, photons=1e6, growth=3)
    rows = np.arange(68)
    expected = (rows >= 18) & (rows < 25) | (rows >= 43) & (rows < 50)
    gaps = np.broadcast_to(expected[:, np.newaxis], (68, 10))
    np.testing.assert_array_equal(camera.gaps(), gaps)
    for number in (0, 1, 40, 3000):  # as bright as the type allows, and still counts
        image = camera.frame(number).values[0]
        fill = np.isnan(image) if dtype == "float32" else image == np.iinfo(dtype).max
        np.testing.assert_array_equal(fill, gaps)
        assert (image[~gaps] >= 0).all()


def test_each_next_band_counts_a_quarter_less() -> None:
    camera = Simulator(shape=(200, 200), bands=["a", "b", "c"], photons=10.0, hot_pixels=0)
    image = camera.frame(7)
    assert image.dims == ("band", "y", "x")
    assert image["band"].values.tolist() == ["a", "b", "c"]
    index = image.xindexes["det_y"]
    assert isinstance(index, GridIndex)
    assert index.grid == Grid((200, 200))
    means = image.mean(("y", "x")).values
    np.testing.assert_allclose(means, [10, 7.5, 5.625], rtol=0.02)


@pytest.mark.parametrize("number", [0, 10, 100, 400])
def test_growth_is_photons_more_with_every_frame(number: int) -> None:
    plain, growing = (Simulator(shape=(256, 256), growth=growth) for growth in (0, 2.5))
    more = growing.frame(number).values.sum(dtype="i8") - plain.frame(number).values.sum(dtype="i8")
    assert more == pytest.approx(2.5 * number, rel=0.02, abs=2)


@st.composite
def requests(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    camera = {
        "shape": (30, 26), "modules": 2, "gap": draw(st.integers(0, 3)) * 2,
        "bands": ("a", "b")[: draw(st.integers(1, 2))],
        "dtype": draw(st.sampled_from(["uint8", "uint16", "int16", "float32"])),
    }  # fmt: skip
    y, x = draw(st.integers(0, 20)), draw(st.integers(0, 16))
    roi = {
        "y": y, "x": x,
        "height": draw(st.integers(5, 30 - y)), "width": draw(st.integers(5, 26 - x)),
    }  # fmt: skip
    asked = {
        "roi": draw(st.none() | st.just(roi)),
        "binning": {"y": draw(st.integers(1, 5)), "x": draw(st.integers(1, 5))},
        "flip": draw(st.sampled_from(["none", "y", "x", "both"])),
        "rotation": draw(st.sampled_from([0, 90, 180, 270])),
    }
    return camera, asked


def by_hand(pixels: NDArray[Any], asked: AcquisitionParameters) -> Any:
    """What was asked, by NumPy, summed in a wide type."""
    chain: list[Operation] = []
    if asked.roi is not None:
        roi = asked.roi
        chain = [("crop", {"y": roi.y, "x": roi.x, "height": roi.height, "width": roi.width})]
    chain.append(("bin", asked.binning.model_dump()))
    axes = {"none": "", "both": "yx"}.get(asked.flip, asked.flip)
    chain += [("flip", {"axis": axis}) for axis in axes]
    chain.append(("rotate", {"turns": asked.rotation // 90}))
    return applied(pixels.astype("f8"), tuple(chain))


def input_of(camera: Simulator, asked: AcquisitionParameters) -> tuple[Grid, NDArray[Any]]:
    """Grid and pixels of ``input``: what the camera gives, the rest done in software."""
    info, hardware = camera.info(), took(camera, **dict(asked))
    grid = hardware_grid(info, hardware)
    raw = Spec(grid, np.dtype(hardware.dtype), hardware.bands, asked.nb_frames)
    pipe = Pipeline()
    pipe.add("out", Collect())
    program = Program(plan(pipe, raw, software_steps(asked, info, grid)), Policy())
    taken = np.stack([pixels for _, pixels in frames(camera, hardware)])
    outcome = program.run(Frames.of(taken))
    assert outcome.failures == []
    writer = program.writers["out"]
    assert isinstance(writer, Collector)
    assert writer.frames is not None
    return program.plan.input.grid, writer.frames.pixels


@given(requests(), st.sampled_from(["fill", "lend"]))
@settings(max_examples=40)
def test_hardware_and_software_give_the_same(
    request: tuple[dict[str, Any], dict[str, Any]], buffers: Any
) -> None:
    fields, wanted = request
    asked = AcquisitionParameters(nb_frames=2, **wanted)
    able = Simulator(**fields, buffers=buffers)
    unable = Simulator(**fields, hardware_roi=False, hardware_binning=False, hardware_flip=False)
    hardware = took(unable, **dict(asked))
    assert (hardware.roi, hardware.flip, hardware.shape) == (None, "none", (30, 26))
    (grid, pixels), (same_grid, same_pixels) = input_of(able, asked), input_of(unable, asked)
    assert grid == same_grid
    assert pixels.dtype == same_pixels.dtype
    np.testing.assert_array_equal(pixels, same_pixels)
    expected = np.stack([by_hand(able.frame(number).values, asked) for number in range(2)])
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_camera_with_colour_filters_sees_one_colour_with_each_pixel(pattern: Any) -> None:
    fields: dict[str, Any] = {"shape": (47, 20), "modules": 2, "gap": 7, "photons": 5, "growth": 2}
    camera = Simulator(**fields, pattern=pattern)
    colours = Simulator(**fields, bands=["red", "green", "blue"])
    assert (camera.info().pattern, colours.info().pattern) == (pattern, None)
    assert camera.info().bands == ("0",)
    for number in (0, 1, 50):
        rgb, mosaic = colours.frame(number), camera.frame(number)
        assert mosaic.dims == ("band", "y", "x")
        for place, colour in enumerate(pattern):
            y, x = divmod(place, 2)
            wanted = rgb.values["rgb".index(colour), y::2, x::2]
            assert np.array_equal(mosaic.values[0, y::2, x::2], wanted)
    taken = frames(camera, took(camera, nb_frames=3))
    for number, (_, pixels) in enumerate(taken):
        assert np.array_equal(pixels, camera.frame(number))


def test_colour_filters_and_several_bands_are_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        Simulator(pattern="rggb", bands=["red", "green", "blue"])
    assert (caught.value.field, caught.value.value) == ("pattern", "rggb")


def test_an_unknown_pattern_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        Simulator(pattern="rgb")  # type: ignore[arg-type]
    assert caught.value.field == "pattern"
