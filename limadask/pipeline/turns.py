"""Frames in the order of their numbers, however threads come by them."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable, Iterator

from limadask.frames import Frames

AHEAD = 64
"""Tiles that wait for frames before them at most; then these are taken for lost."""


class Turns:
    """Lets frames through, one tile after the other, in order.

    A tile that comes before its turn is copied and waits; whoever brings what was missing takes it
    on as well, so that no thread waits for another one.
    """

    def __init__(self) -> None:
        self._next = 0
        self._lock = threading.Lock()
        self._count = itertools.count()
        self._waiting: list[tuple[int, int, Frames | None, int]] = []

    def begin(self, first: int) -> None:
        """Be told the number of the first frame, where it is not 0."""
        self._next = first

    def take(self, frames: Frames, work: Callable[[Frames], None]) -> None:
        """Call ``work`` for each tile whose turn has come by these frames.

        Raises
        ------
        ValueError
            When their turn is over: those before them were taken for lost.
        """
        first, last = frames.span
        with self._lock:
            if first < self._next and len(frames) and frames.numbers[0] < self._next:
                raise ValueError(
                    f"frame {int(frames.numbers[0])} came after frame {self._next - 1} was taken"
                )
            if first > self._next:
                self._wait(first, frames.copied(), last)
            else:
                work(frames)
                self._next = max(self._next, last)
            for waiting in self._in_turn():
                work(waiting)

    def leave(self, first: int, stop: int, work: Callable[[Frames], None]) -> None:
        """Note that no further frame ``first ≤ i < stop`` will come."""
        with self._lock:
            if stop > self._next:
                self._wait(first, None, stop)
            for waiting in self._in_turn():
                work(waiting)

    def drain(self, work: Callable[[Frames], None]) -> None:
        """Take what still waits: what is missing before it will not come."""
        with self._lock:
            while self._waiting:
                self._next = max(self._next, self._waiting[0][0])
                for waiting in self._in_turn():
                    work(waiting)

    def _wait(self, first: int, frames: Frames | None, stop: int) -> None:
        heapq.heappush(self._waiting, (first, next(self._count), frames, stop))
        if len(self._waiting) > AHEAD:
            self._next = max(self._next, self._waiting[0][0])

    def _in_turn(self) -> Iterator[Frames]:
        while self._waiting and self._waiting[0][0] <= self._next:
            _, _, frames, stop = heapq.heappop(self._waiting)
            self._next = max(self._next, stop)
            if frames is not None:
                yield frames
