"""What a detector sends, whichever of its streams it comes by."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from limadask.frames import Codec

LARGEST = 1 << 63
"""Numbers of series and images are below."""
UNKNOWN_TIMES = (math.nan, math.nan, math.nan)
Part = bytes | memoryview
"""A part of a message, as it was received."""


class UnsupportedError(ValueError):
    """An image in a format that cannot be taken; the next ones will not be better."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message of which no more is read than whose it is.

    Parameters
    ----------
    kind:
        What it tells.
    series:
        The series that it belongs to, a number that the detector counts up.
    number:
        The image, from 0 in each series; -1 where it is none.
    body:
        What is left to be read.
    """

    kind: Literal["start", "image", "end"]
    series: int
    number: int
    body: Any


@dataclass(frozen=True, slots=True)
class Pixels:
    """The image of one channel, as an HDF5 chunk.

    Parameters
    ----------
    shape:
        Rows and columns.
    dtype:
        Type of the pixels, in the byte order of this computer.
    codec:
        How the chunk is compressed.
    chunk:
        Its bytes; a view into the message where it could be.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    codec: Codec
    chunk: Part


@dataclass(frozen=True, slots=True)
class Image:
    """An image.

    Parameters
    ----------
    channels:
        Its channels by name; a stream that knows only one has no name for it.
    times:
        When its exposure began and ended, since the start of the series, and how long it took;
        seconds, NaN where not told.
    timestamp:
        When its exposure began, UTC nanoseconds, if told.
    """

    channels: Mapping[str, Pixels]
    times: tuple[float, float, float] = UNKNOWN_TIMES
    timestamp: int | None = None


class Stream(Protocol):
    """The two steps in which a message is read; a module for each format has both."""

    def split(self, parts: Sequence[Part]) -> list[list[Part]]:
        """Return the messages in what came as one."""

    def identify(self, parts: Sequence[Part]) -> Message:
        """Return whose message it is; ValueError when it cannot be read."""

    def announced(self, message: Message) -> int:
        """Return how many images a start tells of; 0 where it does not."""

    def image(self, message: Message) -> Image:
        """Return the image in a message; ValueError when it cannot be read."""


def whole(fields: Mapping[str, Any], name: str) -> int:
    """Return a number of a series or an image.

    Raises
    ------
    ValueError
        When it is none.
    """
    value = fields.get(name)
    if type(value) is not int or not 0 <= value < LARGEST:
        raise ValueError(f"{name} is {value!r:.60}, not a number from 0")
    return value


def shape_of(value: object) -> tuple[int, int]:
    """Return the two sizes of an image, in the order given.

    Raises
    ------
    UnsupportedError
        When there are not two, or not sizes.
    """
    sizes = value if isinstance(value, list) else []
    if len(sizes) != 2 or any(type(one) is not int or not 0 < one < 1 << 31 for one in sizes):
        raise UnsupportedError(f"images of shape {value!r:.60}")
    return sizes[0], sizes[1]
