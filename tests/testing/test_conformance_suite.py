"""The suite for detector plugins is red where a plugin is wrong."""

from __future__ import annotations

import fractions
import socket
import threading
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
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


class Blocks(SimulatorReceiver):
    """Waits for a frame for as long as it takes."""

    def take(self, timeout: float) -> Any:
        return super().take(10.0)


class FillsAnyBuffer(SimulatorReceiver):
    def take(self, timeout: float) -> Any:
        self.given.rotate(1)
        return super().take(timeout)


class LendsTheGiven(SimulatorReceiver):
    def take(self, timeout: float) -> Any:
        buffer = self.given[0]
        item = super().take(timeout)
        if isinstance(item, ld.Frame):
            item.lent = buffer
        return item


class LendsOther(SimulatorReceiver):
    """Pixels of a type that it has not told of."""

    def take(self, timeout: float) -> Any:
        item = super().take(timeout)
        if isinstance(item, ld.Frame):
            item.lent = np.zeros((1, 16, 12), np.float32)
        return item


class PacksBadly(SimulatorReceiver):
    """Chunks whose last byte is missing."""

    def take(self, timeout: float) -> Any:
        item = super().take(timeout)
        if isinstance(item, ld.Frame):
            item.chunks = [bytes(one)[:-1] for one in item.chunks]
        return item


class PacksOneBandMore(SimulatorReceiver):
    def take(self, timeout: float) -> Any:
        item = super().take(timeout)
        if isinstance(item, ld.Frame):
            item.chunks = [*item.chunks, item.chunks[0]]
        return item


class BoundToItsThread(SimulatorReceiver):
    """Resources that only the thread may use that made them."""

    def open(self) -> str:
        self.maker = threading.current_thread()
        return super().open()

    def close(self) -> None:
        if threading.current_thread() != self.maker:
            raise RuntimeError("another thread has made this")
        super().close()


class Vague(Camera):
    def fault(self) -> Any:
        return None


class Undecided(Camera):
    def is_over(self) -> Any:
        return "maybe"


class Broken(Camera):
    def fault(self) -> str:
        return "it is broken"


class Ponders(Camera):
    gate: ClassVar[threading.Event]

    def fault(self) -> str:
        self.gate.wait(10)
        return ""


class Panics(Camera):
    def stop(self, abort: bool) -> None:
        raise KeyError("series")


class HangsWhenStopped(Camera):
    gate: ClassVar[threading.Event] = threading.Event()

    def stop(self, abort: bool) -> None:
        self.gate.wait(10)


class Rounded(Camera):
    def prepare(self, share: Any, endpoints: tuple[str, ...]) -> Any:
        return super().prepare(share, endpoints).replace(flip="both", expo_time=1e9)

    def capabilities(self) -> ld.Capabilities:
        return super().capabilities().replace(expo_time_range=(0, 1.0), flip=False)


class Foreign(Camera):
    ratio: fractions.Fraction = fractions.Fraction(1)
    """Something of another package."""


def suite(
    wrong: Any, kind: type[Camera] = Camera, at_most: float = 0.2, **fields: Any
) -> DetectorConformance:
    class Conformance(DetectorConformance):
        bound, stop_latency, nb_frames, at_once = 2.0, at_most, 8, at_most

        def detector(self) -> Detector:
            return kind(shape=(16, 12), **fields)

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


@pytest.mark.parametrize(
    ("wrong", "fields", "words"),
    [
        (FillsAnyBuffer, {}, "not the first given buffer"),
        (LendsTheGiven, {"buffers": "fill"}, "given buffer was lent"),
        (LendsOther, {"buffers": "lend"}, "float32"),
        (PacksBadly, {"compression": "bshuf_lz4"}, "no bshuf_lz4 of 16×12"),
        (PacksOneBandMore, {"compression": "bshuf_lz4"}, "assert 2 == 1"),
        (Blocks, {"expo_time": 1.0}, "take.0.1. took"),
    ],
)
def test_a_frame_that_is_not_handed_over_well_is_found(
    wrong: Any, fields: dict[str, Any], words: str
) -> None:
    fields = dict(fields)
    expo_time = fields.pop("expo_time", 1e-3)
    tested = suite(wrong, **fields)
    type(tested).expo_time = expo_time
    with pytest.raises(AssertionError, match=words):
        tested.test_a_frame_is_in_the_given_buffer_or_lent_or_compressed()
    sound = suite(SimulatorReceiver, **fields)
    sound.test_a_frame_is_in_the_given_buffer_or_lent_or_compressed()


@pytest.mark.parametrize(
    ("kind", "words"),
    [(Vague, r"fault\(\) is None before all"), (Undecided, r"is_over\(\) is 'maybe'"),
     (Broken, "it is broken"), (Ponders, "Ponders.fault has not returned within 0.2 s")],
)  # fmt: skip
def test_what_does_not_say_at_once_whether_it_can_go_on_is_found(
    kind: type[Camera], words: str
) -> None:
    Ponders.gate = threading.Event()
    try:
        with pytest.raises(AssertionError, match=words):
            suite(SimulatorReceiver, kind).test_it_says_at_once_whether_it_can_go_on()
    finally:
        Ponders.gate.set()


def test_a_detector_that_says_why_it_cannot_go_on_is_not_waited_for() -> None:
    with pytest.raises(AssertionError, match="the detector: it is broken"):
        suite(SimulatorReceiver, Broken).test_every_frame_comes_once_and_in_order()


def test_a_stop_at_an_odd_moment_that_raises_or_hangs_is_found() -> None:
    with pytest.raises(KeyError):
        suite(SimulatorReceiver, Panics).test_what_is_not_prepared_refuses_or_does_nothing("stop")
    hangs = suite(SimulatorReceiver, HangsWhenStopped)
    try:
        with pytest.raises(AssertionError, match="has not returned within"):
            hangs.test_it_can_be_stopped_before_it_starts_and_runs_again(abort=False)
    finally:
        HangsWhenStopped.gate.set()


def test_what_is_bound_to_a_thread_is_found() -> None:
    with pytest.raises(RuntimeError, match="another thread"):
        suite(BoundToItsThread).test_each_call_may_come_from_another_thread()


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
