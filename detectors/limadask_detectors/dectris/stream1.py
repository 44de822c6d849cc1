"""Stream v1: messages in parts, JSON and bytes. An image has one channel, which has no name."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from limadask.frames import Codec
from limadask_detectors.dectris import chunk
from limadask_detectors.dectris.message import (
    LARGEST,
    UNKNOWN_TIMES,
    Image,
    Message,
    Part,
    Pixels,
    UnsupportedError,
    shape_of,
    whole,
)

_KINDS: Mapping[str, Literal["start", "image", "end"]] = {
    "dheader-1.0": "start",
    "dimage-1.0": "image",
    "dseries_end-1.0": "end",
}
_TYPES = {"uint8": "u1", "uint16": "u2", "uint32": "u4", "float32": "f4"}
_ENCODING = re.compile(r"(?:(?:bs(\d+)-)?(lz4))?([<>])")
"""Bits of a pixel where bits are shuffled, the compression if any, and the byte order."""
_TIMES = ("start_time", "stop_time", "real_time")


def split(parts: Sequence[Part]) -> list[list[Part]]:
    """Return the message: all its parts belong together."""
    return [list(parts)]


def identify(parts: Sequence[Part]) -> Message:
    """Return whose message it is.

    Raises
    ------
    ValueError
        When it is none of this stream.
    """
    header = _fields(parts[0])
    kind = _KINDS.get(str(header.get("htype")))
    if kind is None:
        raise ValueError(f"no message of stream v1 is of type {header.get('htype')!r:.60}")
    number = whole(header, "frame") if kind == "image" else -1
    return Message(kind, whole(header, "series"), number, parts[1:])


def announced(message: Message) -> int:
    """Return how many images a start tells of; 0 where it does not, as without any detail."""
    try:
        about = _fields(message.body[0])
    except (IndexError, ValueError):
        return 0
    images, triggers = about.get("nimages"), about.get("ntrigger", 1)
    if type(images) is not int or type(triggers) is not int:
        return 0
    return images * triggers if 0 < images * triggers < LARGEST else 0


def image(message: Message) -> Image:
    """Return the image in a message.

    Raises
    ------
    UnsupportedError
        When it is encoded in a way that cannot be taken.
    ValueError
        When it cannot be read.
    """
    parts = message.body
    if len(parts) < 2:
        raise ValueError(f"an image has {len(parts) + 1} parts")
    about, payload = _fields(parts[0]), parts[1]
    if about.get("size", len(payload)) != len(payload):
        raise ValueError(f"{len(payload)} bytes came of {about['size']!r:.60}")
    return Image({"": _pixels(about, payload)}, _times(parts))


def _pixels(about: Mapping[str, Any], payload: Part) -> Pixels:
    name, encoding = str(about.get("type")), str(about.get("encoding"))
    match = _ENCODING.fullmatch(encoding)
    if name not in _TYPES or match is None:
        raise UnsupportedError(f"images of type {name:.60}, encoded as {encoding:.60}")
    bits, compression, order = match.groups()
    wire = np.dtype(order + _TYPES[name])
    if compression and order == ">" and wire.itemsize > 1:
        raise UnsupportedError(f"images encoded as {encoding}: their bytes are the wrong way round")
    columns, rows = shape_of(about.get("shape"))  # the fastest axis comes first here
    nbytes = rows * columns * wire.itemsize
    codec: Codec
    if bits is not None:
        if int(bits) != 8 * wire.itemsize:
            raise ValueError(f"pixels of {name} are encoded as {encoding}")
        codec, content = "bshuf_lz4", chunk.bshuf_lz4(payload, nbytes, wire.itemsize)
    elif compression:
        codec, content = "lz4", chunk.lz4_of_block(payload, nbytes)
    else:
        codec, content = "none", chunk.plain(payload, (rows, columns), wire)
    return Pixels((rows, columns), wire.newbyteorder("="), codec, content)


def _times(parts: Sequence[Part]) -> tuple[float, float, float]:
    """Return what the part after the pixels tells; an image is not lost for it."""
    try:
        about = _fields(parts[2])
    except (IndexError, ValueError):
        return UNKNOWN_TIMES
    start, stop, real = (_seconds(about.get(name)) for name in _TIMES)
    return start, stop, real


def _seconds(nanoseconds: object) -> float:
    if type(nanoseconds) is int and abs(nanoseconds) < 1 << 64:
        return nanoseconds / 1e9
    return math.nan


def _fields(part: Part) -> Mapping[str, Any]:
    try:
        fields = json.loads(bytes(part))
    except RecursionError:
        raise ValueError("a part is nested too deep") from None
    if not isinstance(fields, dict):
        raise ValueError(f"a part is {fields!r:.60}, no JSON object")
    return fields
