"""A slot of the pool while frames are put into it."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limadask.detector import Frame
from limadask.frames import Frames, Spec, Status


class Slot(ABC):
    """Memory for some frames, cut into blocks as they are completed.

    Parameters
    ----------
    spec:
        The frames.
    """

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._begin()

    def _begin(self) -> None:
        self._numbers: list[int] = []
        self._stamps: list[int] = []
        self._status: list[int] = []
        self._values: list[tuple[float, ...]] = []
        self._causes: dict[int, str] = {}
        self._invalid: dict[int, NDArray[np.bool_]] = {}
        self._since = float("inf")

    @property
    @abstractmethod
    def is_full(self) -> bool:
        """Whether no room is left."""

    def fits(self, frame: Frame) -> bool:
        """Tell whether there is room for a frame."""
        return True

    def waits(self, patience: float) -> bool:
        """Tell whether a frame has been waiting for the others of its block for too long."""
        return time.monotonic() - self._since > patience

    def add(self, frame: Frame) -> None:
        """Take a frame, as far as it is not here already."""
        if not self._numbers:
            self._since = time.monotonic()
        self._put(frame)
        self._numbers.append(frame.index)
        self._stamps.append(time.time_ns() if frame.timestamp is None else frame.timestamp)
        self._status.append(Status.PRESENT if frame.complete else Status.PARTIAL)
        if frame.values:
            self._values.append(frame.values)
        if not frame.complete:
            self._causes[frame.index] = frame.cause or "detector"
        if frame.invalid is not None:
            self._invalid[frame.index] = frame.invalid

    def cut(self, span: tuple[int, int] | None) -> Frames | None:
        """Return the frames since the last cut, answering for the frame numbers of ``span``."""
        if not self._numbers:
            return None
        columns = [np.array(one, np.int64) for one in (self._numbers, self._stamps, self._status)]
        values = np.array(self._values, np.float64) if self._values else None
        order: NDArray[np.int64] | None = None
        if (np.diff(columns[0]) < 0).any():  # they came out of order
            order = np.argsort(columns[0])
            columns = [column[order] for column in columns]
            values = None if values is None else values[order]
        numbers, stamps, status = columns
        block = self._block(Frames(
            np.empty((0, *self._spec.frame_shape), self._spec.dtype),
            numbers, stamps, status.astype(np.uint8),
            span or (int(numbers[0]), int(numbers[-1]) + 1),
            time.time(), self._causes, self._invalid, values=values,
        ), order)  # fmt: skip
        self._begin()
        return block

    @abstractmethod
    def _put(self, frame: Frame) -> None:
        """Copy a frame's pixels or chunks."""

    @abstractmethod
    def _block(self, frames: Frames, order: NDArray[np.int64] | None) -> Frames:
        """Return the frames since the last cut with their pixels, in another order if need be."""


class PixelSlot(Slot):
    """Room for pixels, which receivers may fill themselves.

    Parameters
    ----------
    pixels:
        Shape ``(frame, band, y, x)``.
    spec:
        The frames.
    """

    def __init__(self, pixels: NDArray[Any], spec: Spec) -> None:
        super().__init__(spec)
        self.pixels, self.position, self._first = pixels, 0, 0

    @property
    def is_full(self) -> bool:
        """Whether no buffer is left."""
        return self.position == len(self.pixels)

    def skip(self) -> None:
        """Leave out the buffer at the current position."""
        self.position += 1
        self._first = self.position

    def _put(self, frame: Frame) -> None:
        pixels = self.pixels[self.position]
        if frame.lent is not None:
            np.copyto(pixels, frame.lent)
        if frame.invalid is not None:
            np.copyto(pixels, self._spec.fill, where=frame.invalid)
        self.position += 1

    def _block(self, frames: Frames, order: NDArray[np.int64] | None) -> Frames:
        pixels = self.pixels[self._first : self.position]
        if order is not None:
            pixels[...] = pixels[order]
        self._first = self.position
        return frames.carrying(pixels)
