"""StreamZmq: what others read of it, who listens late, slowly, or not at all."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import cbor2
import numpy as np
import pytest
import zmq
from harness import DETECTOR
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import decompress
from strategies import block, dtypes, seeds, shapes

from limadask.errors import ConfigError, SaveError
from limadask.frames import NEVER, Frames, Packed, Spec
from limadask.geometry import Grid
from limadask.storage import encoder
from limadask.task import Place
from limadask_detectors.dectris import stream2
from limadask_tasks import StreamZmq
from limadask_tasks.stream2_messages import Messages, dumps

TYPES = {
    64: "u1", 69: "<u2", 70: "<u4", 71: "<u8", 72: "i1", 77: "<i2", 78: "<i4", 79: "<i8",
    85: "<f4", 86: "<f8",
}  # fmt: skip
SPEC = Spec(Grid((20, 30)), np.dtype("u2"), ("threshold_1", "threshold_2"), 6)
HARDWARE = {"expo_time": 0.25, "latency_time": 0.05, "series": "17"}
ABOUT = {"detector": DETECTOR, "parameters": {"hardware": HARDWARE}}
BOUND = 20.0


def decoded(*given: Any) -> Any:
    """What a tag of the stream means, as its documentation says."""
    tag = next(one for one in given if isinstance(one, cbor2.CBORTag))  # cbor2 < 6 gives it last
    if tag.tag == 40:
        shape, pixels = tag.value
        return pixels.reshape(tuple(shape))
    if tag.tag in TYPES:
        return np.frombuffer(tag.value, TYPES[tag.tag])
    if tag.tag == 56500:
        algorithm, size, payload = tag.value
        return decompress(bytes(payload), algorithm, elem_size=size)
    return tag


def read(message: bytes) -> dict[str, Any]:
    """A message as cbor2 reads it."""
    found = cbor2.loads(message, tag_hook=decoded)
    fields = found.value if isinstance(found, cbor2.CBORTag) else found
    return {key: list(one) if isinstance(one, tuple) else one for key, one in fields.items()}


def port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def listener(*addresses: str, room: int = 1000) -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context, context.socket(zmq.PULL) as pull:
        pull.linger, pull.rcvhwm, pull.rcvtimeo = 0, room, int(BOUND * 1000)
        for address in addresses:
            pull.connect(address)
        yield pull


def stream(**fields: Any) -> StreamZmq:
    return StreamZmq(**{"address": f"tcp://127.0.0.1:{port()}", **fields})


def place(rank: int = 0, ranks: int = 1) -> Place:
    return Place("stream", "uuid", rank, ranks, about=ABOUT)


def packed(pixels: Any, codec: Any) -> Packed:
    chunks = [bytes(encoder(codec)(band)) for frame in pixels for band in frame]
    sizes = np.array(list(map(len, chunks))).reshape(pixels.shape[:2])
    offsets = (np.cumsum(sizes) - sizes.ravel()).reshape(sizes.shape)
    data = np.frombuffer(b"".join(chunks), np.uint8)
    return Packed(data, offsets, sizes, codec, pixels.shape[2:], pixels.dtype)


@given(
    shape=shapes(), dtype=dtypes, seed=seeds, bands=st.sampled_from([("0",), ("a", "b")]),
    compression=st.sampled_from(["bslz4", "none"]),
)  # fmt: skip
@settings(max_examples=30)
def test_others_read_the_pixels_of_each_image(
    shape: tuple[int, int], dtype: str, seed: int, bands: tuple[str, ...], compression: Any
) -> None:
    spec = Spec(Grid(shape), np.dtype(dtype), bands)
    frames = block(seed, spec, 2, first=40)
    messages = Messages(spec, "uuid", ABOUT)
    codec: Any = "bshuf_lz4" if compression == "bslz4" else "none"
    for at in range(2):
        chunks = [encoder(codec)(band) for band in frames.pixels[at]]
        raw = messages.image(40 + at, int(frames.timestamps[at]), chunks, codec)
        found = read(raw)
        assert (found["type"], found["image_id"], found["series_id"]) == ("image", 40 + at, 17)
        assert list(found["data"]) == list(bands)
        for band, image in zip(bands, frames.pixels[at], strict=True):
            pixels = found["data"][band]
            if compression == "bslz4":
                assert pixels.dtype == spec.dtype
            np.testing.assert_array_equal(pixels, image)
        ours = stream2.image(stream2.identify([raw]))  # the detector plugin reads it as well
        assert ours.timestamp == frames.timestamps[at]
        assert ours.times[2] == 0.25
        assert {one.codec for one in ours.channels.values()} == {codec}


plain = st.recursive(
    st.none().map(lambda _: True) | st.booleans() | st.integers(-(2**64), 2**64 - 1)
    | st.floats(allow_nan=False) | st.text() | st.binary(max_size=300),
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(st.text(), inner, max_size=30),
    max_leaves=20,
)  # fmt: skip


@given(plain)
def test_others_read_any_value(value: Any) -> None:
    assert cbor2.loads(dumps(value)) == value


def test_a_series_has_start_images_and_end() -> None:
    task = stream(queue=100)
    writer = task.open(SPEC, place())
    frames = block(1, SPEC, 6)
    frames.timestamps[:] = np.arange(6) * 300_000_000 + 1_700_000_000_123_456_789
    with listener(task.address) as pull:
        assert writer.write([writer.encode(frames[:3]), writer.encode(frames[3:])]) is None
        writer.close()
        found = [read(pull.recv()) for _ in range(8)]
    assert [one["type"] for one in found] == ["start", *["image"] * 6, "end"]
    assert {(one["series_id"], one["series_unique_id"]) for one in found} == {(17, "uuid")}
    start = found[0]
    told = {
        "number_of_images": 6, "image_size_x": 30, "image_size_y": 20, "image_dtype": "uint16",
        "channels": ["threshold_1", "threshold_2"], "count_time": 0.25, "frame_time": 0.3,
        "detector_description": "test camera", "detector_serial_number": "42",
        "beam_center_x": 15.0, "beam_center_y": 10.0, "pixel_size_y": 75e-6, "pixel_size_x": 80e-6,
        "saturation_value": 60000, "sensor_material": "Si", "incident_wavelength": 1.0,
    }  # fmt: skip
    assert {name: start[name] for name in told} == told
    assert start["incident_energy"] == pytest.approx(12398.42, abs=0.01)
    assert isinstance(start["arm_date"], datetime)
    for number, one in enumerate(found[1:-1]):
        assert one["image_id"] == number
        np.testing.assert_array_equal(one["data"]["threshold_2"], frames.pixels[number, 1])
        begin, ticks = one["start_time"]
        seconds = one["series_date"].timestamp() + begin / ticks
        assert seconds == pytest.approx(frames.timestamps[number] / 1e9, abs=1e-6)
        assert one["stop_time"] == [begin + ticks // 4, ticks]


def test_masked_pixels_stand_in_the_start() -> None:
    masked = np.zeros((20, 30), bool)
    masked[3, 4:9] = True
    start = read(Messages(SPEC.replace(masked=masked), "uuid", ABOUT).start())
    for band in SPEC.bands:
        np.testing.assert_array_equal(start["pixel_mask"][band], masked)


def test_a_frame_whose_time_nobody_knows() -> None:
    found = read(Messages(SPEC, "uuid", {}).image(3, NEVER, [bytes(1200)] * 2, "none"))
    assert "series_date" not in found
    assert found["start_time"] == [0, 1_000_000_000]


@pytest.mark.parametrize(("compression", "codec"), [("bslz4", "bshuf_lz4"), ("none", "none")])
def test_chunks_of_the_detector_are_sent_as_they_are(compression: Any, codec: str) -> None:
    task = stream(compression=compression)
    writer = task.open(SPEC, place())
    assert writer.codec == codec
    pixels = block(3, SPEC, 2).pixels
    frames = Frames.of(pixels)
    frames.packed, frames.pixels = packed(pixels, codec), pixels[:0]
    chunks = [bytes(one) for one in frames.packed.chunks()]
    with listener(task.address) as pull:
        writer.write([writer.encode(frames)])
        raw = [pull.recv() for _ in range(3)][1:]
        writer.close()
    for at, one in enumerate(raw):
        assert all(chunk in one for chunk in chunks[2 * at : 2 * at + 2])
        np.testing.assert_array_equal(read(one)["data"]["threshold_1"], pixels[at, 0])


def test_workers_send_from_a_port_each() -> None:
    while True:  # two neighbours that are free
        task = stream()
        try:
            writers = [task.open(SPEC, place(rank, 2)) for rank in range(2)]
            break
        except ConfigError:
            continue
    with listener(task.address_of(0), task.address_of(1)) as pull:
        for rank, writer in enumerate(writers):
            writer.write([writer.encode(block(rank, SPEC, 1, first=rank))])
            writer.close()
        found = [read(pull.recv()) for _ in range(6)]
    assert sorted(one["type"] for one in found) == ["end"] * 2 + ["image"] * 2 + ["start"] * 2
    assert sorted(one["image_id"] for one in found if one["type"] == "image") == [0, 1]


def test_nobody_listens_and_frames_are_dropped_or_named() -> None:
    frames = block(1, SPEC, 4)
    dropping = stream(when_slow="drop").open(SPEC, place())
    assert dropping.write([dropping.encode(frames)]) == {"dropped": [0, 1, 2, 3]}
    dropping.close()
    task = stream(when_slow="wait", patience=0.2)
    waiting = task.open(SPEC, place())
    for least, most in ((0.2, 10.0), (0.0, 0.15)):  # it waits once only
        began = time.monotonic()
        with pytest.raises(SaveError, match="nobody has listened") as caught:
            waiting.write([waiting.encode(frames)])
        assert least <= time.monotonic() - began < most
        assert caught.value.numbers == (0, 1, 2, 3)
        assert task.address in str(caught.value)
    with listener(task.address) as pull:  # who comes late gets what follows
        deadline = time.monotonic() + BOUND
        while True:
            try:
                waiting.write([waiting.encode(frames[3:])])
                break
            except SaveError:
                assert time.monotonic() < deadline
        assert [read(pull.recv())["type"] for _ in range(2)] == ["start", "image"]
        waiting.close()


def test_a_slow_listener_gets_whole_frames_and_the_others_are_named() -> None:
    spec = Spec(Grid((512, 512)), np.dtype("u2"))
    task = stream(when_slow="wait", patience=0.3, queue=2, compression="none")
    writer, lost = task.open(spec, place()), set[int]()
    with listener(task.address, room=1) as pull:
        for number in range(60):  # far more than sockets can hold
            try:
                writer.write([writer.encode(block(number, spec, 1, first=number))])
            except SaveError as error:
                lost.update(error.numbers)
        assert lost
        got = [read(pull.recv())]
        while (message := read(pull.recv()))["type"] != "end" and len(got) <= 60 - len(lost):
            got.append(message)
            if len(got) == 5:
                writer.close()
    numbers = {one["image_id"] for one in got if one["type"] == "image"}
    assert numbers | lost == set(range(60))
    assert not numbers & lost
    for one in got[1:4]:
        expected = block(one["image_id"], spec, 1).pixels[0, 0]
        np.testing.assert_array_equal(one["data"]["0"], expected)


def test_a_port_that_is_taken_and_addresses_that_are_none() -> None:
    task = stream()
    writer = task.open(SPEC, place())
    with pytest.raises(ConfigError, match="cannot be taken") as caught:
        task.open(SPEC, place())
    assert caught.value.field == "address"
    writer.close()
    for address in ("ipc:///tmp/x", "tcp://host", "tcp://host:0", "tcp://host:70000", "host:1"):
        with pytest.raises(ConfigError, match="no address") as caught:
            StreamZmq(address=address)
        assert caught.value.value == address


def test_without_its_package_it_says_which_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zmq", None)
    with pytest.raises(ConfigError, match=r"limadask\[dectris\]"):
        stream().open(SPEC, place())
