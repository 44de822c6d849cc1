"""The simulated camera at work: losses, triggers, stops, its clock, and what it refuses."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from limadask.detector import End, Frame, Lost, share
from limadask.errors import ConfigError
from limadask.parameters import AcquisitionParameters, HardwareParameters
from limadask_detectors import Simulator
from limadask_detectors.simulator.receiver import SimulatorReceiver

SHAPE = (12, 10)


def camera(**fields: Any) -> Simulator:
    return Simulator(**{"shape": SHAPE, "buffers": "lend", **fields})


def started(camera: Simulator, **asked: Any) -> SimulatorReceiver:
    """A receiver that works."""
    parameters = AcquisitionParameters(**{"expo_time": 0.0, "nb_frames": 10, **asked})
    hardware = share(parameters, camera.info(), camera.capabilities()).hardware
    receiver = camera.receiver(0, 1)
    receiver.arm(camera.prepare(hardware, ("",)))
    receiver.start()
    return receiver


def told(receiver: SimulatorReceiver, most: int = 1000) -> list[Frame | Lost]:
    """What comes without waiting: frames, and what is known of lost ones."""
    items: list[Frame | Lost] = []
    for _ in range(most):
        item = receiver.take(0.0)
        if isinstance(item, End):
            break
        if item is not None:
            items.append(item)
    return items


def taken(receiver: SimulatorReceiver, most: int = 1000) -> list[Frame]:
    """The frames that are there without waiting."""
    return [item for item in told(receiver, most) if isinstance(item, Frame)]


def test_it_ends_after_the_last_frame_and_stays_so() -> None:
    receiver = started(camera())
    assert [frame.index for frame in taken(receiver)] == list(range(10))
    assert [receiver.take(0.0), receiver.take(1.0)] == [End(), End()]


def test_dropped_frames_never_come_and_are_told_of() -> None:
    one = camera(faults={"drop": [0, 3, 4, 9, 70]})
    receiver = started(one)
    frames = taken(receiver)
    assert [frame.index for frame in frames] == [1, 2, 5, 6, 7, 8]
    assert receiver.take(0.0) == End()
    for frame in frames:
        np.testing.assert_array_equal(frame.lent, one.frame(frame.index))


def test_all_frames_may_be_dropped() -> None:
    receiver = started(camera(faults={"drop": list(range(10))}))
    assert told(receiver) == []
    assert receiver.take(0.0) == End()


@pytest.mark.parametrize("per_trigger", [1, 3])
def test_a_software_trigger_starts_some_frames(per_trigger: int) -> None:
    asked = {"trigger_mode": "software", "nb_frames_per_trigger": per_trigger}
    receiver = started(camera(), **asked)
    assert receiver.take(0.0) is None
    numbers: list[int] = []
    while not isinstance(frame := receiver.take(0.0), End):
        if frame is None:
            assert len(numbers) % per_trigger == 0
            receiver.trigger()
        else:
            numbers.append(frame.index)
    assert numbers == list(range(10))


def test_triggers_that_come_early_are_kept() -> None:
    receiver = started(camera(), trigger_mode="software", nb_frames_per_trigger=2)
    for _ in range(3):
        receiver.trigger()
    assert [frame.index for frame in taken(receiver)] == list(range(6))
    assert receiver.take(0.0) is None


@pytest.mark.parametrize("abort", [False, True])
def test_it_ends_when_it_is_stopped(abort: bool) -> None:
    receiver = started(camera(), nb_frames=0)
    assert len(taken(receiver, most=7)) == 7
    receiver.stop(abort)
    assert receiver.take(0.0) == End()


@pytest.mark.parametrize("mode", ["internal", "software"])
def test_a_stop_ends_waiting(mode: str) -> None:
    receiver = started(camera(), expo_time=3600.0, trigger_mode=mode)
    receiver.trigger()
    assert receiver.take(0.0) is None  # still exposing
    receiver.stop(False)
    assert receiver.take(100.0) == End()


def test_a_stop_before_the_first_trigger_ends_it() -> None:
    receiver = started(camera(), trigger_mode="software")
    receiver.stop(False)
    assert receiver.take(100.0) == End()


def test_frames_bear_the_time_at_which_their_exposure_began() -> None:
    frames = taken(started(camera(), expo_time=2e-6, latency_time=1e-6, nb_frames=50), most=50)
    stamps = [frame.timestamp for frame in frames if frame.timestamp is not None]
    np.testing.assert_allclose(np.diff(stamps), [3000] * 49, atol=1)


def test_after_a_trigger_exposures_begin_with_it() -> None:
    receiver = started(camera(), expo_time=1e-6, trigger_mode="software", nb_frames=3)
    for _ in range(3):
        before = time.time_ns()
        receiver.trigger()
        frame = receiver.take(10.0)
        assert isinstance(frame, Frame)
        assert frame.timestamp is not None
        assert before <= frame.timestamp <= time.time_ns()


def test_times_are_rounded_to_its_clock() -> None:
    one = camera()
    asked = AcquisitionParameters(expo_time=1.23456789e-3, latency_time=4.4e-7)
    hardware = share(asked, one.info(), one.capabilities()).hardware
    took = one.prepare(hardware, ("",))
    assert (took.expo_time, took.latency_time) == (0.001235, 0.0)
    assert took == hardware.replace(expo_time=0.001235, latency_time=0.0)
    assert isinstance(took, HardwareParameters)


def test_in_real_time_frames_are_lost_when_nobody_takes_them() -> None:
    items = told(started(camera(realtime=True), expo_time=1e-6, nb_frames=0), most=200)
    lost = [item for item in items if isinstance(item, Lost)]
    assert lost  # no computer makes a frame in a microsecond
    assert {item.cause for item in lost} == {"overrun"}
    following = 0
    for item in items:  # every number is there once
        first, last = (item.first, item.last) if isinstance(item, Lost) else (item.index,) * 2
        assert first == following
        following = last + 1


def test_otherwise_the_camera_waits() -> None:
    frames = taken(started(camera(), expo_time=1e-6, nb_frames=200))
    assert [frame.index for frame in frames] == list(range(200))


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"modules": 2}, "modules"),
        ({"modules": 5, "gap": 0}, "modules"),
        ({"dtype": "float64"}, "dtype"),
        ({"bands": []}, "bands"),
        ({"photons": -1}, "photons"),
        ({"photons": float("inf")}, "photons"),
        ({"photons": 1e19}, "photons"),
        ({"growth": float("inf")}, "growth"),
        ({"seed": -1}, "seed"),
        ({"faults": {"lose": [3]}}, "faults.lose"),
        ({"buffers": "borrow"}, "buffers"),
    ],
    ids=str,
)
def test_what_it_cannot_be_is_refused(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        camera(**fields)
    assert caught.value.field == field


def test_what_is_refused_when_it_is_set_leaves_the_camera_as_it_was() -> None:
    one = camera()
    one.growth = 0.1
    for field, value in (("growth", -1), ("modules", 3), ("shape", (0, 5)), ("dtype", "f16")):
        before = one.model_dump()
        with pytest.raises(ConfigError) as caught:
            setattr(one, field, value)
        assert str(caught.value.field).startswith(field)
        assert one.model_dump() == before
    assert one.growth == 0.1
    np.testing.assert_array_equal(one.frame(3), camera(growth=0.1).frame(3))


def test_it_says_what_it_is_and_can() -> None:
    one = camera(bands=["a", "b"], dtype="int16", seed=7, hardware_roi=False, hardware_flip=False)
    info, can = one.info(), one.capabilities()
    assert (info.shape, info.dtype, info.bands) == (SHAPE, "int16", ("a", "b"))
    assert (info.serial, info.beam_centre) == ("seed-7", (6.0, 5.0))
    assert (can.roi_step, can.flip, can.binning) == (0, False, (1, 2, 4))
    assert camera(hardware_binning=False).capabilities().binning == (1,)
    image = one.frame(0)
    assert (image.shape, image.dtype) == ((2, *SHAPE), np.dtype("int16"))


@pytest.mark.parametrize("buffers", ["lend", "fill"])
def test_each_fault_happens_to_the_frames_it_is_meant_for(buffers: Any) -> None:
    faults = {"drop": [1], "corrupt": [2], "overrun": [3], "duplicate": [4], "reorder": [6]}
    one = camera(buffers=buffers, faults={**faults, "lose_packets": [9]})
    receiver = started(one)
    items: list[Any] = []
    for _ in range(20):
        buffer = np.zeros((1, *SHAPE), "u2")
        receiver.given.clear()
        receiver.give(buffer)
        item = receiver.take(0.0)
        if isinstance(item, Frame):
            pixels = buffer if item.lent is None else item.lent
            valid = np.ones(SHAPE, bool) if item.invalid is None else ~item.invalid
            np.testing.assert_array_equal(pixels[0][valid], one.frame(item.index)[0].values[valid])
        items += [] if item is None or isinstance(item, End) else [item]
    numbers = [
        item.index if isinstance(item, Frame) else (item.first, item.cause) for item in items
    ]
    assert numbers == [0, (2, "decode_error"), (3, "overrun"), 4, 4, 5, 7, 6, 8, 9]
    last = items[-1]
    assert (last.complete, last.cause) == (False, "packets_lost")
    assert 0 < last.invalid.sum() < last.invalid.size


def test_faults_of_a_probability_are_the_same_every_time() -> None:
    one = camera(faults={"drop": 0.3, "seed": 5})
    first = [frame.index for frame in taken(started(one, nb_frames=200))]
    assert first == [frame.index for frame in taken(started(one, nb_frames=200))]
    assert 100 < len(first) < 180
    one.faults = one.faults.replace(seed=6)
    assert first != [frame.index for frame in taken(started(one, nb_frames=200))]


def test_a_dead_camera_says_nothing_and_does_not_end() -> None:
    receiver = started(camera(faults={"die": 3}))
    assert [frame.index for frame in taken(receiver, most=10)] == [0, 1, 2]
    receiver.stop(abort=True)
    assert receiver.take(0.0) is None


def test_a_delayed_frame_delays_those_after_it() -> None:
    one = camera(faults={"delay": [2], "delay_time": 0.2})
    receiver, began = started(one, expo_time=1e-3, nb_frames=5), time.monotonic()
    arrived = []
    while not isinstance(item := receiver.take(1.0), End):
        assert isinstance(item, Frame)
        arrived.append(time.monotonic() - began)
    assert len(arrived) == 5
    assert arrived[1] < 0.2 <= arrived[2]
