"""Observation points: look at frames while they pass."""

from __future__ import annotations

import threading
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from pydantic import PositiveInt
from sortedcontainers import SortedDict

from limadask.errors import ConfigError
from limadask.frames import Frames, Labels, Spec
from limadask.memory import BUDGET, BufferPool, Tally
from limadask.storage import unpacked
from limadask.task import Place, Sink

AT_FIRST, AT_ONCE = 4, 4
"""Frames that a history has room for at first, and those that may be copied at a time."""


class Observe(Sink):
    """Keep copies of the newest frames, to be pulled when somebody looks.

    ``acquisition.observe[node].latest()`` is the frame of the highest number seen, ``history()``
    the last ones. Nothing travels until it is asked for.
    """

    takes_sparse: ClassVar[bool] = True

    history: PositiveInt = 1
    """Frames each worker keeps."""
    every: PositiveInt = 1
    """Look only at the frames whose number is a multiple of this."""

    def open(self, spec: Spec, place: Place) -> Observer:
        """Begin to look."""
        nbytes, left = spec.frame_nbytes, BUDGET.left
        if left is not None and self.history * nbytes > left:
            raise ConfigError(
                f"{self.history} frames of {nbytes} bytes are more than the {left} bytes that are "
                "left for frames on this worker",
                field="history", value=self.history, allowed=f"at most {left // nbytes}",
            )  # fmt: skip
        at_first = 0 if spec.is_sparse else min(self.history, AT_FIRST) + 1
        pool = BufferPool(
            at_first, nbytes, None, "observe", place.uuid, place.node,
            ceiling=self.history + AT_ONCE,
        )  # fmt: skip
        return Observer(
            spec, self.history, self.every, pool, Tally("observe", place.uuid, place.node)
        )


class Observer:
    """What one worker has seen; it can be looked at until the run is forgotten."""

    lasting = True
    codec = "any"
    """Frames are decoded when somebody looks at them."""

    def __init__(self, spec: Spec, history: int, every: int, pool: BufferPool, kept: Tally) -> None:
        self._labels, self._history, self._every = Labels(spec), history, every
        self._pool, self._kept = pool, kept
        self._lock, self._seen = threading.Lock(), SortedDict()

    def encode(self, frames: Frames) -> None:
        """Copy the frames to look at."""
        for position in np.flatnonzero(frames.numbers % self._every == 0).tolist():
            number = int(frames.numbers[position])
            with self._lock:
                too_old = len(self._seen) >= self._history and number < self._seen.peekitem(0)[0]
            if too_old:
                continue
            one = self._copied(frames[position : position + 1])
            with self._lock:
                self._let_go(self._seen.pop(number, None))
                self._seen[number] = one
                while len(self._seen) > self._history:
                    self._let_go(self._seen.popitem(0)[1])

    def _copied(self, frame: Frames) -> Frames:
        """Copy a frame: pixels into the pool, which has them back with the frame."""
        if frame.is_dense:
            pixels = self._pool.array(frame.pixels.shape, frame.pixels.dtype)
            np.copyto(pixels, frame.pixels)
            return frame.carrying(pixels)
        one = frame.copied()
        self._kept.add(one.nbytes)
        return one

    def _let_go(self, frame: Frames | None) -> None:
        if frame is not None and not frame.is_dense:
            self._kept.remove(frame.nbytes)

    def write(self, encoded: list[Any]) -> None:
        """Do nothing: what was copied can be seen at once."""

    def close(self) -> dict[str, Any]:
        """Keep what was seen."""
        return {}

    def latest(self) -> xr.DataArray | None:
        """Return the newest frame, dims ``(frame, band, y, x)``."""
        return self._labelled(slice(-1, None))

    def recent(self) -> xr.DataArray | None:
        """Return all frames kept, oldest first."""
        return self._labelled(slice(None))

    def _labelled(self, part: slice) -> xr.DataArray | None:
        with self._lock:
            seen = list(self._seen.values())[part]
        if not seen:
            return None
        return self._labels(Frames.joined([unpacked(one) for one in seen]))
