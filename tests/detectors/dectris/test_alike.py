"""Images that are like the one before are read as any image is, only faster."""

from __future__ import annotations

from typing import Any

import cbor2
import numpy as np
import pytest
from cbor2 import CBORTag
from hypothesis import given
from hypothesis import strategies as st

from limadask_benchmarks.receive.images import compressed
from limadask_detectors.dectris import alike, stream2
from limadask_detectors.dectris.alike import Alike

PIXELS = np.arange(60, dtype="<u2").reshape(3, 20)
PAYLOADS = {name: compressed(PIXELS, name) for name in ("bslz4", "lz4", "none")}  # type: ignore[arg-type]
TICKS = st.integers(0, (1 << 64) - 1)


def message(number: int = 0, ticks: int = 0, **fields: Any) -> bytes:
    """An image with two bands."""
    content = CBORTag(56500, ["bslz4", 2, PAYLOADS["bslz4"]])
    array = CBORTag(40, [[3, 20], CBORTag(69, content)])
    whole = {
        "type": "image", "series_id": 300, "series_unique_id": "x", "image_id": number,
        "real_time": [ticks, 1000], "series_date": "$", "start_time": [ticks, 1000],
        "stop_time": [ticks, 1000], "data": {"a": array, "b": array}, **fields,
    }  # fmt: skip
    date = b"\xc0" + cbor2.dumps("2026-01-01T00:00:00Z")
    return cbor2.dumps(CBORTag(55799, whole)).replace(cbor2.dumps("$"), date)


def outcome(reader: Any, sent: bytes) -> Any:
    """What is read of a message; None where it is refused."""
    try:
        told = reader.identify([sent])
        if told.kind != "image":
            return told
        image = reader.image(told)
    except ValueError:
        return None
    channels = {
        name: (one.shape, one.dtype, one.codec, bytes(one.chunk))
        for name, one in image.channels.items()
    }
    return told.series, told.number, repr(image.times), image.timestamp, channels


def taught(*sent: bytes) -> Alike:
    """A reader that has read images."""
    reader = Alike()
    for one in sent:
        assert outcome(reader, one) is not None
    return reader


def fails(*_: object) -> None:
    raise AssertionError("read value by value")


@given(st.integers(0, (1 << 63) - 1), TICKS)
def test_numbers_of_all_sizes_are_read(number: int, ticks: int) -> None:
    reader = taught(message())
    sent = message(number, ticks)
    assert outcome(reader, sent) == outcome(stream2, sent)
    assert outcome(reader, sent)[1] == number


@pytest.mark.parametrize("codec", ["bslz4", "lz4", "none"])
def test_only_the_first_image_is_read_value_by_value(
    codec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sent(number: int, value: int) -> bytes:
        pixels = np.full((3, 20), value, "<u2")
        payload: Any = compressed(pixels, codec)  # type: ignore[arg-type]
        if codec != "none":
            payload = CBORTag(56500, [codec, 2, payload])
        return message(number, 70000, data={"a": CBORTag(40, [[3, 20], CBORTag(69, payload)])})

    reader = taught(sent(0, 1))
    expected = outcome(stream2, sent(1000, 999))
    assert expected is not None
    monkeypatch.setattr(stream2, "identify", fails)
    assert outcome(reader, sent(1000, 999)) == expected


@pytest.mark.parametrize(
    "fields",
    [
        {"series_id": 301},
        {"series_unique_id": "y"},
        {"start_time": 7},
        {"start_time": [1, 0]},
        {"real_time": {1: 2}},
        {"image_id": 1 << 63},
        {"image_id": -1},
        {"user_data": {"x": [1, b"2", 3]}},
        {"data": {}},
        {"data": {"a": CBORTag(40, [[3, 20], CBORTag(69, PAYLOADS["none"])])}},
        {"data": {"a": CBORTag(40, [[3, 20], CBORTag(65, PAYLOADS["none"])])}},
        {"data": {"a": CBORTag(1040, [[3, 20], CBORTag(69, PAYLOADS["none"])])}},
        {"data": {"a": CBORTag(40, [[3, 20], CBORTag(69, b"1234")])}},
        {"data": {"a": CBORTag(40, [[3, 20], CBORTag(69, CBORTag(56500, ["lz4", 0, b"x"]))])}},
        {"type": "end"},
    ],
)
def test_images_that_are_not_like_it_are_read_all_the_same(fields: Any) -> None:
    other = message(**fields)
    expected = outcome(stream2, other)
    reader = taught(message())
    assert outcome(reader, other) == expected
    assert outcome(reader, message(5)) == outcome(stream2, message(5))
    unlike = Alike()
    for _ in range(3):
        assert outcome(unlike, other) == expected
        assert outcome(unlike, message(5)) == outcome(stream2, message(5))


@given(st.data())
def test_wrong_bits_have_the_same_outcome(data: st.DataObject) -> None:
    sent = bytearray(message(data.draw(st.sampled_from([3, 300, 70000]))))
    for _ in range(data.draw(st.integers(1, 3))):
        sent[data.draw(st.integers(0, len(sent) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    reader = taught(message())
    assert outcome(reader, bytes(sent)) == outcome(stream2, bytes(sent))


def test_no_beginning_of_an_image_and_no_more_is_taken_for_one() -> None:
    reader, whole = taught(message()), message(5)
    for sent in (*(whole[:size] for size in range(len(whole))), whole + b"\0"):
        assert outcome(reader, sent) is None


def test_where_no_image_is_like_another_it_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = taught(*(message(one, user_data=str(one)) for one in range(alike.ATTEMPTS)))
    monkeypatch.setattr(alike, "Layout", fails)
    for one in range(3):
        sent = message(one, user_data=f"more {one}")
        assert outcome(reader, sent) == outcome(stream2, sent)
