"""Stream 2: messages of CBOR; all channels of an exposure are in one."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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
    start = fields.get("start_time")
    times = (_seconds(start), _seconds(fields.get("stop_time")), _seconds(fields.get("real_time")))
    channels = {str(name): _pixels(array) for name, array in data.items()}
    return Image(channels, times, _timestamp(fields.get("series_date"), start))


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


def _seconds(ratio: object) -> float:
    """Return a time in seconds; what is none is not worth losing an image for."""
    parts = _ratio(ratio)
    return math.nan if parts is None else parts[0] / parts[1]


def _ratio(value: object) -> tuple[int, int] | None:
    if not isinstance(value, list) or len(value) != 2 or {type(one) for one in value} != {int}:
        return None
    return (value[0], value[1]) if value[1] > 0 else None


def _timestamp(date: object, start: object) -> int | None:
    ratio = _ratio(start)
    if ratio is None or not isinstance(date, cbor.Tag) or not isinstance(date.value, str):
        return None
    began = _nanoseconds(date.value)
    if began is None:
        return None
    stamp = began + ratio[0] * 1_000_000_000 // ratio[1]
    return stamp if 0 <= stamp < LARGEST else None


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
