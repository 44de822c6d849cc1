"""Observation points: look at frames while they pass."""

from __future__ import annotations

import threading
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from pydantic import PositiveInt
from sortedcontainers import SortedDict

from limadask.frames import Frames, Labels, Spec
from limadask.memory import Tally
from limadask.storage import unpacked
from limadask.task import Place, Sink


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
        return Observer(spec, self.history, self.every, Tally("observe", place.uuid, place.node))


class Observer:
    """What one worker has seen; it can be looked at until the run is forgotten."""

    lasting = True
    codec = "any"
    """Frames are decoded when somebody looks at them."""

    def __init__(self, spec: Spec, history: int, every: int, kept: Tally) -> None:
        self._labels, self._history, self._every = Labels(spec), history, every
        self._kept = kept
        self._lock, self._seen = threading.Lock(), SortedDict()

    def encode(self, frames: Frames) -> None:
        """Copy the frames to look at."""
        for position in np.flatnonzero(frames.numbers % self._every == 0).tolist():
            number = int(frames.numbers[position])
            with self._lock:
                too_old = len(self._seen) >= self._history and number < self._seen.peekitem(0)[0]
            if too_old:
                continue
            one = frames[position : position + 1].copied()
            self._kept.add(one.nbytes)
            with self._lock:
                if (before := self._seen.pop(number, None)) is not None:
                    self._kept.remove(before.nbytes)
                self._seen[number] = one
                while len(self._seen) > self._history:
                    _, oldest = self._seen.popitem(0)
                    self._kept.remove(oldest.nbytes)

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
