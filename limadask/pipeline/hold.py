"""Blocks held for a user who takes them as Dask futures."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import Any, ClassVar, Literal

import xarray as xr

from limadask.frames import Frames, Labels, Spec
from limadask.memory import Tally
from limadask.task import Place, Sink

WhenSlow = Literal["drop_oldest", "wait"]
FUTURES = "-futures"
"""What the name of a node that holds blocks ends with, after the name of the node they are of."""
WAIT = 30.0
"""Seconds that processing waits for a slow user before the block is dropped after all."""


class Hold(Sink):
    """Keep copies of the last blocks until somebody takes them; the pool's memory is not held."""

    takes_sparse: ClassVar[bool] = True

    max_held: int
    """Blocks kept by all workers together."""
    when_slow: WhenSlow = "drop_oldest"
    """When the user is slower: give up the oldest block, or let processing wait."""

    def open(self, spec: Spec, place: Place) -> Holder:
        """Begin to keep."""
        kept = Tally("observe", place.uuid, place.node)
        return Holder(spec, max(1, self.max_held // place.ranks), self.when_slow, kept)


class Holder:
    """The blocks that one worker keeps."""

    lasting = True

    def __init__(self, spec: Spec, max_held: int, when_slow: WhenSlow, kept: Tally) -> None:
        self._labels, self._max_held, self._when_slow = Labels(spec), max_held, when_slow
        self._blank = Frames.blank(spec)[:0]
        self._kept = kept
        self._room = threading.Condition()
        self._held: OrderedDict[int, Frames] = OrderedDict()
        self._reserved: dict[int, Frames] = {}
        self._count = 0
        self._closed = False

    def encode(self, frames: Frames) -> Copied:
        """Copy some frames."""
        return Copied(frames.copied())

    def write(self, encoded: list[Copied]) -> int | None:
        """Keep a block; return its number, None if there was no room in time."""
        block = Frames.joined([one.frames for one in encoded])
        with self._room:
            if self._when_slow == "wait":
                deadline = time.monotonic() + WAIT
                while len(self._held) >= self._max_held and not self._closed:
                    if not self._room.wait(deadline - time.monotonic()):
                        return None
            number = self._count
            self._count += 1
            self._held[number] = block
            self._kept.add(block.nbytes)
            while len(self._held) > self._max_held:
                _, oldest = self._held.popitem(last=False)
                self._kept.remove(oldest.nbytes)
        return number

    def reserve(self, number: int) -> bool:
        """Keep a block for the task that will take it; False if it was dropped."""
        with self._room:
            block = self._held.pop(number, None)
            if block is None:
                return False
            self._reserved[number] = block
            self._room.notify()
            return True

    def take(self, number: int) -> xr.DataArray:
        """Hand a reserved block over."""
        block = self._reserved.pop(number)
        self._kept.remove(block.nbytes)
        return self._labels(block)

    def take_all(self) -> list[xr.DataArray]:
        """Hand over everything held."""
        with self._room:
            blocks = list(self._held.values())
            self._held.clear()
            self._kept.remove(sum(block.nbytes for block in blocks))
        return [self._labels(block) for block in blocks]

    def blank(self) -> xr.DataArray:
        """Return a block without frames."""
        return self._labels(self._blank)

    def close(self) -> dict[str, Any]:
        """Let nobody wait any more; what is held can still be taken."""
        with self._room:
            self._closed = True
            self._room.notify_all()
        return {}


class Copied:
    """Frames that were copied; not counted as encoded bytes, so that blocks stay whole."""

    nbytes = 0

    def __init__(self, frames: Frames) -> None:
        self.frames = frames
