"""Stream 2: messages of CBOR; all channels of an exposure are in one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import numpy as np

from limadask.frames import Codec
from limadask_detectors.dectris import cbor, chunk
from limadask_detectors.dectris.message import (
    LARGEST,
    Image,
    Message,
    Part,
    Pixels,
    UnsupportedError,
    shape_of,
    whole,
)

_COMPRESSED = 56500
_ORDERS = {40: "C", 1040: "F"}
"""Tags of arrays with several dimensions: row by row, column by column."""
_TYPES = {
    tag: np.dtype(name)
    for tag, name in {
        64: "u1", 65: ">u2", 66: ">u4", 67: ">u8", 68: "u1", 69: "<u2", 70: "<u4", 71: "<u8",
        72: "i1", 73: ">i2", 74: ">i4", 75: ">i8", 77: "<i2", 78: "<i4", 79: "<i8",
        80: ">f2", 81: ">f4", 82: ">f8", 84: "<f2", 85: "<f4", 86: "<f8",
    }.items()
}  # fmt: skip
"""Tags of typed arrays (RFC 8746)."""
TIMES = ("start_time", "stop_time", "real_time")
"""The fields with times, each in ticks and ticks a second."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def split(parts: Sequence[Part]) -> list[list[Part]]:
    """Return each part: it is a message, also where the emulator sends several as one."""
    return [[part] for part in parts]


def identify(parts: Sequence[Part]) -> Message:
    """Return whose message it is.

    Raises
    ------
    ValueError
        When it is none of this stream.
    """
    fields = cbor.loads(parts[0])
    if not isinstance(fields, dict):
        raise ValueError(f"a message is a {type(fields).__name__}, no map")
    kind = fields.get("type")
    if kind not in ("start", "image", "end"):
        raise ValueError(f"no message of stream2 is of type {kind!r:.60}")
    number = whole(fields, "image_id") if kind == "image" else -1
    return Message(kind, whole(fields, "series_id"), number, fields)


def announced(message: Message) -> int:
    """Return how many images a start tells of; 0 where it does not."""
    count = message.body.get("number_of_images")
    return count if type(count) is int and 0 < count < LARGEST else 0


def image(message: Message) -> Image:
    """Return the image in a message.

    Raises
    ------
    UnsupportedError
        When it is encoded in a way that cannot be taken.
    ValueError
        When it cannot be read.
    """
    fields = message.body
    data = fields.get("data")
    if not isinstance(data, dict):
        raise ValueError("an image without data")
    start, stop, real = (_ratio(fields.get(name)) for name in TIMES)
    channels = {str(name): _pixels(array) for name, array in data.items()}
    return Image(
        channels, (seconds(*start), seconds(*stop), seconds(*real)),
        timestamp(began(fields), *start),
    )  # fmt: skip


def began(fields: Mapping[str, Any]) -> int | None:
    """Return when the series of a message began, UTC nanoseconds, if told."""
    date = fields.get("series_date")
    if not isinstance(date, cbor.Tag) or date.number != 0 or not isinstance(date.value, str):
        return None
    return _nanoseconds(date.value)


def seconds(ticks: int, frequency: int) -> float:
    """Return a time in seconds; one that is none is not worth losing an image for."""
    return ticks / frequency if frequency else math.nan


def timestamp(began: int | None, ticks: int, frequency: int) -> int | None:
    """Return a moment after the beginning of a series, UTC nanoseconds, if both are known."""
    if began is None or not frequency:
        return None
    stamp = began + ticks * 1_000_000_000 // frequency
    return stamp if 0 <= stamp < LARGEST else None


def _pixels(array: object) -> Pixels:
    """Return the pixels in a multi-dimensional, typed array."""
    number, content = _tagged(array)
    order = _ORDERS.get(number)
    if order is None or not isinstance(content, list) or len(content) != 2:
        raise UnsupportedError(f"images with tag {number}, which have no dimensions")
    shape = shape_of(content[0])
    number, payload = _tagged(content[1])
    wire = _TYPES.get(number)
    if wire is None:
        raise UnsupportedError(f"images of pixels with tag {number}")
    if isinstance(payload, memoryview):
        codec: Codec = "none"
        payload = chunk.plain(payload, shape, wire, order)
    elif order == "C" and wire == wire.newbyteorder("<"):
        codec, payload = _compressed(payload, shape[0] * shape[1] * wire.itemsize, wire.itemsize)
    else:
        raise UnsupportedError(f"compressed images of type {wire.str}, {order} order")
    return Pixels(shape, wire.newbyteorder("="), codec, payload)


def _compressed(payload: object, nbytes: int, itemsize: int) -> tuple[Codec, Part]:
    number, content = _tagged(payload)
    if number != _COMPRESSED or not isinstance(content, list) or len(content) != 3:
        raise UnsupportedError(f"images whose bytes have tag {number}")
    algorithm, size, compressed = content
    if not isinstance(compressed, memoryview):
        raise ValueError("a compressed image is no string of bytes")
    if algorithm == "bslz4":
        if size != itemsize:
            raise ValueError(f"pixels of {itemsize} bytes are shuffled as {size!r:.60}")
        return "bshuf_lz4", chunk.bshuf_lz4(compressed, nbytes, itemsize)
    if algorithm == "lz4":
        return "lz4", chunk.lz4(compressed, nbytes)
    raise UnsupportedError(f"images compressed by {algorithm!r:.60}")


def _tagged(value: object) -> tuple[int, Any]:
    if not isinstance(value, cbor.Tag):
        raise UnsupportedError(f"images as {type(value).__name__} without a tag")
    return value


def _ratio(value: object) -> tuple[int, int]:
    """Return ticks, and ticks a second; none a second where it is no time."""
    if isinstance(value, list) and len(value) == 2 and {type(one) for one in value} == {int}:
        ticks, frequency = value
        return (ticks, frequency) if frequency > 0 else (0, 0)
    return 0, 0


@lru_cache(maxsize=4)  # it is the same for all images of a series
def _nanoseconds(date: str) -> int | None:
    """Return a date in UTC nanoseconds; None for what is none, or of no time zone."""
    try:
        moment = datetime.fromisoformat(date)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000
