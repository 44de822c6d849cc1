"""Messages of stream 2 are read, or refused."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import cbor2
import numpy as np
import pytest
from cbor2 import CBORTag
from hypothesis import given
from hypothesis import strategies as st
from oracle import decompress

from limadask_benchmarks.receive.images import Compression, Images, compressed
from limadask_benchmarks.receive.stream2 import Stream2
from limadask_detectors.dectris.message import Image, UnsupportedError
from limadask_detectors.dectris.stream2 import identify, image

SHAPE = (3, 20)
PIXELS = np.arange(60, dtype="<u2").reshape(SHAPE)
TYPED = {
    "u1": 64, ">u2": 65, ">u4": 66, ">u8": 67, "<u2": 69, "<u4": 70, "<u8": 71, "i1": 72,
    ">i2": 73, ">i4": 74, ">i8": 75, "<i2": 77, "<i4": 78, "<i8": 79, ">f2": 80, ">f4": 81,
    ">f8": 82, "<f2": 84, "<f4": 85, "<f8": 86,
}  # fmt: skip


def array(content: Any = None, typed: int = 69, order: int = 40, shape: Any = SHAPE) -> CBORTag:
    content = PIXELS.tobytes() if content is None else content
    sizes = list(shape) if isinstance(shape, tuple) else shape
    return CBORTag(order, [sizes, CBORTag(typed, content)])


def message(**fields: Any) -> bytes:
    """An image, with some fields otherwise."""
    whole = {
        "type": "image", "series_id": 4, "series_unique_id": "x", "image_id": 5,
        "series_date": datetime(2026, 1, 1, tzinfo=UTC), "real_time": [900_000, 50_000_000],
        "start_time": [1_000_000, 50_000_000], "stop_time": [1_900_000, 50_000_000],
        "data": {"threshold_1": array()}, **fields,
    }  # fmt: skip
    kept = {name: value for name, value in whole.items() if value is not ...}
    return cbor2.dumps(CBORTag(55799, kept))


def read(**fields: Any) -> Image:
    return image(identify([message(**fields)]))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "float32"])
@pytest.mark.parametrize("compression", ["bslz4", "lz4", "none"])
def test_images_are_as_they_were_sent(dtype: str, compression: Compression) -> None:
    images = Images((30, 50), dtype, ("threshold_1", "threshold_2"), compression=compression)
    sent = bytes(Stream2(images).image(9, 300)[0])
    told = identify([sent])
    assert (told.kind, told.series, told.number) == ("image", 9, 300)
    found = image(told)
    for (name, channel), band in zip(found.channels.items(), images.pixels(300), strict=True):
        assert name in images.bands
        assert (channel.shape, channel.dtype) == ((30, 50), np.dtype(dtype))
        assert isinstance(channel.chunk, memoryview)
        assert channel.chunk.obj is sent
        raw = bytes(channel.chunk)
        if compression != "none":
            raw = decompress(raw, compression, elem_size=np.dtype(dtype).itemsize)
        np.testing.assert_array_equal(np.frombuffer(raw, dtype).reshape(30, 50), band)
    assert found.times == pytest.approx((6.0, 6.018, 0.018))
    assert found.timestamp == 1_767_265_200_000_000_000 + 6_000_000_000


@pytest.mark.parametrize(("order", "name"), [(40, "C"), (1040, "F")])
@pytest.mark.parametrize("dtype", TYPED)
def test_all_types_and_orders_of_pixels(dtype: str, order: int, name: Any) -> None:
    pixels = PIXELS.astype(dtype)
    found = read(data={"a": array(pixels.tobytes(name), TYPED[dtype], order)}).channels["a"]
    assert (found.codec, found.shape) == ("none", SHAPE)
    assert found.dtype == np.dtype(dtype).newbyteorder("=")
    chunk = np.frombuffer(found.chunk, np.dtype(dtype).newbyteorder("<")).reshape(SHAPE)
    np.testing.assert_array_equal(chunk, pixels)


@pytest.mark.parametrize("kind", ["start", "end"])
def test_other_messages_say_of_which_series(kind: str) -> None:
    told = identify([cbor2.dumps({"type": kind, "series_id": 12, "flatfield": bytes(100)})])
    assert (told.kind, told.series, told.number) == (kind, 12, -1)


@pytest.mark.parametrize(
    ("date", "start", "stamp"),
    [
        (CBORTag(0, "2026-01-01T00:00:00Z"), [1, 2], 1_767_225_600_500_000_000),
        (CBORTag(0, "2026-01-01T01:00:00.000001+01:00"), [0, 1], 1_767_225_600_000_001_000),
        (CBORTag(0, "2026-01-01T00:00:00.123456789Z"), [0, 1], 1_767_225_600_123_456_000),
        (CBORTag(0, "2026-01-01T00:00:00"), [0, 1], None),
        (CBORTag(0, "today"), [0, 1], None),
        (CBORTag(0, "1969-12-31T23:59:59Z"), [0, 1], None),
        (CBORTag(0, "2026-01-01T00:00:00Z"), [1, 0], None),
        (CBORTag(0, "2026-01-01T00:00:00Z"), [(1 << 64) - 1, 1], None),
        (CBORTag(0, "2026-01-01T00:00:00Z"), 7, None),
        ("2026-01-01T00:00:00Z", [0, 1], None),
        (CBORTag(64, b"2026"), [0, 1], None),
        (..., [0, 1], None),
    ],
)
def test_a_timestamp_is_the_date_of_the_series_and_the_start(
    date: Any, start: Any, stamp: int | None
) -> None:
    if isinstance(date, CBORTag) and date.tag == 0:  # cbor2 would have a date of its own
        sent = message(series_date="$", start_time=start)
        date_bytes = cbor2.dumps(date.value)
        told = identify([sent.replace(cbor2.dumps("$"), b"\xc0" + date_bytes)])
        assert image(told).timestamp == stamp
    else:
        assert read(series_date=date, start_time=start).timestamp == stamp


@pytest.mark.parametrize("times", [..., None, [1], [1, 2, 3], [1, 0], [1.0, 2], "1/2"])
def test_an_image_is_not_lost_for_its_times(times: Any) -> None:
    found = read(start_time=times, stop_time=times, real_time=times)
    assert all(math.isnan(one) for one in found.times)
    assert found.timestamp is None


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        (b"", "ends within"),
        (cbor2.dumps([1]), "a message is a list"),
        (message(type="other"), "of type 'other'"),
        (message(type=["image"]), "of type"),
        (message(type=...), "of type None"),
        (message(series_id=-1), "series_id is -1"),
        (message(image_id=...), "image_id is None"),
        (message(image_id=1.5), "image_id is 1.5"),
        (message(image_id=True), "image_id is True"),
        (message(image_id=1 << 63), "image_id is 92"),
    ],
)
def test_what_is_no_message_is_refused(sent: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        identify([sent])


def packed(algorithm: Any, size: Any, content: Any) -> CBORTag:
    return CBORTag(56500, [algorithm, size, content])


GOOD = compressed(PIXELS, "bslz4")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (array(packed("bszstd", 2, GOOD)), "compressed by 'bszstd'"),
        (array(packed("trpx", 2, GOOD)), "compressed by 'trpx'"),
        (array(packed("bslz4", 2, GOOD), typed=65), "compressed images of type >u2"),
        (array(packed("bslz4", 2, GOOD), order=1040), "F order"),
        (array(typed=83), "pixels with tag 83"),
        (array(typed=87), "pixels with tag 87"),
        (array(order=41), "with tag 41"),
        (array(CBORTag(24, b"x")), "bytes have tag 24"),
        (array(shape=(60,)), r"shape \[60\]"),
        (array(shape=(1, 3, 20)), "shape"),
        (array(shape=(3, -20)), "shape"),
        (array(shape="3x20"), "shape"),
        (PIXELS.tobytes(), "memoryview without a tag"),
        (7, "int without a tag"),
        (CBORTag(40, [[3, 20], PIXELS.tobytes()]), "without a tag"),
        (CBORTag(40, [[3, 20]]), "no dimensions"),
    ],
)
def test_what_no_image_of_a_series_can_be_is_unsupported(data: Any, says: str) -> None:
    with pytest.raises(UnsupportedError, match=says):
        read(data={"threshold_1": data})


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (array(PIXELS.tobytes()[1:]), "119 bytes are no image of 120"),
        (array(packed("bslz4", 4, GOOD)), "shuffled as 4"),
        (array(packed("bslz4", "2", GOOD)), "shuffled as '2'"),
        (array(packed("bslz4", 2, GOOD[:11])), "too few for a header"),
        (array(packed("bslz4", 2, GOOD), shape=(3, 21)), "its header tells of 120"),
        (array(packed("lz4", 0, b"\1" * 20)), "its header tells"),
        (array(packed("lz4", 0, "text")), "no string of bytes"),
    ],
)
def test_an_image_that_is_damaged_is_refused(data: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        read(data={"threshold_1": data})
    assert not isinstance(caught.value, UnsupportedError)


@pytest.mark.parametrize("data", [..., None, [array()], 7])
def test_an_image_without_data_is_refused(data: Any) -> None:
    with pytest.raises(ValueError, match="without data"):
        read(data=data)


@given(st.data())
def test_a_message_with_wrong_bits_is_read_or_refused(data: st.DataObject) -> None:
    content = packed("bslz4", 2, GOOD) if data.draw(st.booleans()) else PIXELS.tobytes()
    sent = bytearray(message(data={"threshold_1": array(content)}))
    for _ in range(data.draw(st.integers(1, 4))):
        sent[data.draw(st.integers(0, len(sent) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = image(identify([bytes(sent)]))
    except ValueError:
        return
    assert len(found.channels) <= 1
