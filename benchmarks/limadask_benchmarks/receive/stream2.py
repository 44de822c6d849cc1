"""Stream 2: maps of CBOR."""

from __future__ import annotations

import struct

import numpy as np

from limadask_benchmarks.receive.images import Images, many
from limadask_benchmarks.receive.messages import BEGAN, EXPOSURE, PERIOD, TICKS, Parts

_TAGS = {"uint8": 64, "uint16": 69, "uint32": 70, "int32": 78, "float32": 85}
_NUMBERS = struct.Struct(">Q")
_PATCHED = {"series_id": 1, "image_id": 1, "start_time": 2, "stop_time": 2}
"""Numbers that are written anew, and the bytes between their name and them."""


class Stream2:
    """The messages of stream 2: one map each, an image with all its bands."""

    def __init__(self, images: Images) -> None:
        self._bands = images.bands
        self._buffers: list[bytearray] = []
        for payloads in many(images):
            arrays = [_array(one, images) for one in payloads]
            self._buffers.append(
                bytearray(
                    _header("image", 8)
                    + _pair("image_id", _fixed(0))
                    + _pair("start_time", b"\x82" + _fixed(0) + _head(0, TICKS))
                    + _pair("stop_time", b"\x82" + _fixed(0) + _head(0, TICKS))
                    + _pair("real_time", b"\x82" + _head(0, EXPOSURE) + _head(0, TICKS))
                    + _pair("series_date", _head(6, 0) + _text(BEGAN))
                    + _pair("data", _map(dict(zip(images.bands, arrays, strict=True))))
                )
            )
        head = self._buffers[0]
        self._places = [head.index(_text(name)) + len(_text(name)) + skip
                        for name, skip in _PATCHED.items()]  # fmt: skip

    def start(self, series: int, count: int) -> Parts:
        """Return the message that begins a series."""
        channels = _head(4, len(self._bands)) + b"".join(map(_text, self._bands))
        more = _pair("number_of_images", _head(0, count)) + _pair("channels", channels)
        return [_header("start", 4, series) + more]

    def image(self, series: int, number: int) -> Parts:
        """Return an image."""
        buffer, start = self._buffers[number % len(self._buffers)], number * PERIOD
        for place, one in zip(self._places, (series, number, start, start + EXPOSURE), strict=True):
            _NUMBERS.pack_into(buffer, place, one)
        return [buffer]

    def end(self, series: int) -> Parts:
        """Return the message that ends a series."""
        return [_header("end", 2, series)]


def _header(kind: str, fields: int, series: int = 0) -> bytes:
    """Return the beginning of a message: CBOR, the fields that it has, what it is, whose."""
    described = _head(6, 55799) + _head(5, fields)
    return described + _pair("type", _text(kind)) + _pair("series_id", _fixed(series))


def _array(payload: bytes, images: Images) -> bytes:
    """Return the image of a band: dimensions, type, compression, bytes."""
    content = _head(2, len(payload)) + payload
    if images.compression != "none":
        size = np.dtype(images.dtype).itemsize if images.compression == "bslz4" else 0
        packed = _text(images.compression) + _head(0, size) + content
        content = _head(6, 56500) + _head(4, 3) + packed
    rows, columns = images.shape
    dimensions = _head(4, 2) + _head(0, rows) + _head(0, columns)
    return _head(6, 40) + _head(4, 2) + dimensions + _head(6, _TAGS[images.dtype]) + content


def _map(items: dict[str, bytes]) -> bytes:
    return _head(5, len(items)) + b"".join(_pair(*item) for item in items.items())


def _pair(key: str, value: bytes) -> bytes:
    return _text(key) + value


def _text(text: str) -> bytes:
    return _head(3, len(text)) + text.encode("ascii")


def _fixed(number: int) -> bytes:
    """Return a number that can be written anew in place."""
    return b"\x1b" + _NUMBERS.pack(number)


def _head(major: int, argument: int) -> bytes:
    if argument < 24:
        return bytes([major << 5 | argument])
    size = next(one for one in range(4) if argument < 1 << (8 << one))
    return bytes([major << 5 | 24 + size]) + argument.to_bytes(1 << size, "big")
