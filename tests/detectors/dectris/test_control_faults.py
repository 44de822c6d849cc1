"""What goes wrong with a control unit in whole runs: they end soon, and the next one works."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from distributed import Client
from emulators.camera import Camera, Cameras
from emulators.driving import prepared, until
from emulators.runs import BOUND, FRAMES, Runs

import limadask as ld
from limadask_detectors.dectris import SimplonError, readiness

MANY = 500
SOON = 1.0
"""Seconds within which a stop takes effect."""


@pytest.fixture
def runs(client: Client, tmp_path: Path, cameras: Cameras) -> Runs:
    """Runs of a camera whose exposures take time; by now everything is compiled."""
    runs = Runs(client, tmp_path, cameras())
    assert runs.works()
    runs.camera.takes_time = True
    return runs


def begun(acquisition: ld.Acquisition, count: int = 5) -> None:
    """Begin to run, until some frames are there."""
    acquisition.prepare()
    acquisition.start()
    for event in acquisition.events():
        if getattr(event, "count", 0) >= count:
            break


def refuses(camera: Camera) -> None:
    camera.shut()


def does_not_arm(camera: Camera) -> None:
    camera.replies["/command/arm"] = (500, b"no high voltage")


def stalls(camera: Camera) -> None:
    camera.held.add("/config/ntrigger")


def has_other_firmware(camera: Camera) -> None:
    camera.replies["/detector/api/version"] = (200, b'{"value": "2.0.0"}')


@pytest.mark.parametrize(
    ("breaks", "words"),
    [
        (refuses, r"GET http://127.0.0.1:\d+/.* check host and port"),
        (does_not_arm, "PUT .*/command/arm: HTTP 500, no high voltage"),
        (stalls, r"/config/ntrigger.*: no answer within 0.5 s; check the network"),
        (has_other_firmware, "says API version '2.0.0'"),
    ],
)
def test_what_cannot_be_prepared_says_why_and_the_next_run_works(
    runs: Runs, breaks: Callable[[Camera], object], words: str
) -> None:
    breaks(runs.camera)
    detector = runs.detector.model_copy(update={"timeout": 0.5})
    began = time.monotonic()
    with runs.make(detector) as acquisition, pytest.raises(ld.AcquisitionFailed, match=words):
        acquisition.prepare()
    assert time.monotonic() - began < 5
    assert acquisition.state == ("failed", "failed")
    runs.camera.revive()
    assert runs.works()


def test_an_arm_that_stalls_has_a_bound_of_its_own(
    cameras: Cameras, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may take long where corrections are computed."""
    monkeypatch.setattr(readiness, "ARM", 0.3)
    camera = cameras()
    camera.held.add("/command/arm")
    detector = camera.detector()
    with pytest.raises(SimplonError, match=r"PUT .*/command/arm: no answer within 0.3 s"):
        prepared(detector)
    assert "abort" in camera.changes()
    camera.release()
    assert until(lambda: camera.state == "ready")  # the late one arms it all the same
    prepared(detector)
    detector.close()
    assert camera.state == "idle"


def test_who_does_not_wait_for_an_arm_leaves_nothing_armed(runs: Runs) -> None:
    camera = runs.camera
    camera.begun.clear()
    camera.held.add("/command/arm")
    with runs.make() as acquisition, ThreadPoolExecutor(1) as pool:
        waits = pool.submit(acquisition.prepare)
        assert camera.begun.wait(BOUND)
        began = time.monotonic()
        acquisition.abort()
        waits.result(BOUND)
        assert time.monotonic() - began < SOON
    armed = camera.series
    camera.release()
    assert until(lambda: camera.series == armed + 1)
    assert until(lambda: camera.state == "idle")
    assert runs.works()


def dies(camera: Camera) -> None:
    camera.shut()


def gets_an_error(camera: Camera) -> None:
    camera.errors = ["the water is warm"]
    camera.replies["/status/state"] = (200, b'{"value": "error"}')


@pytest.mark.parametrize(
    ("breaks", "words"),
    [(dies, "the detector: .*127.0.0.1"), (gets_an_error, "the detector: .*the water is warm")],
)
def test_a_control_unit_that_fails_in_a_run_ends_it(
    runs: Runs, breaks: Callable[[Camera], object], words: str
) -> None:
    with runs.make(nb_frames=MANY) as acquisition:
        begun(acquisition)
        breaks(runs.camera)
        with pytest.raises(ld.AcquisitionFailed, match=words):
            acquisition.wait(timeout=BOUND)
    absent = runs.absent(acquisition)
    assert 5 <= MANY - len(absent) < MANY
    runs.camera.revive()
    assert runs.works()


def test_a_trigger_that_fails_ends_the_run(runs: Runs) -> None:
    runs.camera.replies["/command/trigger"] = (500, b"detector not ready")
    with runs.make() as acquisition:
        acquisition.prepare()
        acquisition.start()
        with pytest.raises(ld.AcquisitionFailed, match=r"a trigger failed.*detector not ready"):
            acquisition.wait(timeout=BOUND)
    assert len(runs.absent(acquisition)) == FRAMES
    runs.camera.revive()
    assert runs.works()


@pytest.mark.parametrize("receivers", [1, 2])
@pytest.mark.parametrize("abort", [False, True], ids=["stop", "abort"])
def test_a_stop_takes_effect_while_a_trigger_blocks(
    client: Client, tmp_path: Path, cameras: Cameras, receivers: int, abort: bool
) -> None:
    runs = Runs(client, tmp_path, cameras(), receivers)
    assert runs.works()
    runs.camera.takes_time = True
    with runs.make(nb_frames=MANY, expo_time=0.02) as acquisition:
        begun(acquisition)
        began = time.monotonic()
        (acquisition.abort if abort else acquisition.stop)()
        acquisition.wait("acquired", timeout=BOUND)
        assert time.monotonic() - began < SOON
        assert runs.camera.state == "idle"
        acquisition.wait(timeout=BOUND)
    absent = runs.absent(acquisition)
    assert set(absent.values()) == {"stopped"}
    if not abort:
        assert sorted(absent) == [n for n in range(MANY) if n not in runs.camera.sent]
    assert runs.works()


@pytest.mark.parametrize("abort", [False, True], ids=["stop", "abort"])
def test_a_stop_takes_effect_while_a_trigger_hangs(runs: Runs, abort: bool) -> None:
    runs.camera.begun.clear()
    runs.camera.held.add("/command/trigger")
    with runs.make() as acquisition:
        acquisition.prepare()
        acquisition.start()
        assert runs.camera.begun.wait(BOUND)
        began = time.monotonic()
        (acquisition.abort if abort else acquisition.stop)()
        acquisition.wait("acquired", timeout=BOUND)
        assert time.monotonic() - began < SOON
        acquisition.wait(timeout=BOUND)
    assert runs.absent(acquisition) == dict.fromkeys(range(FRAMES), "stopped")
    runs.camera.revive()
    assert runs.works()


def test_an_endless_series_without_an_end_stops(runs: Runs) -> None:
    runs.camera.faults = {"end": False}
    with runs.make(nb_frames=0) as acquisition:
        begun(acquisition)
        acquisition.stop()
        acquisition.wait(timeout=BOUND)
    counts: Any = acquisition.record().counts()
    assert counts["present"] == len(runs.camera.sent) == sum(counts.values()) >= 5
    assert runs.works()
