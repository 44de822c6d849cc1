"""What a detector says of itself while it runs: that it cannot go on, that it is over."""

from __future__ import annotations

import time
from typing import Any

import pytest
from distributed import Client
from pydantic import PrivateAttr

import limadask as ld
from limadask.detector import DetectorInfo
from limadask.parameters import HardwareParameters
from limadask_detectors import Simulator


class Outspoken(Simulator):
    """A simulated camera that says that it is over, or broken, some time after its start."""

    says: str = "over"
    after: float = 0.3
    _began: float | None = PrivateAttr(None)

    def start(self) -> None:
        super().start()
        self._began = time.monotonic()

    @property
    def _is_due(self) -> bool:
        return self._began is not None and time.monotonic() - self._began > self.after

    def fault(self) -> str:
        return "its cooling has failed" if self.says == "fault" and self._is_due else ""

    def is_over(self) -> bool:
        return self.says == "over" and self._is_due


def acquisition(client: Client, camera: Simulator, **fields: Any) -> ld.Acquisition:
    return ld.Acquisition(client, camera, ld.Pipeline(), **{"nb_frames": 20, **fields})


@pytest.mark.parametrize("dispatch", ["single", "round_robin", "dynamic"])
def test_a_run_ends_when_the_detector_is_over_and_nothing_comes(
    client: Client, dispatch: Any
) -> None:
    receivers = 1 if dispatch == "single" else 2
    topology = ld.Topology(receivers=receivers, workers=receivers, dispatch=dispatch)
    with acquisition(
        client, Outspoken(shape=(32, 32), faults={"die": 8}), topology=topology, expo_time=0.01
    ) as run:
        run.prepare()
        run.start()
        run.wait(timeout=20)
    counts = run.record().counts()
    assert 8 <= counts["present"] <= 9  # the other receiver may have begun its next
    assert counts["present"] + counts["absent"] == 20
    assert {one.cause for one in run.record().runs()} == {"", "detector"}


def test_frames_that_still_come_are_waited_for(client: Client) -> None:
    """The detector is over at once; its frames take three seconds."""
    with acquisition(client, Outspoken(shape=(32, 32), after=0.0), expo_time=0.15) as run:
        run.prepare()
        run.start()
        run.wait(timeout=30)
    assert run.record().counts()["present"] == 20


def test_a_detector_that_cannot_go_on_ends_the_run_with_its_words(client: Client) -> None:
    with acquisition(
        client, Outspoken(shape=(32, 32), says="fault"), nb_frames=0, expo_time=0.01
    ) as run:
        run.prepare()
        run.start()
        began = time.monotonic()
        with pytest.raises(ld.AcquisitionFailed, match="the detector: its cooling has failed"):
            run.wait(timeout=20)
        assert time.monotonic() - began < 5
    assert run.record().counts()["present"] > 0


class Warmed(Simulator):
    """A simulated camera whose beam is known when it is armed."""

    def as_armed(self, info: DetectorInfo) -> DetectorInfo:
        return info.replace(wavelength=2.0)

    def prepare(self, share: HardwareParameters, endpoints: tuple[str, ...]) -> HardwareParameters:
        took = super().prepare(share, endpoints)
        return took.replace(series="41", settings={"cooling": {"level": 3}})


def test_what_it_says_when_it_is_armed_is_kept(client: Client) -> None:
    with acquisition(client, Warmed(shape=(32, 32))) as run:
        run.prepare()
        hardware = run.parameters.hardware
        run.start()
        run.wait(timeout=20)
    assert hardware is not None
    assert (hardware.series, hardware.settings) == ("41", {"cooling": {"level": 3}})
