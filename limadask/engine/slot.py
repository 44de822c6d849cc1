"""A slot of the pool while frames are put into it."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limadask.detector import Frame
from limadask.frames import Frames, Status


class Slot:
    """Memory for some frames, cut into blocks as they are completed.

    Parameters
    ----------
    pixels:
        Shape ``(frame, band, y, x)``.
    fill:
        What pixels become that did not come.
    """

    def __init__(self, pixels: NDArray[Any], fill: Any) -> None:
        self.pixels, self._fill, self.first, self.position = pixels, fill, 0, 0
        self._begin()

    def _begin(self) -> None:
        self._numbers: list[int] = []
        self._stamps: list[int] = []
        self._status: list[int] = []
        self._causes: dict[int, str] = {}
        self._invalid: dict[int, NDArray[np.bool_]] = {}
        self._since = float("inf")

    @property
    def is_full(self) -> bool:
        """Whether no buffer is left."""
        return self.position == len(self.pixels)

    def waits(self, patience: float) -> bool:
        """Tell whether a frame has been waiting for the others of its block for too long."""
        return time.monotonic() - self._since > patience

    def add(self, frame: Frame) -> None:
        """Note the frame whose pixels are at the current position."""
        if not self._numbers:
            self._since = time.monotonic()
        self._numbers.append(frame.index)
        self._stamps.append(time.time_ns() if frame.timestamp is None else frame.timestamp)
        self._status.append(Status.PRESENT if frame.complete else Status.PARTIAL)
        if not frame.complete:
            self._causes[frame.index] = frame.cause or "detector"
        if frame.invalid is not None:
            np.copyto(self.pixels[self.position], self._fill, where=frame.invalid)
            self._invalid[frame.index] = frame.invalid
        self.position += 1

    def skip(self) -> None:
        """Leave out the buffer at the current position."""
        self.position += 1
        self.first = self.position

    def cut(self, span: tuple[int, int] | None) -> Frames | None:
        """Return the frames since the last cut, answering for the frame numbers of ``span``."""
        if not self._numbers:
            return None
        pixels = self.pixels[self.first : self.position]
        columns = [np.array(one, np.int64) for one in (self._numbers, self._stamps, self._status)]
        if (np.diff(columns[0]) < 0).any():  # they came out of order
            order = np.argsort(columns[0])
            pixels[...] = pixels[order]
            columns = [column[order] for column in columns]
        numbers, stamps, status = columns
        block = Frames(
            pixels, numbers, stamps, status.astype(np.uint8),
            span or (int(numbers[0]), int(numbers[-1]) + 1),
            time.time(), self._causes, self._invalid,
        )  # fmt: skip
        self.first = self.position
        self._begin()
        return block
