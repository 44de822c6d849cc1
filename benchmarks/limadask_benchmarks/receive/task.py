"""What a reader is to read, and what that took."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

from limadask_benchmarks.receive.images import Images

FIRST, NEXT = 20.0, 0.4
"""Seconds that the first image, and each later one, may take to come."""


@dataclass(frozen=True, slots=True)
class Task:
    """A series to read.

    Parameters
    ----------
    stream, address:
        Where it comes from.
    images:
        What its images are like.
    series, frames:
        Its number, and how many images it has for all readers together.
    index, count:
        Which reader this is, of how many.
    """

    stream: Literal["v1", "stream2"]
    address: str
    images: Images
    series: int
    frames: int
    index: int = 0
    count: int = 1


@dataclass(frozen=True, slots=True)
class Taken:
    """What a reader has taken.

    Parameters
    ----------
    frames:
        Images.
    timed:
        Those after the first, or the first block.
    seconds, cpu:
        What these took, by the clock and of CPU in all threads of the process.
    """

    frames: int
    timed: int
    seconds: float
    cpu: float


class Clock:
    """Counts images, and keeps when the first and the last one came, by the clock and in CPU."""

    def __init__(self) -> None:
        self._frames = self._first = 0
        self._began = self._now = (0.0, 0.0)

    def tick(self, frames: int = 1) -> None:
        """Count images that have come."""
        self._now = time.perf_counter(), time.process_time()
        if not self._frames:
            self._began, self._first = self._now, frames
        self._frames += frames

    def taken(self) -> Taken:
        """Return what was taken."""
        seconds, cpu = (now - began for now, began in zip(self._now, self._began, strict=True))
        return Taken(self._frames, self._frames - self._first, seconds, cpu)
