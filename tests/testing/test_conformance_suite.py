"""The suite for detector plugins is red where a plugin is wrong."""

from __future__ import annotations

import fractions
import socket
import threading
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

import limadask as ld
from limadask.detector import Detector
from limadask.testing import DetectorConformance, Leftovers
from limadask_detectors import Simulator
from limadask_detectors.simulator.receiver import SimulatorReceiver


class Camera(Simulator):
    """A camera with something wrong with it."""

    wrong: ClassVar[type[SimulatorReceiver]] = SimulatorReceiver
    """What its receivers are."""

    def receiver(self, index: int, count: int) -> SimulatorReceiver:
        right = super().receiver(index, count)
        right.__class__ = self.wrong
        return right


class Skips(SimulatorReceiver):
    def take(self, timeout: float) -> Any:
        item = super().take(timeout)
        if isinstance(item, ld.Frame) and item.index == 3:
            item.index = 4
        return item


class Garbles(SimulatorReceiver):
    def take(self, timeout: float) -> Any:
        pixels = self.given[0] if self.given else None
        item = super().take(timeout)
        if isinstance(item, ld.Frame) and item.index == 5 and pixels is not None:
            pixels[0, 0, 0] ^= 1
        return item


class NeverStops(SimulatorReceiver):
    def stop(self, abort: bool) -> None:
        """Go on."""


class Leaves(SimulatorReceiver):
    left: ClassVar[list[Any]] = []

    def open(self) -> str:
        self.left.append(socket.create_server(("127.0.0.1", 0)))
        return super().open()


class Raises(SimulatorReceiver):
    def take(self, timeout: float) -> Any:
        raise RuntimeError("the cable is loose")


class Rounded(Camera):
    def prepare(self, share: Any, endpoints: tuple[str, ...]) -> Any:
        return super().prepare(share, endpoints).replace(flip="both", expo_time=1e9)

    def capabilities(self) -> ld.Capabilities:
        return super().capabilities().replace(expo_time_range=(0, 1.0), flip=False)


class Foreign(Camera):
    ratio: fractions.Fraction = fractions.Fraction(1)
    """Something of another package."""


def suite(wrong: Any, kind: type[Camera] = Camera) -> DetectorConformance:
    class Conformance(DetectorConformance):
        bound, stop_latency, nb_frames = 2.0, 0.2, 8

        def detector(self) -> Detector:
            return kind(shape=(16, 12))

        def image(self, detector: Any, number: int) -> Any:
            return detector.frame(number).values

    kind.wrong = wrong
    return Conformance()


@pytest.mark.parametrize(
    ("wrong", "test"),
    [
        (Skips, lambda one: one.test_every_frame_comes_once_and_in_order()),
        (Garbles, lambda one: one.test_every_frame_comes_once_and_in_order()),
        (Raises, lambda one: one.test_every_frame_comes_once_and_in_order()),
        (NeverStops, lambda one: one.test_a_stop_takes_effect_soon(abort=False)),
    ],
    ids=["skips", "garbles", "raises", "never stops"],
)
def test_a_wrong_receiver_is_found(wrong: Any, test: Callable[[Any], object]) -> None:
    with pytest.raises(AssertionError):
        test(suite(wrong))
    test(suite(SimulatorReceiver))


def test_what_is_left_behind_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("limadask.testing.leftovers.PATIENCE", 0.2)
    try:
        with pytest.raises(AssertionError, match="socket"):
            suite(Leaves).test_it_can_be_closed_at_any_time_and_leaves_nothing("open")
    finally:
        for one in Leaves.left:
            one.close()
        Leaves.left.clear()


def test_what_it_took_and_cannot_is_found() -> None:
    with pytest.raises(AssertionError):
        suite(SimulatorReceiver, Rounded).test_what_it_took_is_what_it_can()


def test_a_foreign_type_is_found() -> None:
    with pytest.raises(AssertionError, match="fractions"):
        suite(SimulatorReceiver, Foreign).test_no_foreign_type_is_in_its_fields()


def test_leftovers_name_threads_and_files(tmp_path: Any) -> None:
    before, go = Leftovers(), threading.Event()
    thread = threading.Thread(target=go.wait, name="mine")
    thread.start()
    try:
        with open(tmp_path / "held", "w"):
            left = _soon(before)
        assert any("mine" in one for one in left)
        assert any("held" in one for one in left)
    finally:
        go.set()
        thread.join()
    assert before.found() == set()


def _soon(before: Leftovers) -> set[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("limadask.testing.leftovers.PATIENCE", 0.1)
        return before.found()
