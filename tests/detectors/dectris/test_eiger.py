"""Control of an EIGER that nobody here wrote: the emulator of ``tickit-devices``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from emulators.driving import prepared, threads, until
from emulators.eiger import Eiger

from limadask.errors import StateError
from limadask_detectors import Dectris
from limadask_detectors.dectris import SimplonError

pytestmark = pytest.mark.emulator


@pytest.fixture
def detector(eiger: Eiger) -> Iterator[Dectris]:
    detector = dectris(eiger)
    yield detector
    detector.close()
    assert threads() == []


def dectris(eiger: Eiger, **fields: Any) -> Dectris:
    fields = {"stream": "v1", "stream_port": eiger.stream1_port, **fields}
    return Dectris(host="127.0.0.1", port=eiger.port, timeout=20, **fields)


def test_it_says_what_it_is(eiger: Eiger, detector: Dectris) -> None:
    info = detector.info()
    assert (info.model, info.serial) == ("Simulated Eiger X 16M Detector", "EIGERSIM001")
    assert (info.shape, info.dtype, info.bands) == ((4362, 4148), "uint16", ("threshold_1",))
    assert (info.sensor_material, info.distance) == ("Si", 2.0)
    for number in (1, 2):
        eiger.put(f"threshold/{number}/mode", "enabled")
    assert dectris(eiger, stream="stream2").info().bands == ("threshold_1", "threshold_2")
    status = detector.status()
    assert (status.temperature, status.humidity, status.stream_dropped) == (24.5, 0.2, 0)
    assert detector.limits()["roi_mode"].allowed == ("disabled", "4M-L", "4M-R")


def test_it_is_configured_and_armed(eiger: Eiger, detector: Dectris) -> None:
    detector = dectris(
        eiger, stream="stream2", channels=("threshold_1",), threshold_energies=(6200,),
        photon_energy=12400, omega_start=10, omega_increment=0.5, counting_mode="retrigger",
    )  # fmt: skip
    took = prepared(detector, nb_frames=6, expo_time=0.02, latency_time=0.03)
    assert eiger.state == "ready"
    assert (took.expo_time, took.latency_time, took.nb_frames) == (0.02, 0.03, 6)
    assert took.bands == ("threshold_1",)
    assert took.settings["counting_mode"] == eiger.get("counting_mode") == "retrigger"
    assert took.settings["threshold_energy"] == 6200  # it follows the photons
    assert not {"flatfield", "pixel_mask"} & set(took.settings)
    assert (eiger.get("trigger_mode"), eiger.get("nimages"), eiger.get("ntrigger")) == (
        "ints",
        6,
        1,
    )
    info = detector.as_armed(detector.info())
    assert info.thresholds == (6200.0,)
    assert info.wavelength == pytest.approx(0.99987, abs=1e-5)
    assert [(one.name, one.start, one.increment) for one in info.goniometer] == [
        ("omega", 10.0, 0.5)
    ]
    detector.close()
    assert eiger.state == "idle"


def test_one_series_follows_the_other(eiger: Eiger, detector: Dectris) -> None:
    numbers = []
    for _ in range(2):
        numbers.append(int(prepared(detector, nb_frames=3).series))
        detector.start()
        assert until(detector.is_over)
        assert (eiger.state, detector.fault()) == ("idle", "")
    assert numbers == [numbers[0], numbers[0] + 1]


def test_software_triggers_are_given_in_order(eiger: Eiger, detector: Dectris) -> None:
    prepared(detector, nb_frames=4, trigger_mode="software", nb_frames_per_trigger=2)
    detector.start()
    detector.trigger()
    detector.trigger()  # while the first one is under way
    with pytest.raises(StateError, match="all 2 triggers"):
        detector.trigger()
    assert until(detector.is_over)
    assert eiger.state == "idle"


@pytest.mark.parametrize("abort", [False, True], ids=["stop", "abort"])
def test_an_endless_series_stops_at_once(eiger: Eiger, detector: Dectris, abort: bool) -> None:
    assert prepared(detector, nb_frames=0).nb_frames == 0
    detector.start()
    assert until(lambda: eiger.state == "acquire")
    begin = time.monotonic()
    detector.stop(abort)
    assert time.monotonic() - begin < 1
    assert eiger.state == "idle"  # though its trigger never returns
    assert detector.is_over()
    assert detector.fault() == ""
    assert threads() == []


def test_passive_it_changes_nothing(eiger: Eiger) -> None:
    for name, value in (("nimages", 3), ("ntrigger", 1), ("trigger_mode", "ints")):
        eiger.put(name, value)
    eiger.ask("PUT", "/stream/api/1.8.0/config/format", "legacy")
    eiger.command("initialize")
    before = {name: eiger.get(name) for name in ("nimages", "count_time", "photon_energy")}
    detector = dectris(eiger, passive=True, photon_energy=5000)
    try:
        took = prepared(detector, expo_time=None)
        assert (took.nb_frames, took.expo_time) == (0, before["count_time"])
        assert eiger.state == "idle"
        detector.start()
        eiger.command("arm")
        assert until(lambda: detector._series is not None and detector._series._watch._begun)
        assert not detector.is_over()
        eiger.command("trigger")
        assert until(detector.is_over)
        assert {name: eiger.get(name) for name in before} == before
    finally:
        detector.close()


def test_what_was_killed_is_armed_again_when_it_is_back(eiger: Eiger, detector: Dectris) -> None:
    prepared(detector, nb_frames=0)
    detector.start()
    assert until(lambda: eiger.state == "acquire")
    eiger.kill()
    assert until(detector.fault)
    assert f"http://127.0.0.1:{eiger.port}" in detector.fault()
    begin = time.monotonic()
    detector.stop(abort=True)
    detector.close()
    assert time.monotonic() - begin < 2
    with pytest.raises(SimplonError, match="whether the control unit is running"):
        detector.info()
    eiger.start()
    assert eiger.state == "na"
    prepared(detector, nb_frames=2)
    detector.start()
    assert until(detector.is_over)
