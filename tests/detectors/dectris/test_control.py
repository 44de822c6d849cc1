"""A detector is configured, armed, triggered and stopped, or says why it cannot be."""

from __future__ import annotations

import logging
import pickle
import time
from collections.abc import Iterator
from typing import Any

import pytest
from emulators.control_unit import ControlUnit
from emulators.driving import BOUND, prepared, threads, until

from limadask.errors import ConfigError, StateError
from limadask_detectors import Dectris
from limadask_detectors.dectris import SimplonError

STOP = 1.0
"""Seconds that a stop may take."""


def dectris(unit: ControlUnit, **fields: Any) -> Dectris:
    return Dectris(host="127.0.0.1", port=unit.port, **fields)


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert until(lambda: not threads()), threads()


# ---- what it says -------------------------------------------------------------------------------


def test_it_says_what_it_is_and_changes_nothing(unit: ControlUnit) -> None:
    unit.config |= {"omega_start": {"value": 5.0}, "omega_increment": {"value": 0.1}}
    unit.config |= {"beam_center_x": {"value": 500.0}, "beam_center_y": {"value": 250.0}}
    info = dectris(unit).info()
    assert (info.model, info.serial) == ("Dectris EIGER2 Si 500K", "E-01-0001")
    assert (info.shape, info.dtype) == ((512, 1028), "uint16")
    assert info.pixel_size == (75e-6, 75e-6)
    assert info.wavelength == pytest.approx(1.5498, abs=1e-4)
    assert info.beam_centre == (250.0, 500.0)
    assert (info.bands, info.thresholds) == (("threshold_1",), (4000.0,))
    assert [(one.name, one.start, one.increment) for one in info.goniometer] == [
        ("omega", 5.0, 0.1)
    ]
    assert [one.name for one in info.columns] == ["start_time", "stop_time", "real_time"]
    assert unit.changes() == []


def test_thresholds_that_are_enabled_are_bands(unit: ControlUnit) -> None:
    unit.config["threshold/2/mode"]["value"] = "enabled"
    info = dectris(unit).info()
    assert info.bands == ("threshold_1", "threshold_2")
    assert info.thresholds == (4000.0, 12000.0)
    assert dectris(unit, stream="v1").info().bands == ("threshold_1",)
    asked = dectris(unit, channels=("difference",)).info()  # as it would be
    assert (asked.bands, asked.thresholds) == (("difference",), (4000.0,))


def test_a_detector_of_one_threshold_has_one_band(unit: ControlUnit) -> None:
    for name in [one for one in unit.config if one.startswith("threshold/")]:
        del unit.config[name]
    unit.config["threshold_energy"] = {"value": 6000.0}
    info = dectris(unit).info()
    assert (info.bands, info.thresholds) == (("threshold_1",), (6000.0,))


def test_its_own_limits_are_what_it_can(unit: ControlUnit) -> None:
    can = dectris(unit).capabilities()
    assert can.trigger_modes == ("internal", "software", "external", "gate")
    assert can.expo_time_range == (1e-6, 1800.0)
    assert can.default_expo_time == 0.5
    assert can.max_nb_frames == 1000
    assert can.dispatch == ("single", "dynamic")
    assert can.roi_step == 0


def test_limits_are_told_by_name(unit: ControlUnit) -> None:
    limits = dectris(unit).limits()
    energy = limits["photon_energy"]
    assert (energy.range, energy.unit, energy.access) == ((3500.0, 40000.0), "eV", "rw")
    assert limits["compression"].allowed == ("lz4", "bslz4")
    assert limits["threshold/2/mode"].value == "disabled"
    assert limits["nimages"].maximum == 1000
    assert "roi_mode" not in limits  # this model has none


def test_a_status_that_the_model_lacks_is_none(unit: ControlUnit) -> None:
    status = dectris(unit).status()
    assert (status.state, status.temperature, status.error) == ("na", None, ())


def test_what_cannot_be_is_told(unit: ControlUnit) -> None:
    unit.config["x_pixels_in_detector"]["value"] = "many"
    with pytest.raises(SimplonError, match=r"what cannot be: .*many.*check its firmware"):
        dectris(unit).info()


def test_without_the_size_of_images_it_is_no_detector(unit: ControlUnit) -> None:
    del unit.config["x_pixels_in_detector"]
    with pytest.raises(SimplonError, match=r"x_pixels_in_detector.*check its firmware"):
        dectris(unit).info()


# ---- prepare ------------------------------------------------------------------------------------


def test_what_is_asked_is_set_and_read_back(unit: ControlUnit) -> None:
    detector = dectris(
        unit, photon_energy=12400, channels=("threshold_1", "threshold_2"), header_detail="none"
    )
    took = prepared(detector, nb_frames=6, expo_time=0.02, latency_time=0.001)
    assert unit.state == "ready"
    assert (took.expo_time, took.latency_time, took.nb_frames) == (0.02, 0.001, 6)
    assert took.bands == ("threshold_1", "threshold_2")
    assert (took.series, took.shape, took.dtype) == ("1", (512, 1028), "uint16")
    assert took.settings["photon_energy"] == 12400
    assert took.settings["trigger_mode"] == "ints"
    assert unit.stream["mode"]["value"] == "enabled"
    assert unit.stream["format"]["value"] == "cbor"
    assert unit.stream["header_detail"]["value"] == "none"
    assert detector.as_armed(detector.info()).wavelength == pytest.approx(0.99987, abs=1e-5)
    detector.close()
    assert unit.state == "idle"


def test_what_is_so_already_is_not_set_again(unit: ControlUnit) -> None:
    detector = dectris(unit, photon_energy=8000, compression="bslz4")
    prepared(detector)
    assert not {"photon_energy", "compression"} & set(unit.changes())
    detector.close()


def test_the_least_pause_is_the_readout(unit: ControlUnit) -> None:
    detector = dectris(unit)
    took = prepared(detector, expo_time=0.02)
    assert (took.expo_time, took.latency_time) == (0.02, 1e-7)
    detector.close()


@pytest.mark.parametrize("expo_time", [2.0, 0.1])
def test_an_exposure_fits_into_its_period_at_any_moment(
    unit: ControlUnit, expo_time: float
) -> None:
    detector = dectris(unit)
    prepared(detector, expo_time=expo_time)
    times = {"count_time": 0.5, "frame_time": 0.6}
    for method, path, body in unit.requests:
        name = path.rpartition("/")[2]
        if method == "PUT" and name in times:
            times[name] = body["value"]
            assert times["count_time"] <= times["frame_time"]
    assert times["count_time"] == expo_time
    detector.close()


@pytest.mark.parametrize(
    ("asked", "values"),
    [
        ({"trigger_mode": "external", "nb_frames": 6, "nb_frames_per_trigger": 3}, ("exts", 3, 2)),
        ({"trigger_mode": "gate", "nb_frames": 6}, ("exte", 1, 6)),
        ({"trigger_mode": "software", "nb_frames": 6}, ("ints", 1, 6)),
        ({"nb_frames": 0}, ("ints", 1000, 1)),
    ],
)
def test_trigger_modes(unit: ControlUnit, asked: dict[str, Any], values: tuple[Any, ...]) -> None:
    detector = dectris(unit)
    took = prepared(detector, **asked)
    names = ("trigger_mode", "nimages", "ntrigger")
    assert tuple(unit.config[one]["value"] for one in names) == values
    assert took.nb_frames == asked["nb_frames"]
    detector.close()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"photon_energy": 50000}, r"photon_energy.*got 50000\.0; allowed: 3500 to 40000 eV"),
        ({"compression": "none"}, r"compression.*got none; allowed: lz4, bslz4"),
        ({"roi_mode": "4M-L"}, r"roi_mode: this detector has no roi_mode; leave it out"),
        ({"threshold_energies": (5e3, 2e3)}, r"threshold_energies: .*threshold/2/energy"),
        ({"channels": ("threshold_4",)}, r"channels: this detector has no such channel"),
    ],
)
def test_what_the_detector_does_not_allow_is_not_begun(
    unit: ControlUnit, fields: dict[str, Any], words: str
) -> None:
    unit.state = "idle"
    with pytest.raises(ConfigError, match=words) as told:
        prepared(dectris(unit, **fields))
    assert told.value.node == "detector"
    assert unit.changes() == []


def test_a_period_out_of_its_limits_is_refused(unit: ControlUnit) -> None:
    unit.config["frame_time"]["max"] = 1.0
    with pytest.raises(ConfigError, match=r"frame_time.*got 1\.5\d*; allowed: 1e-05 to 1 s"):
        prepared(dectris(unit), expo_time=1.5)
    assert "arm" not in unit.changes()


def test_channels_that_exclude_each_other_are_told(unit: ControlUnit) -> None:
    detector = dectris(unit, channels=("threshold_1", "difference"))
    unit.excluding = True
    with pytest.raises(ConfigError, match=r"cannot deliver these channels together"):
        prepared(detector)
    assert unit.state == "idle"


@pytest.mark.parametrize(("state", "begins"), [("na", True), ("error", True), ("idle", False)])
def test_it_is_initialised_where_it_needs_it(unit: ControlUnit, state: str, begins: bool) -> None:
    unit.state = state
    detector = dectris(unit)
    prepared(detector)
    assert ("initialize" in unit.changes()) == begins
    detector.close()


@pytest.mark.parametrize("state", ["ready", "acquire"])
def test_what_a_run_before_has_left_armed_is_stopped(
    unit: ControlUnit, caplog: pytest.LogCaptureFixture, state: str
) -> None:
    unit.state = state
    detector = dectris(unit)
    with caplog.at_level(logging.WARNING):
        prepared(detector)
    assert unit.changes()[0] == ("abort" if state == "acquire" else "disarm")
    assert f"found in state {state}" in caplog.text
    caplog.clear()
    prepared(detector)  # its own is no surprise
    assert caplog.text == ""
    detector.close()


def test_a_detector_that_does_not_get_idle_is_told(unit: ControlUnit) -> None:
    unit.state, unit.errors = "configure", ["high voltage off"]
    with pytest.raises(SimplonError, match=r"in state configure.*high voltage off"):
        prepared(dectris(unit))
    assert "arm" not in unit.changes()


def test_an_arm_that_fails_leaves_nothing_armed(unit: ControlUnit) -> None:
    detector = dectris(unit)
    unit.replies["/command/arm"] = (500, b"no high voltage")
    with pytest.raises(SimplonError, match=r"command/arm: HTTP 500, no high voltage"):
        prepared(detector)
    assert unit.changes()[-1] == "abort"
    with pytest.raises(StateError, match="not prepared"):
        detector.start()
    del unit.replies["/command/arm"]
    assert prepared(detector).series == "1"
    detector.close()


def test_an_arm_that_does_not_arm_is_told(unit: ControlUnit) -> None:
    unit.replies["/command/arm"] = (200, b"{}")
    with pytest.raises(SimplonError, match=r"was armed, and is in state idle"):
        prepared(dectris(unit))


# ---- a series -----------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["start", "trigger"])
def test_nothing_starts_that_is_not_prepared(unit: ControlUnit, call: str) -> None:
    with pytest.raises(StateError, match="prepare it first"):
        getattr(dectris(unit), call)()


def test_the_only_trigger_is_given_at_the_start(unit: ControlUnit) -> None:
    detector = dectris(unit)
    prepared(detector)
    assert not detector.is_over()
    detector.start()
    assert until(detector.is_over)
    assert unit.changes().count("trigger") == 1
    assert detector.fault() == ""
    with pytest.raises(StateError, match="trigger_mode is internal"):
        detector.trigger()
    detector.close()
    assert "abort" not in unit.changes()


def test_software_triggers_follow_each_other(unit: ControlUnit) -> None:
    detector = dectris(unit)
    unit.stays = True
    prepared(detector, trigger_mode="software", nb_frames=2)
    detector.start()
    detector.trigger()
    assert until(lambda: unit.changes().count("trigger") == 1)
    assert not detector.is_over()
    detector.trigger()
    with pytest.raises(StateError, match="all 2 triggers"):
        detector.trigger()
    assert until(detector.is_over)
    assert unit.changes()[-3:] == ["trigger", "trigger", "disarm"]
    detector.close()


def test_external_triggers_are_followed_by_the_state(unit: ControlUnit) -> None:
    detector = dectris(unit)
    prepared(detector, trigger_mode="external")
    detector.start()
    with pytest.raises(StateError, match="trigger_mode is external"):
        detector.trigger()
    unit.state = "acquire"
    assert not detector.is_over()
    unit.state = "idle"
    assert until(detector.is_over)
    assert "trigger" not in unit.changes()
    detector.close()


@pytest.mark.parametrize("abort", [False, True], ids=["stop", "abort"])
def test_a_stop_does_not_wait_for_a_trigger(unit: ControlUnit, abort: bool) -> None:
    detector = dectris(unit)
    prepared(detector)
    unit.held.add("/command/trigger")
    detector.start()
    assert unit.begun.wait(BOUND)
    begin = time.monotonic()
    detector.stop(abort)
    assert time.monotonic() - begin < STOP
    assert unit.changes()[-1] == ("abort" if abort else "cancel")
    assert detector.is_over()
    assert detector.fault() == ""
    assert threads() == []
    detector.close()


@pytest.mark.parametrize("abort", [False, True], ids=["stop", "abort"])
def test_a_stop_does_not_wait_for_a_control_unit_that_hangs(unit: ControlUnit, abort: bool) -> None:
    detector = dectris(unit)
    prepared(detector)
    unit.held |= {"/command/trigger", "/command/abort", "/command/cancel", "/status/state"}
    detector.start()
    assert unit.begun.wait(BOUND)
    begin = time.monotonic()
    detector.stop(abort)
    assert time.monotonic() - begin < STOP
    detector.close()
    detector.close()
    assert time.monotonic() - begin < 2 * STOP


def test_it_can_be_closed_at_any_time(unit: ControlUnit) -> None:
    detector = dectris(unit)
    detector.close()
    detector.stop(abort=True)
    prepared(detector)
    detector.close()
    assert unit.state == "idle"
    prepared(detector)
    detector.start()
    detector.close()
    detector.close()
    assert unit.state == "idle"


def test_a_copy_does_not_control_the_series(unit: ControlUnit) -> None:
    detector = dectris(unit)
    prepared(detector)
    detector.start()
    copy = pickle.loads(pickle.dumps(detector))
    with pytest.raises(StateError, match="prepare it first"):
        copy.trigger()
    copy.close()
    assert "disarm" not in unit.changes()
    detector.close()


def test_a_fault_stays_when_the_detector_gets_idle(unit: ControlUnit) -> None:
    detector = dectris(unit)
    prepared(detector)
    unit.replies["/command/trigger"] = (500, b"detector not ready")
    detector.start()
    assert until(detector.fault)
    unit.state = "idle"
    assert until(detector.is_over)
    assert "a trigger failed" in detector.fault()
    detector.close()
    assert detector.fault() == ""


def test_a_trigger_that_fails_is_a_fault(unit: ControlUnit) -> None:
    detector = dectris(unit)
    prepared(detector)
    unit.replies["/command/trigger"] = (500, b"detector not ready")
    detector.start()
    assert until(detector.fault)
    assert "a trigger failed" in detector.fault()
    assert "HTTP 500, detector not ready" in detector.fault()
    assert not detector.is_over()
    detector.close()


def test_the_state_error_is_a_fault(unit: ControlUnit) -> None:
    detector = dectris(unit)
    prepared(detector, trigger_mode="external")
    detector.start()
    unit.state, unit.errors = "error", ["temperature"]
    assert until(detector.fault)
    assert "state error: ['temperature']" in detector.fault()
    detector.close()


def test_a_control_unit_that_goes_away_is_a_fault(unit: ControlUnit) -> None:
    detector = dectris(unit)
    prepared(detector, trigger_mode="external")
    detector.start()
    unit.shut()
    assert until(detector.fault)
    assert "does not answer any more" in detector.fault()
    begin = time.monotonic()
    detector.stop(abort=True)
    detector.close()
    assert time.monotonic() - begin < STOP


# ---- passive ------------------------------------------------------------------------------------


@pytest.fixture
def others(unit: ControlUnit) -> ControlUnit:
    """A control unit that somebody else uses."""
    unit.state = "idle"
    unit.stream["mode"]["value"], unit.stream["format"]["value"] = "enabled", "cbor"
    for name, value in (("nimages", 5), ("ntrigger", 2), ("trigger_mode", "ints")):
        unit.config[name]["value"] = value
    return unit


def test_passive_it_reads_and_changes_nothing(others: ControlUnit) -> None:
    detector = dectris(others, passive=True, photon_energy=12400)
    assert detector.capabilities().dispatch == ("single",)
    took = prepared(detector, nb_frames=1, expo_time=None)
    # how many come, and when, is up to others, also after this
    assert (took.nb_frames, took.expo_time, took.latency_time) == (0, 0.5, 0.1)
    assert (took.trigger_mode, took.nb_frames_per_trigger) == ("external", 5)
    assert (took.series, took.bands) == ("", ("threshold_1",))
    assert took.settings["photon_energy"] == 8000
    detector.start()
    others.state = "acquire"
    assert until(lambda: detector._series is not None and detector._series._watch._begun)
    assert not detector.is_over()
    others.state = "idle"
    assert until(detector.is_over)
    detector.stop(abort=True)
    detector.close()
    assert others.changes() == []


def test_passive_it_notices_a_series_between_two_looks(others: ControlUnit) -> None:
    detector = dectris(others, passive=True)
    assert prepared(detector, nb_frames=0, expo_time=None).nb_frames == 0
    detector.start()
    looks = "/status/series_unique_id"
    assert until(lambda: any(path.endswith(looks) for _, path, _ in others.requests))
    assert not detector.is_over()
    others.series += 1
    assert until(detector.is_over)
    detector.close()


def test_passive_it_stops_listening_and_lets_others_go_on(others: ControlUnit) -> None:
    detector = dectris(others, passive=True)
    prepared(detector, expo_time=None)
    detector.start()
    others.state = "acquire"
    detector.stop(abort=True)
    assert detector.is_over()
    detector.close()
    assert (others.state, others.changes()) == ("acquire", [])


@pytest.mark.parametrize(
    ("values", "asked", "words"),
    [
        ({"mode": "disabled"}, {}, r"stream has mode disabled.*got enabled; allowed: disabled"),
        ({"format": "legacy"}, {}, r"stream has format legacy.*take the other stream"),
        ({}, {"expo_time": 0.25}, r"expo_time: .*another exposure.*got 0\.25; allowed: 0\.5"),
    ],
)
def test_passive_it_tells_what_does_not_fit(
    others: ControlUnit, values: dict[str, str], asked: dict[str, Any], words: str
) -> None:
    for name, value in values.items():
        others.stream[name]["value"] = value
    with pytest.raises(ConfigError, match=words):
        prepared(dectris(others, passive=True), **{"expo_time": None, **asked})
    assert others.changes() == []
