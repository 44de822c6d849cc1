"""The acquisition thread: the same for all detectors."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limadask.detector import End, Frame, Receiver
from limadask.frames import Frames, Spec, Status
from limadask.memory import BufferPool

TAKE_TIMEOUT = 0.05
"""Seconds that a receiver may wait for a frame before the thread looks at other things."""


@dataclass(slots=True)
class Absence:
    """Frames ``first ≤ i < stop`` that did not come."""

    first: int
    stop: int
    cause: str


@dataclass(slots=True)
class Progress:
    """How far a receiver has come; written by its thread alone, read by others.

    Parameters
    ----------
    received:
        Frames taken.
    next:
        The frame number expected next.
    blocks:
        Blocks delivered.
    ended:
        Whether the thread has ended.
    error:
        What ended it, if anything went wrong.
    absences:
        Frames that did not come.
    """

    received: int = 0
    next: int = 0
    blocks: int = 0
    ended: bool = False
    error: str = ""
    absences: list[Absence] = field(default_factory=list)


class Receiving(threading.Thread):
    """Takes frames into slots of the pool and delivers them in blocks.

    Blocks never cross a multiple of ``nb_frames_per_block``; frames that did not come are left
    out of them and reported. A block is delivered early when its frames have waited for
    ``patience`` seconds.

    Parameters
    ----------
    receiver:
        The plugin's part: how to get one frame.
    pool:
        Where the frames are put.
    spec:
        What the receiver delivers.
    nb_frames_per_block:
        Frames of a full block.
    patience:
        Seconds a frame waits for others of its block.
    deliver:
        Called with each block, from this thread.
    ended:
        Called once, from this thread, after the last block.
    """

    def __init__(
        self,
        receiver: Receiver,
        pool: BufferPool,
        spec: Spec,
        nb_frames_per_block: int,
        patience: float,
        deliver: Callable[[Frames], object],
        ended: Callable[[], object],
    ) -> None:
        super().__init__(name="limadask-receive", daemon=True)
        self._receiver, self._pool, self._spec = receiver, pool, spec
        self._size, self._patience = nb_frames_per_block, patience
        self._deliver, self._when_ended = deliver, ended
        self._halt = threading.Event()
        self._grace = float("inf")
        self._starved = False
        self._accounted = 0
        self._slot: _Slot | None = None
        self.progress, self.details = Progress(), ""

    def run(self) -> None:
        """Take frames until the last, :class:`End`, or :meth:`stop`."""
        try:
            self._receiver.start()
            self._acquire()
        except Exception as error:
            self.progress.error = f"{type(error).__name__}: {error}"
            self.details = traceback.format_exc(limit=-8)
        finally:
            self._close_block()  # what had come before an error is there all the same
            self._slot = None
            self._receiver.given.clear()
            self.progress.ended = True
            self._when_ended()

    def stop(self, abort: bool, grace: float = 2.0) -> None:
        """Ask the receiver to end; when it has not within ``grace`` seconds, end without it."""
        self._receiver.stop(abort)
        self._grace = time.monotonic() + (0 if abort else grace)
        if abort:
            self._halt.set()

    def _acquire(self) -> None:
        while not self._is_over():
            if not self._has_room():
                continue
            item = self._receiver.take(TAKE_TIMEOUT)
            if isinstance(item, End):
                break
            if item is not None:
                self._accept(item)
            elif self._slot is not None and self._slot.waits(self._patience):
                self._close_block()

    def _is_over(self) -> bool:
        over = self._halt.is_set() or self.progress.next == self._spec.nb_frames
        return over or time.monotonic() > self._grace

    def _has_room(self) -> bool:
        """Give the receiver the buffers of a slot when it has none left."""
        if self._slot is None or self._slot.position == self._size:
            self._close_block()
            self._slot = None  # or it would keep the very memory that is waited for
            pixels = self._pool.lend(
                (self._size, *self._spec.frame_shape), self._spec.dtype, TAKE_TIMEOUT
            )
            if pixels is None:
                self._starved = True
                return False
            self._slot = _Slot(pixels)
            for buffer in pixels:
                self._receiver.give(buffer)
        return True

    def _accept(self, frame: Frame) -> None:
        slot, progress = self._slot, self.progress
        assert slot is not None  # noqa: S101 - _has_room was true
        if frame.index < progress.next:  # late or twice
            if frame.lent is None:  # the buffer that it was put into is left out
                self._close_block()
                slot.skip()
            elif frame.release is not None:
                frame.release()
            return
        if frame.index > progress.next:
            cause = frame.missed or ("overrun" if self._starved else "detector")
            progress.absences.append(Absence(progress.next, frame.index, cause))
            if frame.index // self._size != progress.next // self._size:
                self._close_block(reach=(frame.index // self._size) * self._size)
        self._starved = False
        if frame.lent is not None:
            np.copyto(slot.pixels[slot.position], frame.lent)
            self._receiver.given.popleft()
            if frame.release is not None:
                frame.release()
        slot.add(frame)
        progress.next = frame.index + 1
        progress.received += 1
        if progress.next % self._size == 0 or progress.next == self._spec.nb_frames:
            self._close_block()

    def _close_block(self, reach: int | None = None) -> None:
        """Deliver the frames collected; the rest of the slot serves the next block."""
        if self._slot is not None and self._slot.position > self._slot.first:
            span = self._accounted, max(self.progress.next, reach or 0)
            self._accounted = span[1]
            self.progress.blocks += 1
            self._deliver(self._slot.cut(span))


class _Slot:
    """Memory for some frames, cut into blocks as they are completed."""

    def __init__(self, pixels: NDArray[Any]) -> None:
        self.pixels, self.first, self.position = pixels, 0, 0
        self._begin()

    def _begin(self) -> None:
        self._numbers: list[int] = []
        self._stamps: list[int] = []
        self._status: list[int] = []
        self._causes: dict[int, str] = {}
        self._since = float("inf")

    def waits(self, patience: float) -> bool:
        """Tell whether a frame has been waiting for the others of its block for too long."""
        return time.monotonic() - self._since > patience

    def add(self, frame: Frame) -> None:
        """Note the frame that was put at the current position."""
        if not self._numbers:
            self._since = time.monotonic()
        self._numbers.append(frame.index)
        self._stamps.append(time.time_ns() if frame.timestamp is None else frame.timestamp)
        self._status.append(Status.PRESENT if frame.complete else Status.PARTIAL)
        if not frame.complete:
            self._causes[frame.index] = frame.cause or "detector"
        self.position += 1

    def skip(self) -> None:
        """Leave out the buffer at the current position."""
        self.position += 1
        self.first = self.position

    def cut(self, span: tuple[int, int]) -> Frames:
        """Return the frames since the last cut, answering for the frame numbers of ``span``."""
        block = Frames(
            self.pixels[self.first : self.position],
            np.array(self._numbers, np.int64),
            np.array(self._stamps, np.int64),
            np.array(self._status, np.uint8),
            span,
            time.time(),
            self._causes,
        )
        self.first = self.position
        self._begin()
        return block
