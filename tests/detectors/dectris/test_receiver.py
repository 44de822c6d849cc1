"""Receivers of DECTRIS streams over real sockets: what comes, and what goes wrong."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any

import numpy as np
import psutil
import pytest
from pulling import (
    BOUND,
    Stream,
    first,
    hardware,
    lost,
    numbers,
    order,
    pixels,
    receiver,
    taken,
    wait_until,
)

from limadask.detector import End, Frame
from limadask.errors import ConfigError
from limadask.testing import Leftovers
from limadask_benchmarks.receive.images import Images
from limadask_benchmarks.receive.program import Program
from limadask_benchmarks.receive.sender import Sender
from limadask_detectors.dectris.message import UnsupportedError
from limadask_detectors.dectris.receiver import DectrisReceiver

TWO = Images((48, 64), bands=("threshold_1", "threshold_2"))
ONE = Images((48, 64))


@pytest.fixture
def sender() -> Iterator[Sender]:
    """A detector with two thresholds on stream 2."""
    made = Sender("stream2", TWO)
    yield made
    made.close()


@pytest.mark.parametrize("compression", ["bslz4", "lz4", "none"])
@pytest.mark.parametrize("stream", ["v1", "stream2"])
def test_all_images_come_as_they_were_sent(stream: Stream, compression: Any) -> None:
    images = Images((48, 64), compression=compression)
    sender = Sender(stream, images)
    try:
        with receiver(sender, stream=stream) as pulling:
            sender.send(order())
            frames = taken(pulling)
            assert [pulling.take(0.0), pulling.take(1.0)] == [End(), End()]
    finally:
        sender.close()
    assert numbers(frames) == list(range(10))
    for frame in frames:
        assert isinstance(frame, Frame)
        np.testing.assert_array_equal(pixels(frame, images), images.pixels(frame.index))
        start = frame.index * 0.02
        assert frame.values == pytest.approx((start, start + 0.018, 0.018))
        assert (frame.timestamp is None) == (stream == "v1")


def test_bands_come_in_the_order_that_was_armed(sender: Sender) -> None:
    with receiver(sender, bands=TWO.bands[::-1]) as pulling:
        sender.send(order())
        frame = first(pulling)
    assert isinstance(frame, Frame)
    np.testing.assert_array_equal(pixels(frame, TWO), TWO.pixels(0)[::-1])


def test_pixels_are_not_copied_and_go_when_they_are_released(sender: Sender) -> None:
    with receiver(sender) as pulling:
        sender.send(order())
        frame = first(pulling)
        assert isinstance(frame, Frame)
        assert frame.release is not None
        (message,) = {id(one.obj) for one in frame.chunks if isinstance(one, memoryview)}
        assert message
        frame.release()
        assert len(frame.chunks) == 0


@pytest.mark.parametrize("stream", ["v1", "stream2"])
def test_lost_double_and_late_images_come_as_they_are(stream: Stream) -> None:
    sender = Sender(stream, ONE)
    try:
        with receiver(sender, stream=stream) as pulling:
            sender.send(order(lose=[0, 4], duplicate=[2], late=[6]))
            frames = taken(pulling)
    finally:
        sender.close()
    assert numbers(frames) == [1, 2, 2, 3, 5, 7, 6, 8, 9]
    assert lost(frames) == []


@pytest.mark.parametrize("stream", ["v1", "stream2"])
def test_damaged_images_and_such_of_another_shape_are_lost(
    stream: Stream, caplog: pytest.LogCaptureFixture
) -> None:
    sender = Sender(stream, ONE)
    try:
        with receiver(sender, stream=stream) as pulling:
            sender.send(order(corrupt=[0, 3], misshape=[5, 7]))
            frames = taken(pulling)
    finally:
        sender.close()
    assert numbers(frames) == [1, 2, 4, 6, 8, 9]
    assert lost(frames) == [0, 3, 5, 7]
    assert pulling.unreadable == 4
    assert [one.levelno for one in caplog.records] == [logging.WARNING]
    assert "image 0 of series 1" in caplog.text


@pytest.mark.parametrize(
    ("armed", "says"),
    [
        ({"shape": (64, 48)}, "48×64 uint16.* 64×48 uint16 in 2 bands"),
        ({"dtype": "uint32"}, "48×64 uint16.* 48×64 uint32 in 2 bands"),
        ({"bands": ("threshold_1",)}, "2 bands.* 1 band threshold_1"),
        ({"bands": ("threshold_1", "difference")}, "threshold_1, threshold_2.* difference"),
    ],
)
def test_a_first_image_of_another_format_ends_the_run(
    sender: Sender, armed: Any, says: str
) -> None:
    with receiver(sender, **armed) as pulling:
        sender.send(order())
        with pytest.raises(UnsupportedError, match=says):
            pulling.take(BOUND)


def test_each_image_says_how_it_is_compressed(sender: Sender) -> None:
    plain = Sender("stream2", Images((48, 64), bands=TWO.bands, compression="none"))
    parts = plain.image(order(), 3)
    plain.close()
    with receiver(sender) as pulling:
        sender.send(order(frames=3, end=False))
        sender.send_parts(parts)
        frames = [first(pulling) for _ in range(4)]
    codecs = [frame.codec for frame in frames if isinstance(frame, Frame)]
    assert codecs == ["bshuf_lz4"] * 3 + ["none"]


def test_what_is_no_message_is_left_out(sender: Sender, caplog: pytest.LogCaptureFixture) -> None:
    with receiver(sender) as pulling:
        sender.wait_for(1)
        for parts in ([b""], [b"\xff" * 100], [b"{}", b"x", b"y"], [b"\xa1dtypeeimage"]):
            sender.send_parts(parts)
        sender.send(order())
        assert numbers(taken(pulling)) == list(range(10))
    assert pulling.unreadable == 6  # of stream 2 each part is one
    assert len(caplog.records) == 1


def test_images_of_older_series_are_dropped(sender: Sender) -> None:
    with receiver(sender, "3") as pulling:
        sender.send(order(series=1, frames=4))
        sender.send(order(series=2, frames=4, end=False))
        sender.send(order(series=3))
        assert numbers(taken(pulling)) == list(range(10))
    assert pulling.dropped == 6 + 5


@pytest.mark.parametrize("has_start", [True, False])
def test_a_newer_series_ends_this_one(sender: Sender, has_start: bool) -> None:
    with receiver(sender) as pulling:
        sender.send(order(end=False))
        sender.send(order(series=2, start=has_start))
        assert numbers(taken(pulling)) == list(range(10))
        assert pulling.take(0.0) == End()


@pytest.mark.parametrize("count", [1, 3])
def test_several_take_each_image_once_and_one_sees_the_end(count: int) -> None:
    sender = Sender("stream2", ONE)
    found: list[list[int]] = [[] for _ in range(count)]
    ended = []

    def pull(pulling: DectrisReceiver, index: int) -> None:
        while not isinstance(item := pulling.take(0.05), End):
            if isinstance(item, Frame):
                found[index].append(item.index)
        ended.append(index)

    with ExitStack() as stack:
        stack.callback(sender.close)
        pulling = [
            stack.enter_context(receiver(sender, index=index, count=count))
            for index in range(count)
        ]
        pool = stack.enter_context(ThreadPoolExecutor(count))
        pulls = [pool.submit(pull, one, index) for index, one in enumerate(pulling)]
        for one in pulling:
            stack.callback(one.stop, abort=True)
        sender.send(order(frames=60, peers=count))
        wait_until(lambda: sum(map(len, found)) == 60 and len(ended) == 1)
        for one in pulling:
            one.stop(abort=False)
        for each in pulls:
            each.result(BOUND)
    assert sorted(number for one in found for number in one) == list(range(60))
    assert all(one == sorted(one) and one for one in found)


def test_without_an_end_it_waits_until_it_is_stopped(sender: Sender) -> None:
    with receiver(sender) as pulling:
        sender.send(order(end=False))
        assert numbers([first(pulling) for _ in range(10)]) == list(range(10))
        assert pulling.take(0.2) is None
        pulling.stop(abort=False)
        assert taken(pulling) == []


def test_what_is_on_its_way_is_taken_after_a_stop(sender: Sender) -> None:
    with receiver(sender) as pulling:
        sender.send(order(end=False))
        assert isinstance(first(pulling), Frame)
        pulling.stop(abort=False)
        assert numbers(taken(pulling)) == list(range(1, 10))


@pytest.mark.parametrize("abort", [True, False])
def test_a_stop_takes_effect_at_once_while_it_waits(sender: Sender, abort: bool) -> None:
    with receiver(sender) as pulling, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(pulling.take, BOUND)
        sender.wait_for(1)
        began = time.monotonic()
        pulling.stop(abort)
        assert waiting.result(BOUND) == End()
        assert time.monotonic() - began < 0.5


def test_an_abort_leaves_out_what_is_there(sender: Sender) -> None:
    with receiver(sender) as pulling:
        sender.send(order())
        assert isinstance(first(pulling), Frame)
        pulling.stop(abort=True)
        assert pulling.take(BOUND) == End()


@pytest.mark.slow
def test_a_detector_that_was_killed_and_started_again_is_found() -> None:
    images = {"shape": ONE.shape}
    with Program("sender", images=images) as program:
        made = DectrisReceiver("stream2", program.greeting, 0, 1)
        made.open()
        made.arm(hardware(ONE))
        try:
            program.tell(frames=5, end=False)
            assert program.answer()["frames"] == 5
            assert numbers([first(made) for _ in range(5)]) == list(range(5))
            program.process.kill()
            program.process.wait(BOUND)
            port = int(program.greeting.rpartition(":")[2])
            with Program("sender", images=images, port=port) as again:
                again.tell(frames=9, lose=[0, 1, 2, 3, 4])
                assert again.answer()["frames"] == 4
                assert numbers(taken(made)) == [5, 6, 7, 8]
        finally:
            made.close()


def test_it_can_be_closed_at_any_time_and_leaves_nothing(sender: Sender) -> None:
    with receiver(sender) as pulling:
        sender.send(order())
        first(pulling)
    sender.wait_for(0)
    before, threads = Leftovers(), psutil.Process().num_threads()
    never = DectrisReceiver("stream2", sender.address, 0, 1)
    never.close()
    assert never.take(0.0) is None
    with receiver(sender) as pulling:
        sender.send(order())
        kept = first(pulling)
        pulling.close()
        assert pulling.take(0.0) is None
    pulling.close()
    assert isinstance(kept, Frame)
    np.testing.assert_array_equal(pixels(kept, TWO), TWO.pixels(0))  # memory outlives the socket
    wait_until(lambda: psutil.Process().num_threads() <= threads)
    assert before.found() == set()


def test_a_detector_that_is_not_there_yet_is_waited_for() -> None:
    gone = Sender("stream2", ONE)
    gone.close()
    with receiver(gone) as pulling:
        assert pulling.take(0.05) is None
        later = Sender("stream2", ONE, port=int(gone.address.rpartition(":")[2]))
        try:
            later.send(order())
            assert numbers(taken(pulling)) == list(range(10))
        finally:
            later.close()


@pytest.mark.parametrize("address", ["nowhere", "tcp://127.0.0.1:port"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    threads = psutil.Process().num_threads()
    with pytest.raises(ConfigError, match=f"no stream at {address}"):
        DectrisReceiver("stream2", address, 0, 1).open()
    wait_until(lambda: psutil.Process().num_threads() <= threads)


def test_without_pyzmq_it_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['zmq'] = None; sys.modules['cbor2'] = None\n"
        "from limadask_detectors.dectris.receiver import DectrisReceiver\n"
        "DectrisReceiver('v1', 'tcp://127.0.0.1:1', 0, 1).open()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "ConfigError" in done.stderr
    assert "install limadask[dectris]" in done.stderr


@pytest.mark.parametrize("passive", [False, True])
def test_messages_of_stream_2_that_come_as_one_are_several(passive: bool) -> None:
    """As the emulator sends a start and the first image."""
    with closing(Sender("stream2", Images((48, 64)))) as sender:
        sent = sender._messages

        def series(number: int, count: int) -> list[bytes]:
            images = [sent.image(number, one) for one in range(count)]
            messages = [sent.start(number, count), *images, sent.end(number)]
            return [bytes(part) for message in messages for part in message]

        with receiver(sender, "" if passive else "1", passive=passive) as pulling:
            sender.wait_for(1)
            sender.send_parts(series(1, 3))
            sender.send_parts(series(2, 1))
            assert numbers(taken(pulling)) == [0, 1, 2]
        if passive:
            with receiver(sender, "", passive=True) as pulling:
                assert numbers(taken(pulling)) == [0]
